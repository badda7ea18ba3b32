use burn::tensor::Tensor;
use fused_ops::entropy;
use router::{Routing, RoutingTape};
use serde::{Deserialize, Serialize};

use crate::error::check_coefficient;
use crate::reduction::of_each;
use crate::{Aggregation, BalanceLoss, BalanceLossError, PaddingPolicy};

/// What is asked of the entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntropyObjective {
    /// `mean_t H(p_t)` is minimised: each token decides clearly. It does not balance.
    #[default]
    MinimisePerToken,
    /// `1 - H(mean_t p_t)` is minimised: the experts are used evenly over all tokens.
    MaximiseOverTokens,
}

/// Configuration of [`Entropy`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EntropyConfig {
    /// The coefficient of the loss. Default 0.01.
    pub coefficient: f64,
    /// What is asked of the entropy. Default: little for each token.
    pub objective: EntropyObjective,
    /// The index `q` of the Tsallis entropy, above 0; 1 is Shannon's. Default: the entropy of each
    /// token that the router itself decides by, where it does (DynMoLE), and Shannon's elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entropic_index: Option<f64>,
    /// Whether padding counts. Default: it does not.
    pub padding: PaddingPolicy,
    /// How layers are aggregated. Default: summed.
    pub aggregation: Aggregation,
}

impl Default for EntropyConfig {
    fn default() -> Self {
        Self {
            coefficient: 1e-2,
            objective: EntropyObjective::default(),
            entropic_index: None,
            padding: PaddingPolicy::default(),
            aggregation: Aggregation::default(),
        }
    }
}

impl EntropyConfig {
    /// Checks the configuration.
    ///
    /// # Errors
    ///
    /// [`BalanceLossError`] naming the field that cannot work.
    pub fn init(&self) -> Result<Entropy, BalanceLossError> {
        check_coefficient("coefficient", self.coefficient)?;
        match self.entropic_index {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(BalanceLossError::EntropicIndex { value })
            }
            _ => Ok(Entropy { config: self.clone() }),
        }
    }
}

/// The entropy of the probabilities before selection, divided by its largest value, so that it is
/// within 0 and 1 whatever the number of experts.
///
/// ```text
/// Shannon:  H(p) = -sum_e p_e ln p_e / ln E
/// Tsallis:  H(p) = (1 - sum_e p_e^q) / (1 - E^(1 - q))
/// loss     = coefficient * mean_t H(p_t)           (EntropyObjective::MinimisePerToken)
///          = coefficient * (1 - H(mean_t p_t))     (EntropyObjective::MaximiseOverTokens)
/// ```
///
/// Per token it is DynMoLE's loss (arXiv 2504.00661, with `q = 1.1`). Over tokens uniform use of
/// the experts costs nothing.
#[derive(Debug, Clone)]
pub struct Entropy {
    config: EntropyConfig,
}

impl Entropy {
    /// The normalised entropy of each token, `[T, 1]`.
    fn per_token(&self, routing: &Routing) -> Tensor<2> {
        match (self.config.entropic_index, &routing.extras.entropy) {
            (None, Some(entropy)) => entropy.clone().unsqueeze_dim(1),
            (index, _) => normalised_entropy(routing.probabilities.clone(), index.unwrap_or(1.0)),
        }
    }
}

/// The entropy of each row of `p`, divided by that of the uniform distribution, for the index `q`
/// (1 is Shannon's): `[N, E]` to `[N, 1]`. Formulas: [`Entropy`].
pub fn normalised_entropy(p: Tensor<2>, q: f64) -> Tensor<2> {
    let experts = p.dims()[1] as f64;
    if q == 1.0 {
        let largest = experts.ln();
        let scale = if largest > 0.0 { 1.0 / largest } else { 0.0 };
        entropy(p).unsqueeze_dim(1) * scale
    } else {
        // Powers below 1 have no slope at 0.
        let p = p.clamp_min(1e-12);
        let largest = 1.0 - experts.powf(1.0 - q);
        let scale = if largest == 0.0 { 0.0 } else { 1.0 / largest };
        (-p.powf_scalar(q).sum_dim(1) + 1.0) * scale
    }
}

