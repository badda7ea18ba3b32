use burn::tensor::TensorData;

/// What was lost by rounding weights to a smaller element type.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rounding {
    /// The sum of the squares of what was lost.
    lost: f64,
    /// The sum of the squares of all that was rounded.
    all: f64,
}

impl Rounding {
    /// Takes in elements and what they were rounded to.
    pub(super) fn add(&mut self, exact: &TensorData, rounded: &TensorData) {
        for (x, y) in exact.iter::<f32>().zip(rounded.iter::<f32>()) {
            let (x, lost) = (f64::from(x), f64::from(x) - f64::from(y));
            self.lost += lost * lost;
            self.all += x * x;
        }
    }

    /// `|w - rounded| / |w|` over all weights that were rounded; 0 where none was. About 1.7e-3 for
    /// bf16 and 2e-4 for f16.
    pub fn relative_error(&self) -> f64 {
        if self.all == 0.0 { 0.0 } else { (self.lost / self.all).sqrt() }
    }
}
