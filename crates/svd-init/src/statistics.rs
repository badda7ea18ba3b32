use burn::tensor::Tensor;

/// What a calibration pass found out about a layer.
#[derive(Debug, Clone, Default)]
pub struct LayerStatistics {
    /// The gradient of the task's loss with respect to the frozen weight, `[I, O]`.
    pub gradient: Option<Tensor<2>>,
    /// The mean over tokens of `x x^T`, `[I, I]`, the second moment of the layer's inputs.
    pub input_covariance: Option<Tensor<2>>,
}

/// Which statistics a start needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatisticsNeeded {
    /// [`LayerStatistics::gradient`].
    pub gradient: bool,
    /// [`LayerStatistics::input_covariance`].
    pub input_covariance: bool,
}

impl StatisticsNeeded {
    /// Whether a calibration pass is needed at all.
    pub fn any(&self) -> bool {
        self.gradient || self.input_covariance
    }
}
