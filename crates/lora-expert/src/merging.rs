use burn::tensor::{Tensor, TensorData};
use fused_ops::{Draw, draw};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use router::stable_hash;
use serde::{Deserialize, Serialize};

use crate::ExpertError;

/// Which masks dynamic merging uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergingMask {
    /// Fresh ones for each pass of training, none outside of training.
    #[default]
    Fresh,
    /// The same ones always, outside of training too: they are a part of the trained function, so
    /// they can be merged into a weight.
    Fixed,
}

/// Dynamic merging: only a random part of what an expert has learned is added to the frozen
/// weight, `theta + M o (B A)`.
///
/// An element of `B A` is kept with probability `1 - rate`. Fast form: whole rows of `B` and whole
/// columns of `A` are masked, each with probability `1 - sqrt(1 - rate)`, independently for each
/// expert. Source: SLIM, arXiv 2410.07739, section 3.
///
/// With fresh masks that are not rescaled, a pass of training adds `(1 - rate) B A` on average and
/// inference adds `B A`: one function is trained and another one used. `rescale` divides what is
/// kept by `1 - rate`, as DARE does (arXiv 2311.03099), and both add `B A` on average.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DynamicMergingConfig {
    /// The probability `p` that an element of `B A` is masked; 0.5 in the paper's best runs.
    pub rate: f64,
    /// Fresh or fixed masks. Default: fresh.
    #[serde(default)]
    pub mask: MergingMask,
    /// Whether what is kept of `B A` is divided by `1 - rate`. Default: no.
    #[serde(default)]
    pub rescale: bool,
    /// Decides the fixed masks. Default 0.
    #[serde(default)]
    pub seed: u64,
}

impl DynamicMergingConfig {
    /// Fresh masks for a share `rate` of the elements, and what is kept as it is.
    pub fn new(rate: f64) -> Self {
        Self { rate, mask: MergingMask::Fresh, rescale: false, seed: 0 }
    }

    /// Divides what is kept of `B A` by `1 - rate`.
    pub fn with_rescale(mut self) -> Self {
        self.rescale = true;
        self
    }

