use burn::tensor::{Bool, Int, Tensor};

/// What routers and balance losses may know of the batch that passes through a model.
#[derive(Debug, Clone)]
pub struct BatchContext {
    /// The number of samples `B`.
    pub batch_size: usize,
    /// The number of positions `S` of each sample, padding included.
    pub seq_len: usize,
    /// `[B, S]`, true for a real token, false for padding; `None` when no position is padding.
    pub token_mask: Option<Tensor<2, Bool>>,
    /// `[B]`, the task type of each sample (LoRAMoE: 1 for world knowledge, 0 for other tasks);
    /// `None` where it is unknown, as at generation.
    pub task_types: Option<Tensor<1, Int>>,
    /// The seed of what is random in a training pass, such as dropout; `None` outside of training,
    /// when nothing is random and no running statistic moves.
    pub training_seed: Option<u64>,
}

impl BatchContext {
    /// A batch of `batch_size` samples of `seq_len` real tokens, outside training.
    pub fn new(batch_size: usize, seq_len: usize) -> Self {
        Self { batch_size, seq_len, token_mask: None, task_types: None, training_seed: None }
    }

    /// Marks padding: `mask` is `[B, S]`, true for a real token.
    pub fn with_token_mask(mut self, mask: Tensor<2, Bool>) -> Self {
        self.token_mask = Some(mask);
        self
    }

    /// Gives each sample its task type, `[B]`.
    pub fn with_task_types(mut self, task_types: Tensor<1, Int>) -> Self {
        self.task_types = Some(task_types);
        self
    }

    /// The context of some of the tokens, `[N]` of `B * S`, as one sample. It has no task type.
    pub fn of_tokens(&self, tokens: Tensor<1, Int>) -> Self {
        let [count] = tokens.dims();
        let mask = |mask: &Tensor<2, Bool>| {
            let flat = mask.clone().int().reshape([self.num_tokens()]);
            flat.select(0, tokens.clone()).equal_elem(1).reshape([1, count])
        };
        Self {
            batch_size: 1,
            seq_len: count,
            token_mask: self.token_mask.as_ref().map(mask),
            task_types: None,
            training_seed: self.training_seed,
        }
    }

    /// Makes the pass part of training; what is random in it follows from `seed`.
    pub fn with_training(mut self, seed: u64) -> Self {
        self.training_seed = Some(seed);
        self
    }

    /// Whether the pass is part of training.
    pub fn is_training(&self) -> bool {
        self.training_seed.is_some()
    }

    /// The number of token positions, `B * S`.
    pub fn num_tokens(&self) -> usize {
        self.batch_size * self.seq_len
    }
}
