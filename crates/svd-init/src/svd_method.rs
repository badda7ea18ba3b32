use serde::{Deserialize, Serialize};

/// How a start that needs leading singular vectors finds them.
///
/// A start that needs others always takes the full decomposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SvdMethod {
    /// `randomised` where it is at least several times cheaper, `8 (k + 16) <= min(O, I)` for `k`
    /// triplets; else `full`.
    #[default]
    Auto,
    /// The full thin decomposition, exact to f32's rounding.
    Full,
    /// [`RandomisedSvd`] with its defaults.
    Randomised,
}

impl SvdMethod {
    /// The settings of the randomised decomposition for `count` of `available` triplets; `None`
    /// for the full one.
    pub(crate) fn resolve(self, count: usize, available: usize) -> Option<RandomisedSvd> {
        let settings = RandomisedSvd::default();
        match self {
            Self::Full => None,
            Self::Randomised => Some(settings),
            Self::Auto => (8 * (count + settings.oversampling) <= available).then_some(settings),
        }
    }
}

/// The randomised decomposition: the range of `(W W^T)^q W G` for a Gaussian `G` with
/// `k + oversampling` columns, then the exact decomposition of `W` within that range.
///
/// Source: Halko, Martinsson and Tropp, arXiv 0909.4061, algorithms 4.4 and 5.1, orthonormalised
/// after every product. The error of singular value `i <= k` falls with
/// `(sigma_{k + oversampling + 1} / sigma_i)^(4 q + 2)`: leading triplets of a decaying spectrum
/// are exact to f32's rounding, those of a flat one are a basis that captures almost as much of
/// the matrix (`docs/src/starts.md` has numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomisedSvd {
    /// How many columns `G` has beyond the number of triplets wanted.
    pub oversampling: usize,
    /// `q`, how often the range is multiplied by `W W^T`.
    pub power_iterations: usize,
    /// The seed of `G`. It is no part of a run's seed: a weight has one decomposition.
    pub seed: u64,
}

impl Default for RandomisedSvd {
    fn default() -> Self {
        Self { oversampling: 16, power_iterations: 2, seed: 0 }
    }
}
