use burn::tensor::Tensor;

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// `value` with probability `1 - p`, 0 otherwise.
    Kept {
        /// The probability of 0, `0 <= p < 1`.
        p: f64,
        /// What others are.
        value: f64,
    },
    /// Numbers of `U[low, high)`.
    Uniform {
        /// The smallest.
        low: f64,
        /// Above the largest.
        high: f64,
    },
    /// Numbers of `N(0, std^2)`.
    Normal {
        /// The standard deviation.
        std: f64,
    },
}

/// Random numbers that a GPU makes itself, in one launch and without a byte from the host, where there are kernels
/// for tensors like `like`: each a function of the seed and its place. `None` elsewhere: then the host draws. They
/// are constants, with autodiff where `like` has it.
pub fn draw<const D: usize, const E: usize>(
    shape: [usize; D],
    draw: Draw,
    seed: u64,
    like: &Tensor<E>,
) -> Option<Tensor<D>> {
    #[cfg(device_kernels)]
    return crate::cube::draw(shape, draw, seed, like);
    #[cfg(not(device_kernels))]
    {
        let _ = (shape, draw, seed, like);
        None
    }
}
