use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use moe_adapter::{lora_b_ids, parameter_names};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::OptimizerConfig;
use crate::train::TrainError;

/// Parameters that are trained otherwise than the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamGroup {
    /// A regular expression that is found in their names, as `router` or `layers\.0\.`. Of several
    /// groups that name a parameter the first has it.
    pub params: String,
    /// The peak of their learning rate, which moves as that of the rest. Default: that of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning_rate: Option<f64>,
    /// Their weight decay. Default: that of the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

impl ParamGroup {
    pub(in crate::train) fn check(&self, index: usize) -> Result<(), TrainError> {
        let key = |name: &str| format!("training.param_groups[{index}].{name}");
        self.pattern(index)?;
        if let Some(rate) = self.learning_rate.filter(|rate| !(rate.is_finite() && *rate >= 0.0)) {
            let allowed = "a finite number of at least 0";
            return Err(TrainError::value(key("learning_rate"), rate, allowed));
        }
        if let Some(decay) = self.weight_decay.filter(|decay| !(decay.is_finite() && *decay >= 0.0))
        {
            let allowed = "a finite number of at least 0";
            return Err(TrainError::value(key("weight_decay"), decay, allowed));
        }
        if self.learning_rate.is_none() && self.weight_decay.is_none() {
            let allowed = "set, or `weight_decay`: a group is trained otherwise";
            return Err(TrainError::value(key("learning_rate"), "missing", allowed));
        }
        Ok(())
    }

    fn pattern(&self, index: usize) -> Result<Regex, TrainError> {
        Regex::new(&self.params).map_err(|error| {
            let key = format!("training.param_groups[{index}].params");
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            TrainError::value(key, &self.params, format!("a regular expression ({why})"))
        })
    }
}

/// Which group each parameter is in, and how fast it learns.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups {
    of: HashMap<ParamId, Place>,
}

/// Where a parameter belongs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// The number of its group, from 1; 0 for the rest.
    pub(super) group: usize,
    /// What its learning rate is, as a multiple of that of the rest.
    pub(super) rate: f64,
}

impl Groups {
    /// The groups of the parameters of a model that are trained.
    pub(super) fn new<M: Module>(model: &M, config: &OptimizerConfig) -> Result<Self, TrainError> {
        let patterns = config.param_groups.iter().enumerate();
        let patterns: Vec<Regex> =
            patterns.map(|(index, group)| group.pattern(index)).collect::<Result<_, _>>()?;
        let trained = trained(model);
        let fast = config.loraplus_lr_ratio.map(|ratio| (ratio, lora_b_ids(model)));
        let mut of = HashMap::new();
        let mut members = vec![0; patterns.len()];
        for (name, id) in &trained {
            let group = patterns.iter().position(|pattern| pattern.is_match(name));
            let mut rate = 1.0;
            if let Some(group) = group {
                members[group] += 1;
                let own = config.param_groups[group].learning_rate;
                rate = own.map_or(1.0, |own| own / config.learning_rate);
            }
            if let Some((ratio, fast)) = &fast
                && fast.contains(id)
            {
                rate *= ratio;
            }
            of.insert(*id, Place { group: group.map_or(0, |group| group + 1), rate });
        }
        if let Some(empty) = members.iter().position(|members| *members == 0) {
            let key = format!("training.param_groups[{empty}].params");
            let some: Vec<_> =
                trained.iter().take(3).map(|(name, _)| format!("`{name}`")).collect();
            let allowed = format!(
                "found in the name of a trained parameter that no group before it has; there are {}{}",
                some.join(", "),
                if trained.len() > some.len() { ", …" } else { "" }
            );
            return Err(TrainError::value(key, &config.param_groups[empty].params, allowed));
        }
        Ok(Self { of })
    }

    /// Where a parameter belongs.
    pub(super) fn place(&self, id: ParamId) -> Place {
        self.of.get(&id).copied().unwrap_or(Place { group: 0, rate: 1.0 })
    }
}

/// The parameters that are trained, by name.
fn trained<M: Module>(model: &M) -> Vec<(String, ParamId)> {
    struct Trained(Vec<ParamId>);
    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0.push(param.id);
            }
        }
    }
    let mut ids = Trained(Vec::new());
    model.visit(&mut ids);
    let names = parameter_names(model);
    ids.0.into_iter().filter_map(|id| Some((names.get(&id)?.clone(), id))).collect()
}
