/// The filter of a change of size; `resample` in `preprocessor_config.json`, with Pillow's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// `1 - |x|` up to 1: `2`.
    Bilinear,
    /// The cubic of Keys with `a = -0.5` up to 2, also called Catmull-Rom: `3`.
    Bicubic,
}

impl Resample {
    /// Where the filter ends.
    pub(super) fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    pub(super) fn weight(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Self::Bilinear => (1.0 - x).max(0.0),
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0,
            Self::Bicubic => 0.0,
        }
    }
}
