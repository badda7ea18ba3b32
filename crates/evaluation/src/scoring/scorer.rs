use model_zoo::{CausalLm, TextTokenizer};

use super::generate::{Prompt, generate_all, together};
use super::likelihood::{Likelihood, likelihoods, planned};
use super::plan::Limits;
use super::span::Span;
use super::{ScoringError, ScoringOptions, TokenRequest, TokenResponse};

/// How far a scoring is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The requests answered.
    pub requests: usize,
    /// The tokens of these, whether they were computed or shared with others.
    pub tokens: usize,
    /// The tokens computed for likelihoods (padding included) and generated.
    pub computed: usize,
}

/// Answers requests to a model.
#[derive(Debug, Clone)]
pub struct Scorer<'a, M: CausalLm> {
    /// The model, outside of autodiff (`model.valid()`).
    pub model: &'a M,
    /// Its tokenizer, for the texts that are generated.
    pub tokenizer: &'a TextTokenizer,
    /// How requests are computed.
    pub options: ScoringOptions,
}

/// What is to be computed.
struct Work<'r> {
    spans: Vec<Span>,
    /// Of each span its request.
    owners: Vec<usize>,
    prompts: Vec<Prompt<'r>>,
}

impl<'a, M: CausalLm> Scorer<'a, M> {
    /// A scorer with default options.
    pub fn new(model: &'a M, tokenizer: &'a TextTokenizer) -> Self {
        Self { model, tokenizer, options: ScoringOptions::default() }
    }

    /// The longest sequence that the model reads, in tokens.
    pub fn max_length(&self) -> usize {
        self.options.max_length.unwrap_or_else(|| self.model.max_positions())
    }

