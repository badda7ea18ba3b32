use std::fs;
use std::path::Path;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor};
use fused_ops::runs_kernels;
use moe_adapter::{BaseLinear, Projection};
use tensor_files::write_atomically;

use super::experts::Experts;
use super::feed_forward::FeedForward;
use super::qkv::QkvProjections;
use super::{Decoder, LoadOptions};
use crate::parameters::LoadedParameters;
use crate::{DecoderConfig, ModelError, Rounding, WeightDType, WeightWriter};

impl<P: Projection> Decoder<P> {
    /// Loads a Hugging Face folder; all parameters are frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a decoder that this crate can build, a
    /// tensor is missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let mut config = DecoderConfig::from_folder(folder)?;
        config.fused_projections &= !options.split_fused;
        // CPUs multiply f32 with halves as fast as with f32, and compute slowly in halves.
        let wide = runs_kernels(&Tensor::<1>::zeros([1], (device, DType::F32)));
        let mut source = if wide { options.open_widened(folder)? } else { options.open(folder)? };
        let mut parameters = LoadedParameters::new(&mut source, device).with_wide_vectors(wide);
        let model = Self::build(&config, &mut parameters)?;
        let tied = config.tie_word_embeddings;
        // Old checkpoints store these, though they follow from the configuration.
        source.ignore(|name| {
            name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight")
        });
        source.finish()?;
        Ok(model)
    }

    /// Writes a folder that this crate and transformers load: `config.json` and
    /// `model.safetensors`. Projections are written as the linears of the base model.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder cannot be written.
    pub fn save(&self, folder: impl AsRef<Path>) -> Result<(), ModelError> {
        self.save_in(folder, None).map(|_| ())
    }

    /// As [`save`](Self::save), with every tensor rounded to an element type, where there is one.
    /// Returns what that lost.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save).
    pub fn save_in(
        &self,
        folder: impl AsRef<Path>,
        dtype: Option<DType>,
    ) -> Result<Rounding, ModelError> {
        let folder = folder.as_ref();
        let write = |path: &Path, source| ModelError::Write { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| write(folder, source))?;

        let mut writer = WeightWriter::in_dtype(dtype);
        let stored = WeightDType::of(dtype.unwrap_or(self.model.embed_tokens.weight.val().dtype()));
        let dtype = self.model.embed_tokens.weight.val().dtype();
        writer.push("model.embed_tokens.weight", self.model.embed_tokens.weight.val());
        for (i, layer) in self.model.layers.iter().enumerate() {
            for (path, norm) in layer.norms() {
                let weight = norm.weight.val().cast(dtype);
                writer.push(format!("model.layers.{i}.{path}.weight"), weight);
            }
            if let Some(block) = layer.sparse() {
                let path = format!("model.layers.{i}.{}", block.gate_path());
                writer.push_linear(&path, &BaseLinear::from(block.gate.clone()), dtype);
            }
        }
        self.push_projections(&mut writer, dtype);
        writer.push("model.norm.weight", self.model.norm.weight.val().cast(dtype));
        if let Some(head) = &self.lm_head {
            writer.push_linear("lm_head", &BaseLinear::from(head.clone()), dtype);
        }
        let rounding = writer.write(&folder.join("model.safetensors"))?;

        let path = folder.join("config.json");
        let mut config = self.config().to_json();
        if let Some(object) = config.as_object_mut() {
            object.insert("torch_dtype".to_owned(), stored.name().into());
        }
        let text = format!("{config:#}\n");
        write_atomically(&path, text.as_bytes()).map_err(|source| write(&path, source))?;
        Ok(rounding)
    }

    /// Adds all projections, quantised ones as `dtype`; those that the files of the family hold as one
    /// are put together.
    fn push_projections(&self, writer: &mut WeightWriter, dtype: DType) {
        let traits = self.config().family.traits();
        let (fuse, experts) = (traits.fused_projections, &traits.experts);
        for (i, layer) in self.model.layers.iter().enumerate() {
            let path = |name: &str| format!("model.layers.{i}.{name}");
            let mut rest: Vec<_> = layer.projections().collect();
            if let (true, QkvProjections::Split(_)) = (fuse, &layer.self_attn.qkv) {
                let parts: Vec<_> = rest.drain(..3).map(|(_, part)| part.linear()).collect();
                writer.push_linear(&path("self_attn.qkv_proj"), &joined(&parts), dtype);
            }
            if let (true, Some(FeedForward::Gated(block))) = (fuse, &layer.mlp) {
                rest.retain(|(name, _)| !["mlp.gate_proj", "mlp.up_proj"].contains(name));
                let parts = [block.gate_proj.linear(), block.up_proj.linear()];
                writer.push_linear(&path("mlp.gate_up_proj"), &joined(&parts), dtype);
            }
            if let (Some(block), Some(names)) = (layer.sparse(), experts)
                && matches!(block.experts, Experts::Fused(_))
            {
                rest.retain(|(name, _)| !name.contains(".experts."));
                for (name, linear) in block.experts.unfused(names) {
                    writer.push_linear(&path(&name), &linear, dtype);
                }
            }
            for (name, projection) in rest {
                writer.push_linear(&path(name), projection.linear(), dtype);
            }
        }
    }
}

/// One linear of several that read the same input: their outputs one after the other.
pub(super) fn joined(parts: &[&BaseLinear]) -> BaseLinear {
    let weights = parts.iter().map(|part| part.weight()).collect();
    let biases = parts.iter().map(|part| part.bias());
    let bias = biases.collect::<Option<Vec<_>>>().map(|biases| Tensor::cat(biases, 0));
    BaseLinear::Dense(Linear {
        weight: Param::from_tensor(Tensor::cat(weights, 1)).set_require_grad(false),
        bias: bias.map(Param::from_tensor),
    })
}
