use thiserror::Error;

/// A router's configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum RouterError {
    /// A size that must not be 0.
    #[error("router: `{field}` is 0, but must be at least 1")]
    Zero {
        /// The field at fault.
        field: &'static str,
    },
    /// A count that does not fit.
    #[error("router: `{field}` is {value}, but must be {allowed}")]
    Count {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        value: usize,
        /// What is allowed.
        allowed: String,
    },
    /// A number out of range.
    #[error("router: `{field}` is {value}, but must be {allowed}")]
    Number {
        /// The field at fault.
        field: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A field without another one that it is about.
    #[error("router: `{field}` is set, and needs {needs}")]
    Needs {
        /// The field at fault.
        field: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// A router of whole models where each linear, or each block, has one.
    #[error(
        "router: \"x_lora\" decides for a whole model from a first pass, and is no router of one \
         linear or block; set `router_scope` to \"model\""
    )]
    WholeModel,
}

/// Checks that a size is at least 1.
pub(crate) fn at_least_one(field: &'static str, value: usize) -> Result<(), RouterError> {
    if value == 0 { Err(RouterError::Zero { field }) } else { Ok(()) }
}

/// Checks that a number of experts is at least 1 and at most `num_experts`.
pub(crate) fn number_of_experts(
    field: &'static str,
    value: usize,
    num_experts: usize,
) -> Result<(), RouterError> {
    at_least_one(field, value)?;
    if value > num_experts {
        let allowed = format!("at most the number of experts, {num_experts}");
        return Err(RouterError::Count { field, value, allowed });
    }
    Ok(())
}

/// Checks that a number is finite and `ok`.
pub(crate) fn number(
    field: &'static str,
    value: f64,
    ok: impl FnOnce(f64) -> bool,
    allowed: &'static str,
) -> Result<(), RouterError> {
    if value.is_finite() && ok(value) {
        Ok(())
    } else {
        Err(RouterError::Number { field, value, allowed })
    }
}
