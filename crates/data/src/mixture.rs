use rand::seq::SliceRandom;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::DataError;

/// How many samples of each of several sets make an epoch.
///
/// A set of `n_i` samples with the weight `w_i` has the share
/// `p_i = w_i n_i^(1/T) / sum_j w_j n_j^(1/T)` of an epoch, which has as many samples as all sets
/// together. With equal weights, `T = 1` takes every sample once; the larger `T`, the more alike are
/// the shares of small and large sets (Raffel et al. 2020, <https://arxiv.org/abs/1910.10683>,
/// section 3.5.2, without their limit).
///
/// Each set is gone through in an order that is shuffled anew whenever it has come to its end, over
/// epochs too: how often two samples of one set were drawn never differs by more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mixture {
    /// The samples of each set, and how many of them an epoch draws.
    sets: Vec<(usize, usize)>,
}

impl Mixture {
    /// The mixture of sets with so many samples each, by their weights and the temperature `T`.
    /// Shares are rounded so that their sum is kept.
    ///
    /// # Errors
    /// [`DataError::Setting`] for weights or a temperature that are not above 0.
    pub fn new(sizes: &[usize], weights: &[f64], temperature: f64) -> Result<Self, DataError> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let wrong = |key, found: f64| DataError::Setting {
            key,
            found: format!("{found:?}"),
            allowed: "a number above 0".into(),
        };
        if let Some(weight) = weights.iter().find(|weight| !positive(**weight)) {
            return Err(wrong("weight", *weight));
        }
        if !positive(temperature) {
            return Err(wrong("mixing_temperature", temperature));
        }
        let total: usize = sizes.iter().sum();
        if temperature == 1.0 && weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Ok(Self { sets: sizes.iter().map(|size| (*size, *size)).collect() });
        }
        // Sizes relative to the largest: a low temperature raises them to a high power.
        let largest = sizes.iter().copied().max().unwrap_or(0).max(1) as f64;
        let size = |size: usize| (size as f64 / largest).powf(temperature.recip());
        let shares: Vec<f64> =
            sizes.iter().zip(weights).map(|(of, weight)| weight * size(*of)).collect();
        let sum: f64 = shares.iter().sum();
        let exact: Vec<f64> = shares.iter().map(|share| total as f64 * share / sum).collect();
        let mut draws: Vec<usize> = exact.iter().map(|share| share.floor() as usize).collect();
        // What rounding leaves goes to the largest remainders.
        let mut order: Vec<usize> = (0..sizes.len()).filter(|set| sizes[*set] > 0).collect();
        order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()));
        let left = total.saturating_sub(draws.iter().sum());
        for set in order.into_iter().cycle().take(left) {
            draws[set] += 1;
        }
        Ok(Self { sets: sizes.iter().copied().zip(draws).collect() })
    }

    /// Whether an epoch has every sample once.
    pub fn is_plain(&self) -> bool {
        self.sets.iter().all(|(size, draws)| size == draws)
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.sets.iter().map(|(size, _)| size).sum()
    }

    /// The number of samples of each set, and how many of them an epoch draws.
    pub fn sets(&self) -> &[(usize, usize)] {
        &self.sets
    }

    /// The samples of an epoch, set by set, as indices into all samples.
    pub(super) fn draw(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let mut drawn = Vec::with_capacity(self.samples());
        let mut begin = 0;
        for (set, &(size, draws)) in self.sets.iter().enumerate() {
            // The place in the set's orders one after another, as many as all epochs before took.
            let mut at = draws as u64 * epoch;
            let end = at + draws as u64;
            while at < end && size > 0 {
                let (round, from) = (at / size as u64, (at % size as u64) as usize);
                let take = (size - from).min((end - at) as usize);
                let order = self.order(seed, set, round);
                drawn.extend(order[from..from + take].iter().map(|index| begin + index));
                at += take as u64;
            }
            begin += size;
        }
        drawn
    }

    /// The order in which a set is gone through for the `round`-th time.
    fn order(&self, seed: u64, set: usize, round: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sets[set].0).collect();
        // Streams apart from those of epochs, which count from 0.
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (set as u64 + 1).rotate_left(32));
        rng.set_stream(u64::MAX - round);
        order.shuffle(&mut rng);
        order
    }
}
