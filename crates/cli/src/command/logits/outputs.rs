use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use lora_moe::burn::tensor::Tensor;
use lora_moe::moe_adapter::write_atomically;
use safetensors::tensor::{Dtype, TensorView};

/// What a model gives, put together from batches.
#[derive(Default)]
pub struct Outputs {
    tensors: BTreeMap<&'static str, (Vec<usize>, Vec<u8>)>,
}

impl Outputs {
    /// Adds a batch, `[samples, …]`, to the tensor `name`.
    pub fn push<const D: usize>(&mut self, name: &'static str, batch: Tensor<D>) -> Result<()> {
        let dims = batch.dims();
        let values = batch.into_data().try_to_vec::<f32>().map_err(|error| anyhow!("{error:?}"))?;
        let (shape, bytes) =
            self.tensors.entry(name).or_insert_with(|| (dims.to_vec(), Vec::new()));
        if !bytes.is_empty() {
            shape[0] += dims[0];
        }
        bytes.extend(values.into_iter().flat_map(f32::to_le_bytes));
        Ok(())
    }

    /// Writes them as f32.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut views = Vec::new();
        for (name, (shape, bytes)) in &self.tensors {
            views.push((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?));
        }
        let bytes = safetensors::serialize(views, None)?;
        write_atomically(path, &bytes)
            .with_context(|| format!("cannot write {}", path.display()))?;
        for (name, (shape, _)) in &self.tensors {
            eprintln!("{name} {shape:?} in {}", path.display());
        }
        Ok(())
    }
}
