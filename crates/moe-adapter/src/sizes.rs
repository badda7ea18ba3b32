/// The sizes of the experts of one layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerSizes {
    /// The trained experts that a router chooses from.
    pub num_experts: usize,
    /// The identity experts that a router chooses from besides.
    pub identity_experts: usize,
    /// The experts that every token uses.
    pub shared_experts: usize,
    /// The rank of each expert.
    pub rank: usize,
    /// The key `r`, before it is split over experts.
    pub total_rank: usize,
    /// The key `lora_alpha`.
    pub lora_alpha: f64,
    /// Whether there is a router to choose between the experts, where there are several.
    pub routes: bool,
    /// The router's `k`, where it differs by layer.
    pub top_k: Option<usize>,
}

impl LayerSizes {
    /// The experts that a router chooses from, identity experts included.
    pub fn routed_experts(&self) -> usize {
        self.num_experts + self.identity_experts
    }
}