    /// Makes the masks the same in every pass, decided by `seed`.
    pub fn with_fixed_mask(mut self, seed: u64) -> Self {
        self.mask = MergingMask::Fixed;
        self.seed = seed;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ExpertError> {
        if !(0.0..1.0).contains(&self.rate) {
            return Err(ExpertError::MergingRate { value: self.rate });
        }
        Ok(())
    }

    /// The masks of a layer that `layer_seed` tells from others, where they are fixed.
    pub(crate) fn fixed(&self, layer_seed: u64, factors: &[Tensor<3>; 2]) -> Option<MergingMasks> {
        let seed = self.fixed_seed(layer_seed);
        (self.mask == MergingMask::Fixed).then(|| self.draw(seed, factors))
    }

    /// What the columns of `A`, `[N, I]`, and the rows of `B`, `[N, O]`, are multiplied with in the
    /// layer that `layer_seed` tells from others, 0 where masked; `None` where the masks are fresh.
    pub fn fixed_masks(
        &self,
        layer_seed: u64,
        experts: usize,
        in_features: usize,
        out_features: usize,
    ) -> Option<[Vec<f32>; 2]> {
        let lengths = [experts * in_features, experts * out_features];
        let seed = self.fixed_seed(layer_seed);
        (self.mask == MergingMask::Fixed).then(|| self.draw_kept(seed, lengths))
    }

    fn fixed_seed(&self, layer_seed: u64) -> u64 {
        stable_hash([self.seed, layer_seed].into_iter().flat_map(u64::to_le_bytes))
    }

    /// The masks of one pass, where they are fresh and it is a pass of training.
    pub(crate) fn fresh(
        &self,
        training_seed: Option<u64>,
        factors: &[Tensor<3>; 2],
    ) -> Option<MergingMasks> {
        let seed = training_seed.filter(|_| self.mask == MergingMask::Fresh)? ^ SALT;
        Some(self.draw_on_device(seed, factors).unwrap_or_else(|| self.draw(seed, factors)))
    }

    /// As [`draw`](Self::draw), by a GPU itself where it can.
    fn draw_on_device(&self, seed: u64, factors: &[Tensor<3>; 2]) -> Option<MergingMasks> {
        let drawn = Draw::Kept { p: 1.0 - self.keep(), value: self.kept() };
        let [cols, rows] = mask_shapes(factors);
        let [a, b] = factors;
        let cols = draw(cols, drawn, stable_hash(seed.to_le_bytes()), a)?;
        Some(MergingMasks { cols, rows: draw(rows, drawn, seed, b)? })
    }

    /// Masks for `A` `[N, r, I]` and `B` `[N, O, r]`.
    fn draw(&self, seed: u64, factors: &[Tensor<3>; 2]) -> MergingMasks {
        let shapes = mask_shapes(factors);
        let [cols, rows] = self.draw_kept(seed, shapes.map(|shape| shape.iter().product()));
        let mask = |kept: Vec<f32>, shape: [usize; 3], like: &Tensor<3>| -> Tensor<3> {
            let mask: Tensor<3> = Tensor::from_data(TensorData::new(kept, shape), &like.device());
            mask.cast(like.dtype())
        };
        let [a, b] = factors;
        MergingMasks { cols: mask(cols, shapes[0], a), rows: mask(rows, shapes[1], b) }
    }

    /// What columns and rows are multiplied with.
    fn draw_kept(&self, seed: u64, lengths: [usize; 2]) -> [Vec<f32>; 2] {
        let (keep, kept) = (self.keep(), self.kept() as f32);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        lengths.map(|length| {
            let draw = |_| if f64::from(rng.random::<f32>()) < keep { kept } else { 0.0 };
            (0..length).map(draw).collect()
        })
    }

    /// The probability that a row or a column is kept: both make an element.
    fn keep(&self) -> f64 {
        (1.0 - self.rate).sqrt()
    }

    /// What a row or a column that is kept is multiplied with, so that an element is divided by `1 - rate`.
    fn kept(&self) -> f64 {
        if self.rescale { 1.0 / self.keep() } else { 1.0 }
    }
}

/// Of the columns of `A` `[N, r, I]` and the rows of `B` `[N, O, r]`.
fn mask_shapes([a, b]: &[Tensor<3>; 2]) -> [[usize; 3]; 2] {
    let ([experts, _, in_features], out_features) = (a.dims(), b.dims()[1]);
    [[experts, 1, in_features], [experts, out_features, 1]]
}

/// Keeps the masks of a pass apart from its dropout.
const SALT: u64 = 0x736c_696d_6d61_736b;

/// What the factors are multiplied with, 0 where masked.
#[derive(Debug, Clone)]
pub(crate) struct MergingMasks {
    /// The columns of `A`, `[N, 1, I]`.
    pub cols: Tensor<3>,
    /// The rows of `B`, `[N, O, 1]`.
    pub rows: Tensor<3>,
}

impl MergingMasks {
    /// The factors with their masks.
    pub(crate) fn apply(&self, [a, b]: [Tensor<3>; 2]) -> [Tensor<3>; 2] {
        [a * self.cols.clone().detach(), b * self.rows.clone().detach()]
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    const SHAPES: [[usize; 3]; 2] = [[4, 2, 3000], [4, 2500, 2]];

    fn factors() -> [Tensor<3>; 2] {
        SHAPES.map(|shape| Tensor::ones(shape, &Device::flex()))
    }

    fn kept(mask: &Tensor<3>) -> Vec<f32> {
        mask.clone().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn an_element_of_the_product_is_kept_with_one_minus_the_rate() {
        for rate in [0.0, 0.25, 0.5, 0.75] {
            let masks = DynamicMergingConfig::new(rate).draw(3, &factors());
            let mean = |mask| kept(mask).iter().sum::<f32>() / kept(mask).len() as f32;
            let (cols, rows) = (mean(&masks.cols), mean(&masks.rows));
            let one = (1.0 - rate as f32).sqrt();
            assert!((cols - one).abs() < 0.02 && (rows - one).abs() < 0.02, "{rate}");
            let product = masks.rows.matmul(masks.cols).mean().into_scalar::<f32>();
            assert!((product - (1.0 - rate as f32)).abs() < 0.02, "{rate}: {product}");
        }
    }

    #[test]
    fn a_rescaled_product_keeps_its_mean() {
        for rate in [0.25, 0.5, 0.75] {
            let config = DynamicMergingConfig::new(rate);
            let (plain, rescaled) =
                (config.draw(3, &factors()), config.with_rescale().draw(3, &factors()));
            let product = rescaled.rows.clone().matmul(rescaled.cols);
            let mean = product.mean().into_scalar::<f32>();
            assert!((mean - 1.0).abs() < 0.03, "{rate}: {mean}");
            // The same are kept.
            let zero = |mask: &Tensor<3>| -> Vec<bool> {
                kept(mask).iter().map(|value| *value == 0.0).collect()
            };
            assert_eq!(zero(&plain.rows), zero(&rescaled.rows));
        }
    }

    #[test]
    fn every_expert_and_every_seed_has_masks_of_its_own() {
        let config = DynamicMergingConfig::new(0.5);
        let draw = |seed| kept(&config.fresh(Some(seed), &factors()).unwrap().cols);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_ne!(draw(1)[..3000], draw(1)[3000..6000]);
    }

    #[test]
    fn fresh_masks_are_for_training_and_fixed_ones_follow_their_seeds_only() {
        let fresh = DynamicMergingConfig::new(0.5);
        assert!(fresh.fresh(None, &factors()).is_none() && fresh.fixed(0, &factors()).is_none());
        let fixed = fresh.with_fixed_mask(7);
        assert!(fixed.fresh(Some(0), &factors()).is_none());
        let draw = |config: DynamicMergingConfig, layer| {
            kept(&config.fixed(layer, &factors()).unwrap().rows)
        };
        assert_eq!(draw(fixed, 1), draw(fixed, 1));
        assert_ne!(draw(fixed, 1), draw(fixed, 2));
        assert_ne!(draw(fixed, 1), draw(fresh.with_fixed_mask(8), 1));
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for value in [-0.1, 1.0] {
            let error = DynamicMergingConfig::new(value).check().unwrap_err();
            assert_eq!(error, ExpertError::MergingRate { value });
        }
    }
}
