use std::sync::Arc;

use burn::tensor::Tensor;

use crate::{InitError, Triplets};

/// What is known of a layer beside its weight: what a calibration pass found out, and what was
/// prepared.
#[derive(Debug, Clone, Default)]
pub struct LayerStatistics {
    /// The gradient of the task's loss with respect to the frozen weight, `[I, O]`.
    pub gradient: Option<Tensor<2>>,
    /// The mean over tokens of `x x^T`, `[I, I]`, the second moment of the layer's inputs.
    pub input_covariance: Option<Tensor<2>>,
    /// The triplets that the start needs of the weight, where
    /// [`decompose_all`](crate::decompose_all) prepared them; else the start finds them itself.
    pub triplets: Option<Arc<Triplets>>,
}

impl LayerStatistics {
    /// The gradient for a weight of `shape`, or the error that `start` cannot do without.
    pub(crate) fn gradient(
        &self,
        start: &'static str,
        shape: [usize; 2],
    ) -> Result<&Tensor<2>, InitError> {
        of_shape(&self.gradient, start, "gradient", shape)
    }

    /// The covariance of inputs of `size`, or the error that `start` cannot do without.
    pub(crate) fn input_covariance(
        &self,
        start: &'static str,
        size: usize,
    ) -> Result<&Tensor<2>, InitError> {
        of_shape(&self.input_covariance, start, "input covariance", [size, size])
    }
}

fn of_shape<'a>(
    given: &'a Option<Tensor<2>>,
    start: &'static str,
    statistics: &'static str,
    expected: [usize; 2],
) -> Result<&'a Tensor<2>, InitError> {
    let tensor = given.as_ref().ok_or(InitError::MissingStatistics { start, statistics })?;
    let found = tensor.dims();
    if found != expected {
        return Err(InitError::StatisticsShape { statistics, expected, found });
    }
    Ok(tensor)
}

/// Which statistics a start needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatisticsNeeded {
    /// [`gradient`](field@LayerStatistics::gradient).
    pub gradient: bool,
    /// [`input_covariance`](field@LayerStatistics::input_covariance).
    pub input_covariance: bool,
}

impl StatisticsNeeded {
    /// Whether a calibration pass is needed at all.
    pub fn any(&self) -> bool {
        self.gradient || self.input_covariance
    }
}