impl BalanceLoss for Entropy {
    fn loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let config = &self.config;
        if config.coefficient == 0.0 {
            return Ok(None);
        }
        let mean = config.padding.token_mean(tape.context());
        match config.objective {
            EntropyObjective::MinimisePerToken => config.aggregation.over(
                tape.records(),
                |record| Ok([self.per_token(&record.routing)]),
                |values| mean.of(values),
                |pooled| of_each(pooled.mean()) * config.coefficient,
            ),
            EntropyObjective::MaximiseOverTokens => config.aggregation.over(
                tape.records(),
                |record| Ok([record.routing.probabilities.clone()]),
                |values| mean.of(values),
                |pooled| {
                    let q = config.entropic_index.unwrap_or(1.0);
                    let shares = pooled.mean();
                    let [groups, _, experts] = shares.dims();
                    let entropy = normalised_entropy(shares.reshape([groups, experts]), q);
                    (-entropy.reshape([groups]) + 1.0) * config.coefficient
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Layer, assert_close, descend, refused_coefficients, tape, value};
    use burn::tensor::Device;
    use burn::tensor::activation::softmax;
    use router::{BatchContext, Site};

    const P: [[f32; 3]; 2] = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]];

    fn with(change: impl FnOnce(&mut EntropyConfig)) -> Entropy {
        let mut config = EntropyConfig { coefficient: 1.0, ..Default::default() };
        change(&mut config);
        config.init().unwrap()
    }

    fn over_tokens(config: &mut EntropyConfig) {
        config.objective = EntropyObjective::MaximiseOverTokens;
    }

    fn shannon(p: [f64; 3]) -> f64 {
        -p.iter().map(|p| p * p.ln()).sum::<f64>() / 3_f64.ln()
    }

    fn tsallis(p: [f64; 3], q: f64) -> f64 {
        let raw = |p: &[f64]| (1.0 - p.iter().map(|p| p.powf(q)).sum::<f64>()) / (q - 1.0);
        raw(&p) / raw(&[1.0 / 3.0; 3])
    }

    #[test]
    fn the_losses_are_the_formulas() {
        let tape = tape(&[Layer::new(&P)], None);
        let mean = (shannon([0.7, 0.2, 0.1]) + shannon([0.1, 0.3, 0.6])) / 2.0;
        assert_close(value(&with(|_| ()), &tape), mean);
        assert_close(value(&with(|c| c.coefficient = 0.1), &tape), 0.1 * mean);
        let over_all = 1.0 - shannon([0.4, 0.25, 0.35]);
        assert_close(value(&with(over_tokens), &tape), over_all);
        let with_a_tenth = |config: &mut EntropyConfig| {
            over_tokens(config);
            config.coefficient = 0.1;
        };
        assert_close(value(&with(with_a_tenth), &tape), 0.1 * over_all);
        for q in [0.5, 1.1, 2.0] {
            let mean = (tsallis([0.7, 0.2, 0.1], q) + tsallis([0.1, 0.3, 0.6], q)) / 2.0;
            let got = value(&with(|c| c.entropic_index = Some(q)), &tape);
            assert!((got - mean).abs() < 1e-5, "{got} instead of {mean} for {q}");
        }
    }

    #[test]
    fn the_routers_own_entropy_counts_unless_an_index_is_given() {
        let mut layer = Layer::new(&P);
        layer.entropy = Some(vec![0.25, 0.75]);
        let tape = tape(&[layer], None);
        assert_close(value(&with(|_| ()), &tape), 0.5);
        let shannon = (shannon([0.7, 0.2, 0.1]) + shannon([0.1, 0.3, 0.6])) / 2.0;
        assert_close(value(&with(|c| c.entropic_index = Some(1.0)), &tape), shannon);
    }

