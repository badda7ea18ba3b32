use thiserror::Error;

/// A bank of experts that cannot work.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum ExpertError {
    /// A dropout probability outside [0, 1).
    #[error("experts: `lora_dropout` is {value}, but must be at least 0 and below 1")]
    Dropout {
        /// The value given.
        value: f64,
    },
    /// A scaling that is not a number.
    #[error("experts: the scaling is {value}, but must be a finite number")]
    Scaling {
        /// The value given.
        value: f64,
    },
    /// The two factors are not of one bank.
    #[error(
        "experts: lora_A is {a:?} and lora_B is {b:?}, but they must be [experts, r, in] and \
         [experts, out, r] with no size 0"
    )]
    Shapes {
        /// The shape of A.
        a: [usize; 3],
        /// The shape of B.
        b: [usize; 3],
    },
}
