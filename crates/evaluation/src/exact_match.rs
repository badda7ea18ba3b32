use crate::EvaluationError;
use model_zoo::{CausalLm, TextTokenizer, generate_batch};

use data::{PromptTemplate, Record, encode_prompt};

/// How answers are generated to be compared.
#[derive(Debug, Clone, Copy)]
pub struct ExactMatch<'a> {
    /// How an instruction becomes a prompt.
    pub template: &'a PromptTemplate,
    /// The most tokens of an answer.
    pub max_new_tokens: usize,
    /// The prompts of one forward pass.
    pub batch_size: usize,
}

impl ExactMatch<'_> {
    /// The share of records whose greedy answer is the reference's, apart from white space around
    /// it; of a model that is not on an autodiff device.
    ///
    /// # Errors
    ///
    /// [`EvaluationError`] when a prompt cannot be encoded or generation fails.
    pub fn share<M: CausalLm>(
        &self,
        model: &M,
        tokenizer: &TextTokenizer,
        records: &[Record],
    ) -> Result<f64, EvaluationError> {
        let eos: Vec<u32> = match tokenizer.eos_token_id() {
            Some(id) => vec![id],
            None => model.eos_token_ids().to_vec(),
        };
        let mut right = 0;
        for chunk in records.chunks(self.batch_size.max(1)) {
            let prompts = chunk
                .iter()
                .map(|record| encode_prompt(record, tokenizer, self.template))
                .collect::<Result<Vec<_>, _>>()?;
            let answers = generate_batch(model, &prompts, self.max_new_tokens, &eos)?;
            for (record, answer) in chunk.iter().zip(answers) {
                let answer = tokenizer.decode(&answer, true)?;
                right += usize::from(answer.trim() == record.answer().trim());
            }
        }
        Ok(right as f64 / records.len().max(1) as f64)
    }
}
