mod labelled;

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Write};

use anyhow::Result;
use lora_moe::data::{DataFile, DataSummary, Encoded, Piece, Record, Sample};
use lora_moe::finetune::run::{AnyRunConfig, RunConfig, load_rows};
use lora_moe::model_zoo::{DecoderConfig, ModelError, TextTokenizer, resolve_model};
use serde_json::json;

use crate::args::DataArgs;

/// The label of a token that is not learned, as in transformers.
const IGNORED: i64 = -100;

/// Runs `lora-moe data`: what training would see, by the code that training encodes with.
pub fn run(args: &DataArgs) -> Result<()> {
    let written = match AnyRunConfig::from_file(&args.config, &args.set)? {
        AnyRunConfig::Causal(run) => causal(&run, args),
        AnyRunConfig::Labelled(run) => labelled::run(&run, args),
    };
    match written {
        // Whoever reads has seen enough, as `head` has.
        Err(error) if is_closed(&error) => Ok(()),
        other => other,
    }
}

/// Shows the data of a language model.
fn causal(run: &RunConfig, args: &DataArgs) -> Result<()> {
    let folder =
        resolve_model(&run.model.path, run.model.revision.as_deref()).map_err(ModelError::from)?;
    let mut tokenizer = TextTokenizer::from_folder(&folder)?;
    tokenizer.add_special_tokens(&run.model.new_tokens)?;
    let model = DecoderConfig::from_folder(&folder)?;
    let max_length = run.data.longest(model.max_position_embeddings);
    let load = |files: &[DataFile]| load_rows(files, &run.data, max_length, &tokenizer);
    let train = load(&run.data.train)?;
    let validation = match &run.data.validation[..] {
        [] => None,
        files => Some(load(files)?),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let view = View { tokenizer: &tokenizer, max_length, colours: colours() };
    match args.json {
        true => view.json(&mut out, &train, args.show)?,
        false => view.text(&mut out, &train, args.show.unwrap_or(5))?,
    }
    let summaries = || {
        let mut text = summary("train", &train);
        if let Some(validation) = &validation {
            text += &format!("\n{}", summary("validation", validation));
        }
        text
    };
    match args.json {
        true => eprint!("{}", summaries()),
        false => write!(out, "{}", summaries())?,
    }
    Ok(out.flush()?)
}

fn is_closed(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn summary(name: &str, (records, encoded): &(Vec<Record>, Encoded)) -> String {
    format!("{name}\n{}\n", DataSummary::of(records.len(), encoded))
}

struct View<'a> {
    tokenizer: &'a TextTokenizer,
    max_length: usize,
    colours: bool,
}

impl View<'_> {
    /// One JSON object a sample.
    fn json(
        &self,
        out: &mut impl Write,
        (records, encoded): &(Vec<Record>, Encoded),
        most: Option<usize>,
    ) -> Result<()> {
        for (sample, &row) in encoded.samples.iter().zip(&encoded.rows) {
            if most.is_some_and(|most| row >= most) {
                break;
            }
            let mut line = json!({
                "input_ids": sample.input_ids,
                "labels": labels(sample),
                "text": self.tokenizer.decode(&sample.input_ids, false)?,
                "origin": records[row].origin.to_string(),
            });
            if let Some(task_type) = sample.task_type {
                line["task_type"] = task_type.into();
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    /// The first rows for people.
    fn text(
        &self,
        out: &mut impl Write,
        (records, encoded): &(Vec<Record>, Encoded),
        most: usize,
    ) -> Result<()> {
        let mut samples = encoded.samples.iter().zip(&encoded.rows).peekable();
        for (row, record) in records.iter().enumerate().take(most) {
            if encoded.dropped_rows.contains(&row) {
                let max_length = self.max_length;
                let why = format!("left out: nothing learned within {max_length} tokens");
                writeln!(out, "── {} · {why}\n", record.origin)?;
            }
            while let Some((sample, _)) = samples.next_if(|(_, of)| **of == row) {
                let cut = match encoded.cut_rows.contains(&row) && sample.len() == self.max_length {
                    true => format!(" · cut at {}", self.max_length),
                    false => String::new(),
                };
                let (tokens, learned) = (sample.len(), sample.target_count());
                writeln!(out, "── {} · {tokens} tokens, {learned} learned{cut}", record.origin)?;
                writeln!(out, "{}\n", self.shown(sample)?)?;
            }
        }
        Ok(())
    }

    /// The text of a sample: what is learned in green and special tokens dim, or else what is
    /// learned in brackets.
    fn shown(&self, sample: &Sample) -> Result<String> {
        let mut text = String::new();
        let pieces = Piece::of(sample, self.tokenizer)?;
        for (at, piece) in pieces.iter().enumerate() {
            let own = escaped(&piece.text);
            if self.colours {
                let codes = match (piece.learned, piece.special) {
                    (true, true) => "\x1b[32;2m",
                    (true, false) => "\x1b[32m",
                    (false, true) => "\x1b[2m",
                    (false, false) => "",
                };
                let end = if codes.is_empty() { "" } else { "\x1b[0m" };
                text += &format!("{codes}{own}{end}");
                continue;
            }
            let learned = |at: Option<usize>| {
                at.and_then(|at| pieces.get(at)).is_some_and(|piece| piece.learned)
            };
            let begins = piece.learned && !learned(at.checked_sub(1));
            let ends = piece.learned && !learned(Some(at + 1));
            text += &format!("{}{own}{}", mark(begins, "⟦"), mark(ends, "⟧"));
        }
        Ok(text)
    }
}

fn mark(there: bool, mark: &str) -> &str {
    if there { mark } else { "" }
}

fn labels(sample: &Sample) -> Vec<i64> {
    let label = |(&id, &target): (&u32, &bool)| if target { i64::from(id) } else { IGNORED };
    sample.input_ids.iter().zip(&sample.target_mask).map(label).collect()
}

/// Data must not command the terminal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(character),
            _ if character.is_control() => out.extend(character.escape_default()),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_those_of_transformers() {
        let sample = Sample {
            input_ids: vec![5, 6, 7],
            target_mask: vec![false, true, false],
            task_type: None,
            ..Sample::default()
        };
        assert_eq!(labels(&sample), [-100, 6, -100]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(escaped("a\n\tb\u{1b}[2J\r"), "a\n\tb\\u{1b}[2J\\r");
    }
}