    #[test]
    fn padding_changes_nothing_unless_it_is_included() {
        let masked = tape(&[Layer::new(&P)], Some(&[false, true]));
        let want = shannon([0.1, 0.3, 0.6]);
        assert_close(value(&with(|_| ()), &masked), want);
        assert_close(value(&with(over_tokens), &masked), 1.0 - want);
        let all = tape(&[Layer::new(&P)], None);
        for objective in [EntropyObjective::MinimisePerToken, EntropyObjective::MaximiseOverTokens]
        {
            let included = with(|c| {
                (c.objective, c.padding) = (objective, PaddingPolicy::Include);
            });
            let plain = with(|c| c.objective = objective);
            assert_close(value(&included, &masked), value(&plain, &all));
        }
    }

    #[test]
    fn layers_are_summed_averaged_or_taken_as_one() {
        let layers = [Layer::new(&[P[0]]), Layer::new(&[P[1]])];
        let both = tape(&layers, None);
        let sum = 2.0 - shannon([0.7, 0.2, 0.1]) - shannon([0.1, 0.3, 0.6]);
        let of = |aggregation| {
            let loss = with(|c| {
                over_tokens(c);
                c.aggregation = aggregation;
            });
            value(&loss, &both)
        };
        assert_close(of(Aggregation::Sum), sum);
        assert_close(of(Aggregation::Mean), sum / 2.0);
        assert_close(of(Aggregation::Concatenate), 1.0 - shannon([0.4, 0.25, 0.35]));
    }

    #[test]
    fn over_tokens_uniform_use_costs_nothing_and_the_gradient_leads_to_it() {
        let even = tape(&[Layer::new(&[[0.9, 0.1], [0.1, 0.9]])], None);
        assert!(value(&with(over_tokens), &even).abs() < 1e-6);
        let (before, after) = descend(&with(over_tokens), 4, 1.0);
        assert!(after < 0.05 * before, "the spread went from {before} to {after}");
    }

    #[test]
    fn per_token_the_gradient_makes_decisions_clear() {
        let device = Device::flex().autodiff();
        for index in [None, Some(1.1)] {
            let loss = with(|c| c.entropic_index = index);
            let mut logits = Tensor::<2>::from_data([[0.3, 0.0, -0.2], [0.0, 0.1, 0.4]], &device);
            let mut values = Vec::new();
            for _ in 0..100 {
                logits = logits.detach().require_grad();
                let p = softmax(logits.clone(), 1);
                let routing = Routing::dense(logits.clone(), p.clone(), p);
                let mut tape = RoutingTape::recording(BatchContext::new(1, 2));
                tape.push(Site::new(0, "mlp.up_proj"), &routing, Vec::new);
                values.push(value(&loss, &tape));
                let grads = loss.loss(&tape).unwrap().unwrap().backward();
                logits = logits.clone() - Tensor::from_inner(logits.grad(&grads).unwrap()) * 2.0;
            }
            assert!(values[0] > 0.9 && values[99] < 0.1, "{values:?}");
        }
    }

    #[test]
    fn certain_tokens_and_single_experts_have_no_entropy() {
        for index in [None, Some(0.5), Some(1.1)] {
            let loss = with(|c| c.entropic_index = index);
            let certain = value(&loss, &tape(&[Layer::new(&[[1.0, 0.0, 0.0]])], None));
            assert!(certain.abs() < 1e-4, "{certain}");
            assert_eq!(value(&loss, &tape(&[Layer::new(&[[1.0]])], None)), 0.0);
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        refused_coefficients(|coefficient| {
            EntropyConfig { coefficient, ..Default::default() }.init().map(drop)
        });
        for value in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let config = EntropyConfig { entropic_index: Some(value), ..Default::default() };
            let error = config.init().unwrap_err();
            assert!(matches!(error, BalanceLossError::EntropicIndex { .. }), "{error}");
        }
        let tape = tape(&[Layer::new(&P)], None);
        assert!(with(|c| c.coefficient = 0.0).loss(&tape).unwrap().is_none());
    }
}
