use burn::tensor::Tensor;

pub use crate::ops::ExpertDropout;
use crate::{dropout_linear, linear};

/// Up to so many multiplications one kernel, which reads its factors as they lie, is taken for several
/// tiled products: at 4 TFLOP/s, a sixteenth of what an H100 does in f32, it takes 34 microseconds, as
/// two launches do. Derived, not measured.
#[cfg(device_kernels)]
pub(crate) const FEW_PRODUCTS: usize = 1 << 26;

/// Factors of low-rank experts, and what is dropped of what they read.
#[derive(Debug, Clone)]
pub struct DownPart {
    /// `A`, `[E, r, I]`.
    pub a: Tensor<3>,
    /// The dropout of their input.
    pub dropout: Option<ExpertDropout>,
}

impl DownPart {
    /// A matrix `[O, I]`, of which nothing is dropped.
    pub fn matrix(weight: Tensor<2>) -> Self {
        Self { a: weight.unsqueeze_dim(0), dropout: None }
    }
}

/// What low-rank experts make of their inputs, `h_e = drop(x) A_e^T`: `[T, I]`, `[E, r, I]` to `[T, E r]`.
///
/// With `g` for the gradient of the result, those of `x` and `A` are `drop(g A)` and `g^T drop(x)`.
pub fn down_experts(x: Tensor<2>, a: Tensor<3>, dropout: Option<ExpertDropout>) -> Tensor<2> {
    let part = DownPart { a, dropout };
    #[cfg(device_kernels)]
    if let Some(made) =
        made_on_device(&x, std::slice::from_ref(&part)).and_then(|mut made| made.pop())
    {
        return made;
    }
    down_experts_composed(x, part.a, part.dropout)
}

/// [`down_experts`] composed of other operations.
pub fn down_experts_composed(
    x: Tensor<2>,
    a: Tensor<3>,
    dropout: Option<ExpertDropout>,
) -> Tensor<2> {
    let [experts, rank, in_features] = a.dims();
    match dropout {
        None => linear(x, a.reshape([experts * rank, in_features]).transpose(), None),
        Some(ExpertDropout { p, seed, experts: None }) => {
            dropout_linear(x, a.reshape([experts * rank, in_features]), p, seed)
        }
        Some(ExpertDropout { p, seed, experts: Some(_) }) => {
            let parts = (0..experts).map(|e| {
                let a = a.clone().narrow(0, e, 1).reshape([rank, in_features]);
                dropout_linear(x.clone(), a, p, seed.wrapping_add(e as u64))
            });
            Tensor::cat(parts.collect(), 1)
        }
    }
}

/// [`down_experts`] of several factors that read the same. On GPUs, where they are small, all are one kernel and
/// their gradients two.
pub fn down_together(x: Tensor<2>, parts: Vec<DownPart>) -> Vec<Tensor<2>> {
    #[cfg(device_kernels)]
    if let Some(made) = made_on_device(&x, &parts) {
        return made;
    }
    parts.into_iter().map(|part| down_experts_composed(x.clone(), part.a, part.dropout)).collect()
}

/// As one kernel, or as few as their number allows, where that is for these.
#[cfg(device_kernels)]
fn made_on_device(x: &Tensor<2>, parts: &[DownPart]) -> Option<Vec<Tensor<2>>> {
    let [tokens, inputs] = x.dims();
    let dropout = parts.iter().find_map(|part| part.dropout);
    let fits = |DownPart { a, dropout: own }: &DownPart| {
        let [experts, rank, of_a] = a.dims();
        let products = tokens.saturating_mul(inputs).saturating_mul(experts * rank);
        let masks = own.and_then(|dropout| dropout.experts).unwrap_or(experts);
        inputs == of_a
            && (1..=FEW_PRODUCTS).contains(&products)
            && masks == experts
            && own.is_none_or(|own| dropout.is_some_and(|dropout| own.p == dropout.p))
            && crate::runs_device_kernels(a)
    };
    if !(crate::runs_device_kernels(x) && parts.iter().all(fits)) {
        return None;
    }
    let mut made = Vec::with_capacity(parts.len());
    for some in parts.chunks(crate::cube::TOGETHER) {
        let (factors, rows): (Vec<_>, Vec<_>) = some
            .iter()
            .map(|DownPart { a, dropout }| {
                let [experts, rank, _] = a.dims();
                let rows = crate::cube::Rows { rank, dropout: *dropout };
                (a.clone().reshape([experts * rank, inputs]), rows)
            })
            .unzip();
        made.extend(crate::cube::down(x, &factors, &rows)?);
    }
    Some(made)
}
