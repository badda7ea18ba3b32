use model_zoo::{AnyModel, ClipClassifier, RobertaClassifier, VitClassifier};

use crate::train::TrainError;

/// An encoder with a head.
#[derive(Debug, Clone)]
pub(super) enum LabelledModel {
    Roberta(Box<RobertaClassifier>),
    Vit(Box<VitClassifier>),
    Clip(Box<ClipClassifier>),
}

/// Does the same with the model inside of a [`LabelledModel`], whichever it is.
macro_rules! with_labelled_model {
    ($any:expr, $model:ident => $result:expr) => {
        match $any {
            LabelledModel::Roberta($model) => $result,
            LabelledModel::Vit($model) => $result,
            LabelledModel::Clip($model) => $result,
        }
    };
}
pub(super) use with_labelled_model;

impl LabelledModel {
    /// A model that classifies; `folder` names it in errors.
    pub(super) fn of(model: AnyModel, folder: impl std::fmt::Display) -> Result<Self, TrainError> {
        Ok(match model {
            AnyModel::Roberta(model) => Self::Roberta(Box::new(model)),
            AnyModel::Vit(model) => Self::Vit(Box::new(model)),
            AnyModel::ClipClassifier(model) => Self::Clip(Box::new(model)),
            AnyModel::Decoder(_) | AnyModel::ClipVision(_) => {
                let allowed = "a classifier: RoBERTa, ViT, or CLIP with a head";
                return Err(TrainError::value("the model", folder.to_string(), allowed));
            }
        })
    }
}