    /// Answers all requests, in an order that is fast; `on_done` is given each answer with the
    /// index of its request as soon as it is known, and how far all is.
    ///
    /// All requests are checked before the first is computed.
    ///
    /// # Errors
    ///
    /// [`ScoringError`] when a request cannot be answered, and what `on_done` returns.
    pub fn score<E: From<ScoringError>>(
        &self,
        requests: &[TokenRequest],
        on_done: &mut dyn FnMut(usize, TokenResponse, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        self.score_unknown(requests, &vec![false; requests.len()], on_done)
    }

    /// As [`score`](Self::score), but what is computed together is passed over where all of it is
    /// `known`. Other answers are the same to the last bit, whatever is known.
    ///
    /// # Errors
    ///
    /// As [`score`](Self::score).
    pub fn score_unknown<E: From<ScoringError>>(
        &self,
        requests: &[TokenRequest],
        known: &[bool],
        on_done: &mut dyn FnMut(usize, TokenResponse, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut progress = Progress::default();
        let Work { spans, owners, prompts } = self.work(requests)?;
        // Of each request how many spans are open, and what is known.
        let mut sums = vec![(0, Likelihood { sum: 0.0, is_greedy: true }); requests.len()];
        owners.iter().for_each(|index| sums[*index].0 += 1);
        let rolling =
            |request: &TokenRequest| matches!(request, TokenRequest::LogLikelihoodRolling { .. });
        let empty = |index: &usize| rolling(&requests[*index]) && sums[*index].0 == 0;
        let nothing_to_do: Vec<usize> = (0..requests.len()).filter(empty).collect();
        for index in nothing_to_do {
            progress.requests += 1;
            let response = TokenResponse::LogLikelihoodRolling { log_likelihood: 0.0 };
            on_done(index, response, progress)?;
        }
        let passed = |span: usize| known[owners[span]];
        likelihoods(self.model, &spans, self.limits(), &passed, &mut |span, found, computed| {
            let index = owners[span];
            progress.computed += computed;
            progress.tokens += spans[span].tokens.len();
            if found.sum.is_nan() {
                return Err(ScoringError::NotFinite { index }.into());
            }
            let (open, likelihood) = &mut sums[index];
            likelihood.sum += found.sum;
            likelihood.is_greedy &= found.is_greedy;
            *open -= 1;
            if *open > 0 {
                return Ok(());
            }
            progress.requests += 1;
            let Likelihood { sum, is_greedy } = *likelihood;
            let response = match requests[index] {
                TokenRequest::LogLikelihoodRolling { .. } => {
                    TokenResponse::LogLikelihoodRolling { log_likelihood: sum }
                }
                _ => TokenResponse::LogLikelihood { log_likelihood: sum, is_greedy },
            };
            on_done(index, response, progress)
        })?;
        generate_all(
            self.model,
            self.tokenizer,
            &self.options,
            &prompts,
            known,
            &mut |place, generation| {
                let Prompt { index, tokens, .. } = prompts[place];
                let new = generation.token_ids.len();
                progress.requests += 1;
                progress.tokens += tokens.len() + new;
                progress.computed += new;
                on_done(index, TokenResponse::Generated(generation), progress)
            },
        )
    }

    /// Which of `of` parts each request is of, where the work is divided so that what is computed
    /// together is computed once: by whoever passes all requests of other parts as known to
    /// [`score_unknown`](Self::score_unknown). A text of several windows may be computed with those of
    /// two parts; it is of one.
    ///
    /// # Errors
    ///
    /// [`ScoringError`] when a request cannot be answered.
    pub fn parts(&self, requests: &[TokenRequest], of: usize) -> Result<Vec<usize>, ScoringError> {
        let Work { spans, owners, prompts } = self.work(requests)?;
        let groups = planned(self.model, &spans, self.limits());
        let batches = groups.iter().flat_map(|group| &group.batches);
        let scored =
            batches.map(|batch| batch.iter().flatten().map(|span| owners[*span]).collect());
        let families = together(&prompts);
        let continued = families.iter().map(|of| of.iter().map(|at| prompts[*at].index).collect());
        let mut parts = vec![None; requests.len()];
        for (number, members) in scored.chain(continued).enumerate() {
            let members: Vec<usize> = members;
            for request in members {
                parts[request].get_or_insert(number % of.max(1));
            }
        }
        Ok(parts.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// What is to be computed for requests, which are checked.
    fn work<'r>(&self, requests: &'r [TokenRequest]) -> Result<Work<'r>, ScoringError> {
        let mut work = Work { spans: Vec::new(), owners: Vec::new(), prompts: Vec::new() };
        let max_length = self.max_length();
        for (index, request) in requests.iter().enumerate() {
            self.check(index, request)?;
            let new = match request {
                TokenRequest::LogLikelihood { context, continuation } => {
                    vec![Span::new(context, continuation, max_length)]
                }
                TokenRequest::LogLikelihoodRolling { prefix, tokens } => {
                    Span::windows(*prefix, tokens, max_length)
                }
                TokenRequest::GenerateUntil { prompt, generation } => {
                    let room = max_length - generation.max_new_tokens;
                    let tokens = &prompt[prompt.len().saturating_sub(room)..];
                    work.prompts.push(Prompt { index, tokens, config: generation });
                    continue;
                }
            };
            work.owners.extend(new.iter().map(|_| index));
            work.spans.extend(new);
        }
        Ok(work)
    }

    fn limits(&self) -> Limits {
        // A layer has about 12 H^2 weights, and a pair of a query and a key costs 4 H operations.
        let product = 6 * self.model.hidden_size();
        Limits { batch_tokens: self.options.batch_tokens, product, reach: self.model.reach() }
    }

    fn check(&self, index: usize, request: &TokenRequest) -> Result<(), ScoringError> {
        let max_length = self.max_length();
        let full = |part: &'static str, tokens: &[u32]| match tokens {
            [] => Err(ScoringError::Empty { index, part }),
            _ => self.known(index, tokens),
        };
        match request {
            TokenRequest::LogLikelihood { context, continuation } => {
                full("context", context)?;
                full("continuation", continuation)?;
                let tokens = continuation.len();
                if tokens > max_length {
                    return Err(ScoringError::ContinuationTooLong { index, tokens, max_length });
                }
                Ok(())
            }
            TokenRequest::LogLikelihoodRolling { prefix, tokens } => {
                self.known(index, &[*prefix])?;
                self.known(index, tokens)
            }
            TokenRequest::GenerateUntil { prompt, generation } => {
                full("prompt", prompt)?;
                generation.check()?;
                let max_new_tokens = generation.max_new_tokens;
                if max_new_tokens >= max_length {
                    let error =
                        ScoringError::GenerationTooLong { index, max_new_tokens, max_length };
                    return Err(error);
                }
                Ok(())
            }
        }
    }

    /// Refuses tokens that the model does not know.
    fn known(&self, index: usize, tokens: &[u32]) -> Result<(), ScoringError> {
        let vocab_size = self.model.vocab_size();
        match tokens.iter().find(|token| **token as usize >= vocab_size) {
            Some(&token) => Err(ScoringError::TokenOutOfRange { index, token, vocab_size }),
            None => Ok(()),
        }
    }
}
