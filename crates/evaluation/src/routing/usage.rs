use std::ops::Add;

use burn::tensor::{DType, Tensor, TensorData};
use router::{RoutingTape, Site};

/// The routing weight of each expert of each projection, summed over tokens, still on the device:
/// forward passes add up, and reading costs one small tensor.
#[derive(Debug, Clone)]
pub struct ExpertUse {
    sites: Vec<(Site, usize)>,
    sums: Tensor<1>,
}

/// The expert with the largest share of the routing weight of a projection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SiteShare {
    /// The projection.
    pub site: Site,
    /// The expert.
    pub expert: usize,
    /// Its share, at least `1 / E`.
    pub share: f64,
}

impl ExpertUse {
    /// The use of the experts in one forward pass, padding left out; `None` without routing.
    pub fn of(tape: &RoutingTape) -> Option<Self> {
        let context = tape.context();
        let mask = context.token_mask.clone().map(|mask| -> Tensor<2> {
            mask.float().cast(DType::F32).reshape([context.num_tokens(), 1])
        });
        let mut sites = Vec::with_capacity(tape.records().len());
        let mut sums = Vec::with_capacity(tape.records().len());
        for record in tape.records() {
            let experts = record.routing.num_experts();
            let mut weights = record.routing.weights.clone().detach();
            if let Some(mask) = &mask {
                weights = weights * mask.clone();
            }
            sites.push((record.site, experts));
            sums.push(weights.sum_dim(0).reshape([experts]));
        }
        (!sums.is_empty()).then(|| Self { sites, sums: Tensor::cat(sums, 0) })
    }

    /// The same with other sums, one for each expert of each projection in turn: `change` receives
    /// those of this process and may add those of others.
    ///
    /// # Errors
    ///
    /// That of `change`.
    pub fn with_sums<E>(self, change: impl FnOnce(&mut [f32]) -> Result<(), E>) -> Result<Self, E> {
        let device = self.sums.device();
        let mut sums: Vec<f32> = self.sums.into_data().iter::<f32>().collect();
        change(&mut sums)?;
        let shape = [sums.len()];
        let sums = Tensor::from_data(TensorData::new(sums, shape), &device);
        Ok(Self { sites: self.sites, sums })
    }

    /// Reads the largest share of each projection.
    pub fn largest_shares(self) -> Vec<SiteShare> {
        let sums: Vec<f64> = self.sums.into_data().iter::<f64>().collect();
        let mut rest = sums.as_slice();
        let mut shares = Vec::with_capacity(self.sites.len());
        for (site, experts) in self.sites {
            let (own, after) = rest.split_at(experts);
            rest = after;
            let total: f64 = own.iter().sum();
            let largest = own.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
            if let Some((expert, weight)) = largest {
                let share = if total > 0.0 { weight / total } else { 0.0 };
                shares.push(SiteShare { site, expert, share });
            }
        }
        shares
    }
}

/// Adds another forward pass of the same model.
impl Add for ExpertUse {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { sites: self.sites, sums: self.sums + other.sums }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use router::{BatchContext, Routing};

    fn tape(weights: [[f32; 3]; 4], mask: Option<[[bool; 2]; 2]>) -> RoutingTape {
        let device = Device::flex();
        let mut context = BatchContext::new(2, 2);
        context.token_mask = mask.map(|mask| Tensor::from_data(mask, &device));
        let mut tape = RoutingTape::recording(context);
        let weights = Tensor::<2>::from_data(weights, &device);
        let narrow = weights.clone().slice([0..4, 1..3]);
        for (layer, weights) in [weights, narrow].into_iter().enumerate() {
            let routing = Routing::dense(weights.clone(), weights.clone(), weights);
            tape.push(Site::new(layer, "mlp.up_proj"), &routing, Vec::new);
        }
        tape
    }

    const WEIGHTS: [[f32; 3]; 4] =
        [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]];

    fn found(shares: &[SiteShare]) -> Vec<(usize, usize, f64)> {
        shares.iter().map(|share| (share.site.layer, share.expert, share.share)).collect()
    }

    #[test]
    fn shares_are_of_the_weight_of_real_tokens() {
        let all = ExpertUse::of(&tape(WEIGHTS, None)).unwrap().largest_shares();
        assert_eq!(found(&all), [(0, 0, 0.5), (1, 0, 0.75)]);
        let mask = Some([[true, false], [true, false]]);
        let masked = ExpertUse::of(&tape(WEIGHTS, mask)).unwrap().largest_shares();
        assert_eq!(found(&masked), [(0, 1, 0.5), (1, 0, 2.0 / 3.0)]);
    }

    #[test]
    fn passes_add_up() {
        let flipped = WEIGHTS.map(|[a, b, c]| [c, b, a]);
        let one = ExpertUse::of(&tape(WEIGHTS, None)).unwrap();
        let both = (one + ExpertUse::of(&tape(flipped, None)).unwrap()).largest_shares();
        assert_eq!(found(&both), [(0, 1, 0.375), (1, 0, 3.0 / 5.5)]);
    }

    #[test]
    fn without_routing_there_is_no_use() {
        assert!(ExpertUse::of(&RoutingTape::recording(BatchContext::new(1, 2))).is_none());
    }
}
