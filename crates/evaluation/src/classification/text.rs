use model_zoo::{PaddingSide, SequenceClassifier, TextTokenizer, TokenInput};
use router::RoutingTape;

use super::batches::{by_length, rows};
use super::{ClassificationError, ClassificationOptions};
use crate::scoring::Progress;

/// A text to classify, or a pair of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextInput<'a> {
    /// The text.
    pub text: &'a str,
    /// What it is compared with.
    pub text_pair: Option<&'a str>,
}

/// Classifies texts by a model with a head, as transformers' pipeline of that name does.
#[derive(Debug, Clone)]
pub struct TextClassification<'a, M: SequenceClassifier> {
    model: &'a M,
    tokenizer: TextTokenizer,
    batch_tokens: usize,
}

impl<'a, M: SequenceClassifier> TextClassification<'a, M> {
    /// A model off its autodiff device, with its tokenizer, whose post-processor joins pairs
    /// (`<s> a </s></s> b </s>` for RoBERTa). What is too long loses tokens at the end, the longer
    /// text of a pair first.
    ///
    /// # Errors
    ///
    /// [`ClassificationError`] when texts cannot be as long as `options` say.
    pub fn new(
        model: &'a M,
        tokenizer: &TextTokenizer,
        options: &ClassificationOptions,
    ) -> Result<Self, ClassificationError> {
        let allowed = model.max_positions();
        let max_length = options.max_length.unwrap_or(allowed);
        if !(1..=allowed).contains(&max_length) {
            return Err(ClassificationError::MaxLength { found: max_length, allowed });
        }
        let tokenizer = tokenizer.clone().with_truncation(max_length)?;
        Ok(Self { model, tokenizer, batch_tokens: options.batch_tokens })
    }

    /// The logits of all texts. `done` is given those of each with its index as soon as they are
    /// known; passes all of whose texts are `known` are left out.
    ///
    /// All texts are checked before the first is computed.
    ///
    /// # Errors
    ///
    /// [`ClassificationError`] naming the text, and what `done` returns.
    pub fn classify<E: From<ClassificationError>>(
        &self,
        inputs: &[TextInput],
        known: &[bool],
        done: &mut dyn FnMut(usize, Vec<f64>, Progress) -> Result<(), E>,
    ) -> Result<(), E> {
        let tokens: Vec<_> = inputs
            .iter()
            .enumerate()
            .map(|(index, input)| self.tokens(index, *input))
            .collect::<Result<_, _>>()?;
        let lengths: Vec<_> = tokens.iter().map(Vec::len).collect();
        let mut progress = Progress::default();
        for batch in by_length(&lengths, self.batch_tokens, self.model.reach()) {
            progress.requests += batch.len();
            if batch.iter().all(|index| known[*index]) {
                continue;
            }
            let sequences: Vec<_> = batch.iter().map(|index| &tokens[*index]).collect();
            progress.tokens += sequences.iter().map(|tokens| tokens.len()).sum::<usize>();
            progress.computed += batch.len() * lengths[batch[0]];
            for (index, logits) in batch.iter().zip(self.logits(&sequences)?) {
                if logits.iter().any(|logit| !logit.is_finite()) {
                    return Err(ClassificationError::NotFinite { index: *index }.into());
                }
                done(*index, logits, progress)?;
            }
        }
        Ok(())
    }

    fn logits(&self, sequences: &[&Vec<u32>]) -> Result<Vec<Vec<f64>>, ClassificationError> {
        let (pad, device) = (self.model.pad_token_id(), self.model.device());
        let input = TokenInput::from_sequences(sequences, pad, PaddingSide::Right, &device);
        let mut tape = RoutingTape::new(self.model.context(&input));
        rows(self.model.logits(&input, &mut tape))
    }

    fn tokens(&self, index: usize, input: TextInput) -> Result<Vec<u32>, ClassificationError> {
        let tokens = self.tokenizer.encode_pair(input.text, input.text_pair)?;
        let vocab_size = self.model.vocab_size();
        match tokens.iter().find(|token| **token as usize >= vocab_size) {
            _ if tokens.is_empty() => Err(ClassificationError::Empty { index }),
            Some(token) => {
                Err(ClassificationError::TokenOutOfRange { index, token: *token, vocab_size })
            }
            None => Ok(tokens),
        }
    }
}
