use std::io::{self, BufWriter, Write};

use anyhow::Result;
use lora_moe::data::{ImageData, LabelSet, LabelledRow, RowInput, Target};
use lora_moe::finetune::run::{
    LabelledData, LabelledInputs, LabelledReport, LabelledRows, LabelledSamples, RunConfig,
};
use lora_moe::finetune::train::{ImageSample, TextSample, TrainError};
use lora_moe::model_zoo::{ModelError, ProblemType, TextTokenizer, resolve_model};
use serde_json::{Value, json};

use super::escaped;
use crate::args::DataArgs;

/// Shows the data of an encoder.
pub fn run(run: &RunConfig<LabelledData>, args: &DataArgs) -> Result<()> {
    let folder =
        resolve_model(&run.model.path, run.model.revision.as_deref()).map_err(ModelError::from)?;
    let inputs = LabelledInputs::from_folder(&folder, run.data.task, run.data.max_length)?;
    let LabelledRows { train, validation, labels } = LabelledRows::read(run, None)?;
    let target = |row: &LabelledRow| labels.target(row).map_err(TrainError::from);
    let (samples, cut) = inputs.samples(&train, &target)?;
    let mut summary = format!("train\n{}\n", LabelledReport::of(&labels, samples.counted(), cut));
    if !validation.is_empty() {
        let (samples, cut) = inputs.samples(&validation, &target)?;
        let report = LabelledReport::of(&labels, samples.counted(), cut);
        summary += &format!("validation\n{report}\n");
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let view = View { labels: &labels, inputs: &inputs };
    let most = match args.json {
        true => args.show.unwrap_or(train.len()),
        false => args.show.unwrap_or(5),
    };
    for (at, row) in train.iter().enumerate().take(most) {
        match (args.json, &samples) {
            (true, LabelledSamples::Texts(samples)) => {
                writeln!(out, "{}", view.text_json(row, &samples[at])?)?;
            }
            (true, LabelledSamples::Images(samples)) => {
                writeln!(out, "{}", view.image_json(row, &samples[at])?)?;
            }
            (false, LabelledSamples::Texts(samples)) => view.text(&mut out, row, &samples[at])?,
            (false, LabelledSamples::Images(samples)) => view.image(&mut out, row, &samples[at])?,
        }
    }
    match args.json {
        true => eprint!("{summary}"),
        false => write!(out, "{summary}")?,
    }
    Ok(out.flush()?)
}

struct View<'a> {
    labels: &'a LabelSet,
    inputs: &'a LabelledInputs,
}

impl View<'_> {
    fn text(&self, out: &mut impl Write, row: &LabelledRow, sample: &TextSample) -> Result<()> {
        let (label, tokens) = (self.named(&sample.target), sample.input_ids.len());
        writeln!(out, "── {} · {tokens} tokens · {label}", row.origin)?;
        Ok(writeln!(out, "{}\n", escaped(&self.decoded(sample)?))?)
    }

    fn image(&self, out: &mut impl Write, row: &LabelledRow, sample: &ImageSample) -> Result<()> {
        let [height, width, channels] = sample.image.load()?.shape();
        let label = self.named(&sample.target);
        Ok(writeln!(out, "── {} · {height} x {width} x {channels} · {label}", place(row))?)
    }

    fn text_json(&self, row: &LabelledRow, sample: &TextSample) -> Result<Value> {
        Ok(json!({
            "input_ids": sample.input_ids,
            "labels": self.numbers(&sample.target),
            "label": self.named(&sample.target),
            "text": self.decoded(sample)?,
            "origin": row.origin.to_string(),
        }))
    }

    fn image_json(&self, row: &LabelledRow, sample: &ImageSample) -> Result<Value> {
        let [height, width, channels] = sample.image.load()?.shape();
        Ok(json!({
            "shape": [height, width, channels],
            "labels": self.numbers(&sample.target),
            "label": self.named(&sample.target),
            "origin": place(row),
        }))
    }

    /// The tokens as text, special ones included.
    fn decoded(&self, sample: &TextSample) -> Result<String> {
        let tokenizer: &TextTokenizer = match self.inputs {
            LabelledInputs::Text { tokenizer, .. } => tokenizer,
            LabelledInputs::Image { .. } => return Ok(String::new()),
        };
        Ok(tokenizer.decode(&sample.input_ids, false)?)
    }

    fn named(&self, target: &Target) -> String {
        self.labels.named(target).join(", ")
    }

    fn numbers(&self, target: &Target) -> Value {
        match (target, self.labels.problem) {
            (Target::Class(class), _) => json!(class),
            (Target::Value(value), _) => json!(value),
            (Target::Classes(_), ProblemType::MultiLabelClassification) => {
                json!(target.numbers())
            }
            (Target::Classes(classes), _) => json!(classes),
        }
    }
}

/// Where a row is; of an image in a folder its file alone.
fn place(row: &LabelledRow) -> String {
    match &row.input {
        RowInput::Image(ImageData::File(path)) if **path == *row.origin.file => {
            path.display().to_string()
        }
        _ => row.origin.to_string(),
    }
}
