use std::path::Path;

use burn::tensor::{DType, Device};

use crate::encoder::{read_config, save};
use crate::{
    AnyModelConfig, ClipClassifier, ClipVision, Decoder, LoadOptions, ModelError,
    RobertaClassifier, Rounding, VitClassifier,
};

/// A model of any family, ready to be adapted.
///
/// [`with_any_model!`](crate::with_any_model) does the same to whichever it is.
// There is one of it.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum AnyModel {
    /// A decoder with a language-model head.
    Decoder(Decoder),
    /// RoBERTa with a classification or regression head.
    Roberta(RobertaClassifier),
    /// ViT with a classification head.
    Vit(VitClassifier),
    /// The vision tower of CLIP with its projection.
    ClipVision(ClipVision),
    /// The vision tower of CLIP with a classification head.
    ClipClassifier(ClipClassifier),
}

/// Evaluates an expression with the model inside of an [`AnyModel`], whichever it is.
///
/// ```
/// use burn::tensor::Device;
/// use model_zoo::{AnyModel, LoadOptions, with_any_model};
/// use moe_adapter::{Preset, TargetModules, attach};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vit_cls");
/// let mut model = AnyModel::load(folder, &LoadOptions::default(), &Device::flex())?;
/// let mut config = Preset::LoramoePaper.config();
/// config.target_modules = TargetModules::Names(vec!["query".into(), "value".into()]);
/// let adapted = with_any_model!(&mut model, model => attach(model, &config, 0))?;
/// assert!(adapted > 0);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! with_any_model {
    ($any:expr, $model:ident => $result:expr) => {
        match $any {
            $crate::AnyModel::Decoder($model) => $result,
            $crate::AnyModel::Roberta($model) => $result,
            $crate::AnyModel::Vit($model) => $result,
            $crate::AnyModel::ClipVision($model) => $result,
            $crate::AnyModel::ClipClassifier($model) => $result,
        }
    };
}

impl AnyModel {
    /// Loads a Hugging Face folder: `model_type` in its `config.json` decides which model it is,
    /// and of CLIP `architectures`, whether it has a classification head. All parameters are
    /// frozen.
    ///
    /// # Errors
    ///
    /// [`ModelError`] when the folder does not hold a model that this crate can build, a tensor is
    /// missing or has another shape, or one is left over.
    pub fn load(
        folder: impl AsRef<Path>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let folder = folder.as_ref();
        Ok(match AnyModelConfig::from_folder(folder)? {
            AnyModelConfig::Decoder(_) => Self::Decoder(Decoder::load(folder, options, device)?),
            AnyModelConfig::Roberta(_) => {
                Self::Roberta(RobertaClassifier::load(folder, options, device)?)
            }
            AnyModelConfig::Vit(_) => Self::Vit(VitClassifier::load(folder, options, device)?),
            AnyModelConfig::ClipVision(_) if has_clip_classifier(folder)? => {
                Self::ClipClassifier(ClipClassifier::load(folder, options, device)?)
            }
            AnyModelConfig::ClipVision(_) => {
                Self::ClipVision(ClipVision::load(folder, options, device)?)
            }
        })
    }

    /// Writes a folder that this crate and transformers load.
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
        match self {
            Self::Decoder(model) => model.save_in(folder, dtype),
            Self::Roberta(model) => save(model, model.config().to_json(), folder, dtype),
            Self::Vit(model) => save(model, model.config().to_json(), folder, dtype),
            Self::ClipVision(model) => save(model, model.config().to_json(), folder, dtype),
            Self::ClipClassifier(model) => save(model, model.to_json(), folder, dtype),
        }
    }
}

fn has_clip_classifier(folder: &Path) -> Result<bool, ModelError> {
    let config = read_config(&folder.join("config.json"))?;
    let architectures = config.get("architectures").and_then(|list| list.as_array());
    let mut names = architectures.into_iter().flatten().filter_map(|name| name.as_str());
    Ok(names.any(|name| name == "CLIPForImageClassification"))
}
