use std::fs;
use std::path::Path;

use burn::tensor::Device;
use moe_adapter::{Adaptable, Projection};

use super::{Llama, LoadOptions};
use crate::files::replace_with;
use crate::parameters::LoadedParameters;
use crate::{LlamaConfig, ModelError, WeightSource, WeightWriter};

impl<P: Projection> Llama<P> {
    /// Loads a Hugging Face folder; all parameters are frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a Llama decoder that this crate can build, a
    /// tensor is missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        let config = LlamaConfig::from_folder(folder)?;
        let mut source = WeightSource::open(folder, options.dtype)?;
        let model = Self::build(&config, &mut LoadedParameters { source: &mut source, device })?;
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
        let folder = folder.as_ref();
        let write = |path: &Path, source| ModelError::Write { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(|source| write(folder, source))?;

        let mut writer = WeightWriter::new();
        writer.push("model.embed_tokens.weight", self.model.embed_tokens.weight.val());
        for (i, layer) in self.model.layers.iter().enumerate() {
            let path = format!("model.layers.{i}");
            writer
                .push(format!("{path}.input_layernorm.weight"), layer.input_layernorm.weight.val());
            let norm = &layer.post_attention_layernorm;
            writer.push(format!("{path}.post_attention_layernorm.weight"), norm.weight.val());
        }
        self.visit_projections(&mut |path, _, projection| {
            writer.push_linear(path, projection.linear());
        });
        writer.push("model.norm.weight", self.model.norm.weight.val());
        if let Some(head) = &self.lm_head {
            writer.push_linear("lm_head", head);
        }
        writer.write(&folder.join("model.safetensors"))?;

        let path = folder.join("config.json");
        let mut config = self.config().to_json();
        if let Some(object) = config.as_object_mut() {
            object.insert("torch_dtype".to_owned(), self.stored_dtype().into());
        }
        let text = format!("{config:#}\n");
        replace_with(&path, text.as_bytes()).map_err(|source| write(&path, source))
    }

    /// The element type of the weights, as PyTorch names it.
    fn stored_dtype(&self) -> &'static str {
        use burn::tensor::DType;
        match self.model.embed_tokens.weight.val().dtype() {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        }
    }
}
