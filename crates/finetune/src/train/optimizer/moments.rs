use burn::tensor::Tensor;

/// What is known of a parameter that has made steps.
#[derive(Clone)]
pub(super) struct Moments<const D: usize> {
    /// How many.
    pub(super) time: usize,
    /// The momentum; of Adafactor the second moment, of a matrix that of its rows.
    pub(super) first: Option<Tensor<D>>,
    /// The second moment; of Adafactor that of a matrix's columns.
    pub(super) second: Option<Tensor<D>>,
    /// The average of its values, where one is taken.
    pub(super) average: Option<Tensor<D>>,
}

impl<const D: usize> Moments<D> {
    /// After `time` steps, with the moments that there are.
    pub(super) fn new(
        time: usize,
        first: impl Into<Option<Tensor<D>>>,
        second: impl Into<Option<Tensor<D>>>,
    ) -> Self {
        Self { time, first: first.into(), second: second.into(), average: None }
    }

    /// Moves the average towards the value after a step: `d average + (1 - d) value` with
    /// `d = min(decay, (1 + t) / (10 + t))` after step `t`, so that it does not hang on the value
    /// that it starts from, that `before` the first step.
    pub(super) fn average(
        &mut self,
        earlier: Option<Tensor<D>>,
        before: Tensor<D>,
        value: Tensor<D>,
        decay: f64,
    ) {
        let time = self.time as f64;
        let decay = decay.min((1.0 + time) / (10.0 + time));
        self.average = Some(earlier.unwrap_or(before) * decay + value * (1.0 - decay));
    }
}
