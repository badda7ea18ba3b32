/// The experts in the feed-forward layers of a base model that is itself a mixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparseConfig {
    /// The number of experts of a layer.
    pub num_experts: usize,
    /// How many of them compute a token.
    pub num_experts_per_tok: usize,
    /// The inner size of an expert.
    pub moe_intermediate_size: usize,
    /// Whether the weights of the experts of a token are divided by their sum.
    pub norm_topk_prob: bool,
    /// The layers without experts, ascending.
    pub dense_layers: Vec<usize>,
}
