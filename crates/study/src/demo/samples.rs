use model_zoo::TextTokenizer;

use crate::StudyError;
use crate::world::{EOS, Exchange};
use data::Sample;

/// A sentence of which every token is learned.
pub(crate) fn sentence(tokenizer: &TextTokenizer, text: &str) -> Result<Sample, StudyError> {
    let mut input_ids = tokenizer.encode(text, true)?;
    input_ids.push(EOS);
    let mut target_mask = vec![true; input_ids.len()];
    target_mask[0] = false;
    Ok(Sample { input_ids, target_mask, task_type: None, ..Sample::default() })
}

/// An exchange of which the answer is learned.
pub(crate) fn exchange(
    tokenizer: &TextTokenizer,
    exchange: &Exchange,
) -> Result<Sample, StudyError> {
    let (mut input_ids, answer) = prompt_and_answer(tokenizer, exchange)?;
    let mut target_mask = vec![false; input_ids.len()];
    input_ids.extend(answer);
    target_mask.resize(input_ids.len(), true);
    Ok(Sample { input_ids, target_mask, task_type: Some(exchange.task_type), ..Sample::default() })
}

/// The prompt, and the answer with its end token.
pub(crate) fn prompt_and_answer(
    tokenizer: &TextTokenizer,
    exchange: &Exchange,
) -> Result<(Vec<u32>, Vec<u32>), StudyError> {
    let prompt = tokenizer.encode(&exchange.prompt, true)?;
    let mut answer = tokenizer.encode(&exchange.answer, false)?;
    answer.push(EOS);
    Ok((prompt, answer))
}
