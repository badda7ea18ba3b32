//! Tests of the data contracts, on a tokenizer of a few words.

mod batch;
mod chat;
mod encode;
mod encoder;
mod messages;
mod mixture;
mod pack;
mod paths;
mod piece;
mod plan;
mod read;
mod real;
mod same_samples;
mod shapes;
mod split;
mod store;
mod summary;
mod template;
mod templates;

use std::{path::Path, sync::Arc};

use super::*;

/// A record as if read from line 1 of `test.jsonl`.
fn record(content: RecordContent) -> Record {
    let file: Arc<Path> = Arc::from(Path::new("test.jsonl"));
    Record { content, task_type: None, origin: Origin { file, row: 0, line: Some(1) } }
}

fn instruction(instruction: &str, input: &str, output: &str) -> Record {
    record(RecordContent::Instruction(Instruction {
        instruction: instruction.into(),
        input: input.into(),
        output: output.into(),
        ..Instruction::default()
    }))
}

fn completion(prompt: &str, completion: &str) -> Record {
    record(RecordContent::Completion { prompt: prompt.into(), completion: completion.into() })
}

fn conversation(turns: &[(Role, &str)]) -> Record {
    let messages = turns.iter().map(|&(role, content)| Message::new(role, content)).collect();
    record(RecordContent::Dialogue(Dialogue::new(messages)))
}

fn with_template(template: PromptTemplate) -> EncodeConfig {
    EncodeConfig { template, ..EncodeConfig::default() }
}

fn sample(ids: &[u32], targets: &[usize], task_type: Option<u32>) -> Sample {
    let target_mask = (0..ids.len()).map(|at| targets.contains(&at)).collect();
    Sample { input_ids: ids.to_vec(), target_mask, task_type, ..Sample::default() }
}
