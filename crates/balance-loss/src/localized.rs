use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use burn::tensor::{DType, Int, Tensor, TensorData};
use fused_ops::sent;
use router::{RoutingRecord, RoutingTape};
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy};

/// How the spread of the weighted importances is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariationForm {
    /// `var(Z) / mean(Z)`, as in the paper (equation 6).
    #[default]
    VarOverMean,
    /// `var(Z) / (mean(Z)^2 + 1e-10)`, the squared coefficient of variation of the released code.
    Cv2,
}

/// Which experts the constraint gives more weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The published formula: factors of `1 + delta` for a sample's own type, which at the minimum
    /// give its experts the share `(1 - delta) / 2`.
    #[default]
    Paper,
    /// What the paper's text says: factors of `1 - delta` for a sample's own type, which at the
    /// minimum give its experts the share `(1 + delta) / 2`.
    Corrected,
}

impl Reading {
    /// The factors of a sample's own and of other experts.
    fn factors(self, delta: f64) -> [f64; 2] {
        match self {
            Self::Paper => [1.0 + delta, 1.0 - delta],
            Self::Corrected => [1.0 - delta, 1.0 + delta],
        }
    }
}

/// Configuration of [`LocalizedBalancing`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LocalizedBalancingConfig {
    /// The coefficient of the loss, `beta`. Default 0.1.
    pub blc_weight: f64,
    /// How far the factors of own and other experts are from 1, `delta`, within 0 and 1.
    /// Default 0.1.
    pub blc_alpha: f64,
    /// How the spread is measured. Default: the paper's.
    pub form: VariationForm,
    /// Which experts the constraint gives more weight. Default: as the published formula does.
    #[serde(skip_serializing_if = "is_paper")]
    pub reading: Reading,
    /// The type of each expert, any numbers that samples have as their `task_type`; a sample of a
    /// type that no expert has is foreign to all. Default: the first half (rounded up) is of type
    /// 1, world knowledge, the others of type 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expert_types: Option<Vec<u32>>,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated. Default: summed.
    pub aggregation: Aggregation,
}

fn is_paper(reading: &Reading) -> bool {
    *reading == Reading::Paper
}

impl Default for LocalizedBalancingConfig {
    fn default() -> Self {
        Self {
            blc_weight: 0.1,
            blc_alpha: 0.1,
            form: VariationForm::default(),
            reading: Reading::default(),
            expert_types: None,
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::default(),
        }
    }
}

impl LocalizedBalancingConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<LocalizedBalancing, BalanceLossError> {
        check_coefficient("blc_weight", self.blc_weight)?;
        if !(0.0..=1.0).contains(&self.blc_alpha) {
            return Err(BalanceLossError::Delta { value: self.blc_alpha });
        }
        Ok(LocalizedBalancing { config: self.clone() })
    }
}

/// LoRAMoE's localised balancing constraint (arXiv 2312.09979, section 3.3).
///
/// Experts are of a type, samples are of a type, and the spread of the experts' use is measured
/// with different factors for own and other experts, so that experts are balanced *within* a type
/// and may differ between types. With the routing weights `w` of a layer,
///
/// ```text
/// Q[b, e] = sum over the tokens t of sample b of w[t, e]
/// I[b, e] = 1 + delta where the types of b and e agree, 1 - delta elsewhere
/// Z       = I * Q
/// loss    = beta * var(Z) / mean(Z)                  (VariationForm::VarOverMean)
///         = beta * var(Z) / (mean(Z)^2 + 1e-10)      (VariationForm::Cv2)
/// ```
///
/// with the unbiased variance over all entries of Z `[B, E]`, aggregated over the layers.
///
/// The loss is 0 where Q is inversely proportional to I: taken alone, the published formula
/// ([`Reading::Paper`]) gives the experts of a sample's own type *less* weight, while the paper's
/// text describes the opposite. [`Reading::Corrected`] exchanges the two factors.
#[derive(Debug, Clone)]
pub struct LocalizedBalancing {
    config: LocalizedBalancingConfig,
}

impl LocalizedBalancing {
    /// The importance factors `I`, `[B, E]`.
    fn importance(
        &self,
        record: &RoutingRecord,
        task_types: &Tensor<1, Int>,
    ) -> Result<Tensor<2>, BalanceLossError> {
        let experts = record.routing.num_experts();
        let default_types: Vec<u32>;
        let types = match &self.config.expert_types {
            Some(types) => types,
            None => {
                default_types = (0..experts).map(|e| u32::from(e < experts.div_ceil(2))).collect();
                &default_types
            }
        };
        if types.len() != experts {
            return Err(BalanceLossError::ExpertTypes {
                given: types.len(),
                found: experts,
                site: record.site.to_string(),
            });
        }
        let device = task_types.device();
        let types: Vec<i64> = types.iter().map(|t| i64::from(*t)).collect();
        let types = Tensor::<1, Int>::from_data(sent(TensorData::new(types, [experts])), &device)
            .cast(task_types.dtype());
        let [batch] = task_types.dims();
        let agree = task_types
            .clone()
            .reshape([batch, 1])
            .expand([batch, experts])
            .equal(types.reshape([1, experts]).expand([batch, experts]));
        let [own, other] = self.config.reading.factors(self.config.blc_alpha);
        Ok(agree.float().cast(DType::F32) * (own - other) + other)
    }

    /// The spreads of `Z = I * Q`, `[G, B, E]`, `[G]`.
    fn spreads(&self, weighted: Tensor<3>) -> Tensor<1> {
        let [groups, batch, experts] = weighted.dims();
        let flat = weighted.reshape([groups, batch * experts]);
        let mean = flat.clone().mean_dim(1);
        // One entry has no spread; the unbiased variance would divide by zero.
        let degrees = (batch * experts).saturating_sub(1).max(1) as f64;
        let centred = flat - mean.clone();
        let variance = (centred.clone() * centred).sum_dim(1) / degrees;
        let spreads = match self.config.form {
            VariationForm::VarOverMean => variance / mean,
            VariationForm::Cv2 => variance / (mean.clone() * mean + 1e-10),
        };
        spreads.reshape([groups])
    }
}

impl BalanceLoss for LocalizedBalancing {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        if tape.records().is_empty() || self.config.blc_weight == 0.0 {
            return Ok(None);
        }
        let context = tape.context();
        let task_types = context.task_types.as_ref().ok_or(BalanceLossError::MissingTaskTypes)?;
        let used = self.config.padding.sample_sum(context);
        // The same for all layers of as many experts, and a transfer to the device.
        let mut importances = BTreeMap::<usize, Tensor<2>>::new();
        for record in tape.records() {
            if let Entry::Vacant(vacant) = importances.entry(record.routing.num_experts()) {
                vacant.insert(self.importance(record, task_types)?);
            }
        }

        self.config.aggregation.over(
            tape.records(),
            |record| Ok([record.routing.weights.clone()]),
            |weights| used.of(weights),
            |pooled| {
                let [.., experts] = pooled.sums.dims();
                let weighted = match importances.get(&experts) {
                    Some(importance) => pooled.sums * importance.clone().unsqueeze_dim(0),
                    None => pooled.sums,
                };
                self.spreads(weighted) * self.config.blc_weight
            },
        )
    }
}

#[cfg(test)]
mod tests;
