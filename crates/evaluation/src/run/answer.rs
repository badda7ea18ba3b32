use eval_tasks::{GenerationArguments, Request, Response};
use model_zoo::{CausalLm, GenerationConfig, TextTokenizer};

use super::RunError;
use crate::scoring::{
    Progress, PromptEncoder, Scorer, ScoringError, ScoringOptions, TokenRequest, TokenResponse,
};

/// What answers the requests of tasks.
pub trait Answer {
    /// Answers all requests, in an order of its own. `done` is given each answer as soon as it is
    /// there.
    ///
    /// Where all requests that are computed together are `known`, they are passed over. What is
    /// computed together must not depend on what is known, so that answers do not either.
    ///
    /// # Errors
    /// [`AnswerError`] naming the request, and what `done` returns.
    fn answer(
        &self,
        requests: &[Request],
        known: &[bool],
        done: &mut dyn FnMut(usize, Response, Progress) -> Result<(), AnswerError>,
    ) -> Result<(), AnswerError>;
}

/// Why requests are not answered.
#[derive(Debug)]
pub enum AnswerError {
    /// One of them cannot be.
    Request {
        /// Its index.
        index: usize,
        /// Why.
        message: String,
    },
    /// The model failed.
    Model(String),
    /// An answer could not be kept.
    Keep(RunError),
}

impl From<ScoringError> for AnswerError {
    fn from(error: ScoringError) -> Self {
        match error.request() {
            Some(index) => Self::Request { index, message: error.to_string() },
            None => Self::Model(error.to_string()),
        }
    }
}

/// A causal language model that answers requests.
#[derive(Debug, Clone)]
pub struct LanguageModel<'a, M: CausalLm> {
    scorer: Scorer<'a, M>,
    encoder: PromptEncoder<'a>,
    seed: u64,
}

impl<'a, M: CausalLm> LanguageModel<'a, M> {
    /// A model off its autodiff device, with its tokenizer. `add_bos_token` decides whether prompts
    /// start with the token of the beginning, `None` leaves it to the tokenizer; `seed` is that of
    /// tokens that are drawn.
    ///
    /// # Errors
    /// [`ScoringError`] when the tokenizer has no token that stands for an empty context.
    pub fn new(
        model: &'a M,
        tokenizer: &'a TextTokenizer,
        options: ScoringOptions,
        add_bos_token: Option<bool>,
        seed: u64,
    ) -> Result<Self, ScoringError> {
        let encoder = PromptEncoder::new(tokenizer, add_bos_token)?;
        Ok(Self { scorer: Scorer { model, tokenizer, options }, encoder, seed })
    }

    /// Which of `of` parts each request is of, where several processes share them: each passes what is
    /// not of its part as known. What is computed together is in one part.
    ///
    /// # Errors
    /// [`AnswerError`] naming the request that cannot be answered.
    pub fn parts(&self, requests: &[Request], of: usize) -> Result<Vec<usize>, AnswerError> {
        Ok(self.scorer.parts(&self.all_tokens(requests)?, of)?)
    }

    fn all_tokens(&self, requests: &[Request]) -> Result<Vec<TokenRequest>, AnswerError> {
        let requests = requests.iter().enumerate();
        requests.map(|(index, request)| self.tokens(index, request)).collect()
    }

    fn tokens(&self, index: usize, request: &Request) -> Result<TokenRequest, AnswerError> {
        let encoder = &self.encoder;
        let tokens = match request {
            Request::LogLikelihood { context, continuation } => {
                encoder.log_likelihood(context, continuation)
            }
            Request::LogLikelihoodRolling { text } => encoder.log_likelihood_rolling(text),
            Request::GenerateUntil { context, generation } => {
                encoder.generate_until(context, self.generation(index, generation))
            }
            Request::SequenceClassification { .. } | Request::ImageClassification { .. } => {
                let message = "classes are asked for, but the model is a language model; use an \
                               encoder"
                    .to_owned();
                return Err(AnswerError::Request { index, message });
            }
        };
        tokens.map_err(|error| AnswerError::Request { index, message: error.to_string() })
    }

    fn generation(&self, index: usize, arguments: &GenerationArguments) -> GenerationConfig {
        let drawn = arguments.do_sample && arguments.temperature > 0.0;
        GenerationConfig {
            max_new_tokens: arguments.max_gen_toks,
            temperature: if drawn { arguments.temperature } else { 0.0 },
            top_k: arguments.top_k.filter(|_| drawn),
            top_p: arguments.top_p.filter(|_| drawn),
            stop: arguments.until.clone(),
            // Each request draws for itself, whatever is generated beside it.
            seed: self.seed.wrapping_add(index as u64),
            ..GenerationConfig::default()
        }
    }
}

impl<M: CausalLm> Answer for LanguageModel<'_, M> {
    fn answer(
        &self,
        requests: &[Request],
        known: &[bool],
        done: &mut dyn FnMut(usize, Response, Progress) -> Result<(), AnswerError>,
    ) -> Result<(), AnswerError> {
        let tokens = self.all_tokens(requests)?;
        self.scorer.score_unknown(&tokens, known, &mut |index, response, progress| {
            let response = match response {
                TokenResponse::LogLikelihood { log_likelihood, is_greedy } => {
                    Response::LogLikelihood { log_likelihood, is_greedy }
                }
                TokenResponse::LogLikelihoodRolling { log_likelihood } => {
                    Response::LogLikelihoodRolling { log_likelihood }
                }
                TokenResponse::Generated(generation) => Response::Generated(generation.text),
            };
            done(index, response, progress)
        })
    }
}
