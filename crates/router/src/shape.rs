/// The sizes of the layer that a router is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterShape {
    /// The size of a token's activation, `I`.
    pub hidden_size: usize,
    /// The number of experts that the router chooses from, identity experts included, `E`.
    pub num_experts: usize,
    /// How many of them, the first ones, are identity experts, which leave the base model's output
    /// as it is.
    pub identity_experts: usize,
}

impl RouterShape {
    /// The sizes of a layer without identity experts.
    pub fn new(hidden_size: usize, num_experts: usize) -> Self {
        Self { hidden_size, num_experts, identity_experts: 0 }
    }

    /// Makes the first `identity_experts` of the experts identity experts.
    pub fn with_identity_experts(mut self, identity_experts: usize) -> Self {
        self.identity_experts = identity_experts;
        self
    }
}
