use serde::{Deserialize, Serialize};

use crate::digest::xxh64;
use crate::{InitError, RandomisedSvd, SvdMethod};

/// Grows whenever the same plan gives other numbers.
const VERSION: u64 = 1;

/// Which triplets of a weight's singular value decomposition a start needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TripletPlan {
    /// Their positions, 0 for the largest singular value.
    indices: Vec<usize>,
    /// The settings of the randomised decomposition; absent for the full one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    randomised: Option<RandomisedSvd>,
}

impl TripletPlan {
    /// The triplets at `indices`, of the full decomposition.
    pub fn full(indices: Vec<usize>) -> Self {
        Self { indices, randomised: None }
    }

    /// The `count` leading triplets of a weight that has `available`.
    pub fn leading(count: usize, available: usize, method: SvdMethod) -> Self {
        let randomised = method.resolve(count, available);
        Self { indices: (0..count).collect(), randomised }
    }

    /// The `count` leading triplets, by the randomised decomposition.
    pub fn randomised(count: usize, settings: RandomisedSvd) -> Self {
        Self { indices: (0..count).collect(), randomised: Some(settings) }
    }

    /// The positions of the triplets.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// The settings of the randomised decomposition; `None` for the full one.
    pub fn randomised_settings(&self) -> Option<&RandomisedSvd> {
        self.randomised.as_ref()
    }

    /// An error where a weight with `available` triplets lacks one.
    pub(crate) fn check(&self, available: usize) -> Result<(), InitError> {
        match self.indices.iter().find(|index| **index >= available) {
            Some(index) => Err(InitError::NoSuchTriplet { index: *index, available }),
            None => Ok(()),
        }
    }

    /// A digest that tells plans apart, and files of [`VERSION`] from those of others.
    pub(crate) fn digest(&self) -> u64 {
        let method = match &self.randomised {
            None => [0; 4],
            Some(RandomisedSvd { oversampling, power_iterations, seed }) => {
                [1, *oversampling as u64, *power_iterations as u64, *seed]
            }
        };
        let numbers = method.into_iter().chain(self.indices.iter().map(|index| *index as u64));
        xxh64(&numbers.flat_map(u64::to_le_bytes).collect::<Vec<_>>(), VERSION)
    }
}
