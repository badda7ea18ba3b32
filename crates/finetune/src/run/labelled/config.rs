use data::{HoldOut, InputKind, LabelledFile};
use model_zoo::ProblemType;
use moe_adapter::{AdapterConfig, TargetModules};
use serde::{Deserialize, Serialize};

use super::super::RunConfig;
use crate::train::TrainError;

/// What an encoder is trained for: `task` of `[data]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelledTask {
    /// To tell classes of texts, or of pairs of texts, apart.
    SequenceClassification,
    /// To predict a number of each text or pair.
    Regression,
    /// To tell classes of images apart.
    ImageClassification,
}

impl LabelledTask {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::SequenceClassification => "sequence_classification",
            Self::Regression => "regression",
            Self::ImageClassification => "image_classification",
        }
    }

    /// What the rows hold.
    pub fn input(self) -> InputKind {
        match self {
            Self::SequenceClassification | Self::Regression => InputKind::Text,
            Self::ImageClassification => InputKind::Image,
        }
    }
}

/// The data of a run of an encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelledData {
    /// What is trained.
    pub task: LabelledTask,
    /// What the logits mean: `single_label_classification`, `multi_label_classification` or
    /// `regression`. Default: what the task says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem_type: Option<ProblemType>,
    /// The names of the labels, in the order of the logits; files may then also name them by their
    /// numbers, from 0. Default: the labels of the training data, in their order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Files to train on, or folders of images.
    pub train: Vec<LabelledFile>,
    /// Files to validate on.
    #[serde(default)]
    pub validation: Vec<LabelledFile>,
    /// Without validation files: how much of the training data is held out for it, a count or a
    /// share. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_split: Option<HoldOut>,
    /// The longest text or pair in tokens; longer ones are cut. Default: what the model reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
}

impl LabelledData {
    /// What the logits mean.
    pub fn problem(&self) -> ProblemType {
        self.problem_type.unwrap_or(match self.task {
            LabelledTask::Regression => ProblemType::Regression,
            _ => ProblemType::SingleLabelClassification,
        })
    }
}

/// The path of the head of all classifiers.
const HEAD: &str = "classifier";

impl RunConfig<LabelledData> {
    /// Refuses what encoders do not have, and has the head saved with the adapter, as PEFT has it.
    ///
    /// # Errors
    ///
    /// [`TrainError::Value`] naming the key.
    pub(in super::super) fn checked(mut self) -> Result<Self, TrainError> {
        let model = &self.model;
        let refused = [
            ("model.split_fused", model.split_fused),
            ("model.untie_head", model.untie_head),
            ("model.new_tokens", !model.new_tokens.is_empty()),
            ("model.quantization", model.quantization.is_some()),
            ("model.dtype", model.dtype.computed() != model_zoo::WeightDType::F32),
            ("evaluation", !self.evaluation.is_empty()),
        ];
        if let Some((key, _)) = refused.into_iter().find(|(_, set)| *set) {
            let allowed = format!(
                "absent where `data.task` is {:?}: it is for decoders",
                self.data.task.name()
            );
            return Err(TrainError::value(key, "set", allowed));
        }
        if self.data.task == LabelledTask::Regression
            && self.data.problem() != ProblemType::Regression
        {
            let given = self.data.problem().name();
            let allowed = "\"regression\" where `data.task` is \"regression\"";
            return Err(TrainError::value("data.problem_type", given, allowed));
        }
        if self.data.problem() == ProblemType::Regression && self.data.labels.is_some() {
            return Err(TrainError::value("data.labels", "set", "absent: a number has no classes"));
        }
        if self.start.from.is_none() {
            save_head(&mut self.adapter);
        }
        Ok(self)
    }
}

/// Has the head trained and saved with the adapter.
fn save_head(adapter: &mut AdapterConfig) {
    match &mut adapter.modules_to_save {
        None => adapter.modules_to_save = Some(TargetModules::Names(vec![HEAD.to_owned()])),
        Some(TargetModules::Names(names)) if !names.iter().any(|name| name == HEAD) => {
            names.push(HEAD.to_owned());
        }
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::run::AnyRunConfig;

    const RUN: &str = "[model]\npath = \"m\"\n[adapter]\nr = 2\nlora_alpha = 4\ntarget_modules = \
                       \"all-linear\"\n[data]\ntask = \"regression\"\ntrain = [{ path = \"a.csv\" }]\n\
                       [training]\noutput_dir = \"o\"\n";

    #[test]
    fn keys_of_decoders_are_refused_by_name() {
        let with = |set: &str| AnyRunConfig::from_toml(RUN, "run.toml", &[set.to_owned()]);
        assert!(matches!(with("training.seed=1"), Ok(AnyRunConfig::Labelled(_))));
        for set in [
            "model.split_fused=true",
            "model.untie_head=true",
            "model.new_tokens=[\"<x>\"]",
            "model.quantization=nf4",
            "model.dtype=float16",
            "evaluation.tasks=[\"t\"]",
            "data.problem_type=single_label_classification",
        ] {
            let text = match set.split_once("evaluation.") {
                Some((_, key)) => format!("{RUN}[[evaluation]]\n{key}\n"),
                None => RUN.to_owned(),
            };
            let sets: Vec<_> = (text == RUN).then(|| set.to_owned()).into_iter().collect();
            let error = AnyRunConfig::from_toml(&text, "run.toml", &sets).unwrap_err().to_string();
            let key = set.split('=').next().unwrap_or_default().trim_end_matches(".tasks");
            assert!(error.contains(key), "{set}: {error}");
        }
    }
}
