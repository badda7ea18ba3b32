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
        "experts: lora_A is {a:?} and lora_B is {b:?}, but they must be [experts, r, in] (or \
         [1, r, in] where A is shared) and [experts, out, r] with no size 0"
    )]
    Shapes {
        /// The shape of A.
        a: [usize; 3],
        /// The shape of B.
        b: [usize; 3],
    },
    /// Factors of single experts that do not stack.
    #[error(
        "experts: the factors of expert {expert} are A {a:?} and B {b:?}, but they must be \
         [r, in] and [out, r] with the `in` and `out` of expert 0 and no size 0"
    )]
    Stack {
        /// Which expert.
        expert: usize,
        /// The shape of its A.
        a: [usize; 2],
        /// The shape of its B.
        b: [usize; 2],
    },
    /// There is nothing to stack, or to make.
    #[error("experts: `{field}` is 0, but must be at least 1")]
    Zero {
        /// The field at fault.
        field: &'static str,
    },
    /// Not one finite factor for each expert.
    #[error(
        "experts: `expert_scaling` is {found:?}, but must be {experts} finite numbers, one for \
         each expert"
    )]
    ExpertScaling {
        /// The number of experts.
        experts: usize,
        /// The values given.
        found: Vec<f64>,
    },
    /// A share of masked elements outside [0, 1).
    #[error("experts: `merging.rate` is {value}, but must be at least 0 and below 1")]
    MergingRate {
        /// The value given.
        value: f64,
    },
    /// Masks that are not of the factors' sizes.
    #[error("experts: the masks of B and A are {found:?}, but must be {expected:?}")]
    Masks {
        /// The number of experts, and the outputs or inputs.
        expected: [[usize; 2]; 2],
        /// What was given.
        found: [[usize; 2]; 2],
    },
    /// An identity expert that passes its input on needs outputs of the same size.
    #[error(
        "experts: `identity_mode` is \"pass_through\", but the layer has {in_features} inputs and \
         {out_features} outputs; use \"zero\", or adapt only square layers"
    )]
    PassThrough {
        /// `I`.
        in_features: usize,
        /// `O`.
        out_features: usize,
    },
    /// Experts whose first product is one for all cannot have masks of their own.
    #[error("experts: `dropout_mask` is \"per_expert\", but {kind} experts share one; use \"shared\"")]
    DropoutMask {
        /// The kind of experts.
        kind: &'static str,
    },
    /// No expert would be trained, or not as many as there are factors for.
    #[error(
        "experts: {num_experts} experts, of them {identity_experts} identity experts, with \
         {shared_experts} shared experts beside them need factors of {} experts, at least one of \
         them routed, but there are {found}",
        (num_experts + shared_experts).saturating_sub(*identity_experts)
    )]
    Slots {
        /// What a router chooses from.
        num_experts: usize,
        /// How many of these are identity experts.
        identity_experts: usize,
        /// How many experts always count.
        shared_experts: usize,
        /// How many experts there are factors of.
        found: usize,
    },
    /// Low-rank experts without factors to start from.
    #[error("experts: {kind} experts need the factors of a start, but there are none")]
    NoFactors {
        /// The kind of experts.
        kind: &'static str,
    },
    /// The frozen weight is not of the factors' layer.
    #[error("experts: the frozen weight [in, out] is {found:?}, but the factors are for {expected:?}")]
    WeightShape {
        /// What the factors are for.
        expected: [usize; 2],
        /// What was given.
        found: [usize; 2],
    },
}
