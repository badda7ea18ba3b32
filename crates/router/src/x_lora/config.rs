use burn::tensor::Device;
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::XLoraClassifier;
use crate::error::{at_least_one, number, number_of_experts};
use crate::{Affine, RouterError, RouterShape, Site};

/// Configuration of an [`XLoraClassifier`]. The keys are PEFT's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct XLoraConfig {
    /// The number of layers of the classifier. Default 1: one linear.
    pub xlora_depth: usize,
    /// The width between its layers; unused with a depth of 1. Default 2048.
    pub xlora_size: usize,
    /// Whether its layers but the last are followed by ReLU and dropout. Default true.
    pub enable_relu_and_dropout: bool,
    /// The probability that a value between its layers is dropped, in training only. In [0, 1),
    /// default 0.2.
    pub xlora_dropout_p: f64,
    /// Whether each adapted linear has scalings of its own; otherwise all have the same. Default
    /// false.
    pub layerwise_scalings: bool,
    /// Whether the scalings are the softmax of what the classifier gives; otherwise that itself.
    /// Default true.
    pub enable_softmax: bool,
    /// Divides what the softmax is of. Default 1.
    pub softmax_temperature: f64,
    /// The experts that a token uses, those with the largest scalings, which stay as they are;
    /// absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k_lora: Option<usize>,
    /// Whether the scalings of those are their softmax again. Default false.
    pub enable_softmax_topk: bool,
    /// What every scaling is in the first pass, from whose hidden states the classifier decides.
    /// Default 0: the pass of the base model.
    pub scaling_pass_value: f64,
    /// A factor of all scalings. Default 1.
    pub global_scaling_weight: f64,
}

impl Default for XLoraConfig {
    fn default() -> Self {
        Self {
            xlora_depth: 1,
            xlora_size: 2048,
            enable_relu_and_dropout: true,
            xlora_dropout_p: 0.2,
            layerwise_scalings: false,
            enable_softmax: true,
            softmax_temperature: 1.0,
            top_k_lora: None,
            enable_softmax_topk: false,
            scaling_pass_value: 0.0,
            global_scaling_weight: 1.0,
        }
    }
}

impl XLoraConfig {
    /// Whether a classifier of this configuration can choose between so many experts.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn check(&self, num_experts: usize) -> Result<(), RouterError> {
        at_least_one("num_experts", num_experts)?;
        at_least_one("xlora_depth", self.xlora_depth)?;
        at_least_one("xlora_size", self.xlora_size)?;
        let below_one = |value| (0.0..1.0).contains(&value);
        number("xlora_dropout_p", self.xlora_dropout_p, below_one, "in [0, 1)")?;
        let positive = "a finite number above 0";
        number("softmax_temperature", self.softmax_temperature, |value| value > 0.0, positive)?;
        number("global_scaling_weight", self.global_scaling_weight, |_| true, "a finite number")?;
        let Some(k) = self.top_k_lora else {
            if self.enable_softmax_topk {
                return Err(RouterError::Needs {
                    field: "enable_softmax_topk",
                    needs: "`top_k_lora`, whose experts it is the softmax of",
                });
            }
            let value = self.scaling_pass_value;
            return number("scaling_pass_value", value, |_| true, "a finite number");
        };
        number_of_experts("top_k_lora", k, num_experts)?;
        let allowed = "0 with `top_k_lora`: of equal scalings none is the largest";
        number("scaling_pass_value", self.scaling_pass_value, |value| value == 0.0, allowed)
    }

    /// Makes the classifier of a model whose hidden states and number of experts `shape` says, and
    /// whose adapted linears are at `sites`, in the order of the forward pass.
    ///
    /// # Errors
    ///
    /// [`RouterError`] naming the field that cannot work.
    pub fn init<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        sites: Vec<Site>,
        rng: &mut R,
        device: &Device,
    ) -> Result<XLoraClassifier, RouterError> {
        self.check(shape.num_experts)?;
        at_least_one("hidden_size", shape.hidden_size)?;
        let decisions = if self.layerwise_scalings { sites.len() } else { 1 };
        let mut widths = vec![shape.hidden_size];
        widths.extend(std::iter::repeat_n(self.xlora_size, self.xlora_depth - 1));
        widths.push(decisions * shape.num_experts);
        let pairs = widths.windows(2);
        let layers = pairs.map(|pair| Affine::kaiming_uniform([pair[0], pair[1]], rng, device));
        let (layers, num_experts) = (layers.collect(), shape.num_experts);
        Ok(XLoraClassifier { layers, num_experts, sites, config: self.clone() })
    }
}
