use thiserror::Error;

/// A router's configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RouterError {
    /// There is nothing to route to, or nothing to route.
    #[error("router: `{field}` is 0, but must be at least 1")]
    Zero {
        /// The field at fault.
        field: &'static str,
    },
    /// The softmax would not be defined.
    #[error("router: `temperature` is {value}, but must be a finite number above 0")]
    Temperature {
        /// The value given.
        value: f64,
    },
}
