use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use lora_moe::burn::tensor::{Device, Int, Tensor, TensorData};
use lora_moe::model_zoo::TokenInput;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

/// The samples of one forward pass.
const BATCH: usize = 8;

/// A file of what a model reads.
pub struct Inputs {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Which tokens a model reads.
pub struct Vocabulary {
    /// Ids are below it.
    pub size: usize,
    /// The longest sequence.
    pub max_positions: usize,
}

impl Inputs {
    /// Reads a safetensors file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let inputs = Self { path: path.to_owned(), bytes };
        inputs.file()?;
        Ok(inputs)
    }

    /// `input_ids`, with `attention_mask` where it is there, in batches.
    pub fn tokens(&self, vocabulary: &Vocabulary, device: &Device) -> Result<Vec<TokenInput>> {
        let (ids, [batch, seq]) = self.int64("input_ids")?.with_context(|| self.missing())?;
        let mask = self.int64("attention_mask")?;
        let path = self.path.display();
        if let Some((mask, shape)) = &mask {
            let expected = [batch, seq];
            ensure!(
                *shape == expected,
                "{path}: `attention_mask` is {shape:?}, but `input_ids` is {expected:?}"
            );
            if let Some(value) = mask.iter().find(|value| !(0..=1).contains(*value)) {
                bail!("{path}: `attention_mask` holds {value}, but only 0 and 1 are allowed");
            }
        }
        let last = vocabulary.size - 1;
        if let Some(id) = ids.iter().find(|id| !(0..=last as i64).contains(*id)) {
            bail!("{path}: `input_ids` holds {id}, but the model's vocabulary is 0 to {last}");
        }
        let positions = vocabulary.max_positions;
        ensure!(seq <= positions, "{path}: {seq} positions, but the model has {positions}");

        let rows = |start: usize| start * seq..(start + BATCH).min(batch) * seq;
        let batches = (0..batch).step_by(BATCH).map(|start| {
            let shape = [rows(start).len() / seq, seq];
            let of_batch = TensorData::new(ids[rows(start)].to_vec(), shape);
            let input = TokenInput::new(Tensor::<2, Int>::from_data(of_batch, device));
            match mask.as_ref().map(|(mask, _)| &mask[rows(start)]) {
                Some(mask) if mask.contains(&0) => {
                    let mask: Vec<bool> = mask.iter().map(|value| *value == 1).collect();
                    let mask = Tensor::from_data(TensorData::new(mask, shape), device);
                    input.with_attention_mask(mask)
                }
                _ => input,
            }
        });
        Ok(batches.collect())
    }

    /// `pixel_values` of the model's channels, height and width, in batches.
    pub fn images(&self, shape: [usize; 3], device: &Device) -> Result<Vec<Tensor<4>>> {
        let file = self.file()?;
        let view = file.tensor("pixel_values").ok().with_context(|| self.missing())?;
        let [channels, height, width] = shape;
        let expected = format!(
            "{}: `pixel_values` is {:?} {:?}, but must be F32 [batch, {channels}, {height}, {width}]",
            self.path.display(),
            view.dtype(),
            view.shape()
        );
        ensure!(view.dtype() == Dtype::F32, "{expected}");
        ensure!(view.shape().len() == 4 && view.shape()[1..] == shape, "{expected}");
        ensure!(view.shape()[0] > 0, "{expected}, with at least one image");
        let (chunks, _) = view.data().as_chunks::<4>();
        let values: Vec<f32> = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let batches = values.chunks(BATCH * shape.iter().product::<usize>()).map(|values| {
            let count = values.len() / shape.iter().product::<usize>();
            let data = TensorData::new(values.to_vec(), [count, channels, height, width]);
            Tensor::from_data(data, device)
        });
        Ok(batches.collect())
    }

    fn file(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(&self.bytes)
            .with_context(|| format!("{} is no safetensors file", self.path.display()))
    }

    fn missing(&self) -> String {
        let names = self.file().map(|file| file.names().join(", ")).unwrap_or_default();
        format!(
            "{}: has no `input_ids` (for models of text) or `pixel_values` (for models of images) \
             as the model needs; it has: {names}",
            self.path.display()
        )
    }

    /// A tensor of int64 `[batch, seq]`, where the file has it.
    fn int64(&self, name: &str) -> Result<Option<(Vec<i64>, [usize; 2])>> {
        let file = self.file()?;
        let Ok(view) = file.tensor(name) else { return Ok(None) };
        let refused = || describe(&self.path, name, &view);
        ensure!(view.dtype() == Dtype::I64, "{}", refused());
        let &[batch, seq] = view.shape() else { bail!("{}", refused()) };
        ensure!(batch > 0 && seq > 0, "{}, neither of them 0", refused());
        let (chunks, _) = view.data().as_chunks::<8>();
        let values = chunks.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
        Ok(Some((values, [batch, seq])))
    }
}

fn describe(path: &Path, name: &str, view: &TensorView<'_>) -> String {
    let (dtype, shape) = (view.dtype(), view.shape());
    format!("{}: `{name}` is {dtype:?} {shape:?}, but must be I64 [batch, seq]", path.display())
}
