use std::cell::OnceCell;
use std::ops::Range;

use burn::tensor::{Bool, DType, Device, Tensor};

use crate::Documents;

/// Added to the scores of keys that must not be seen.
///
/// Finite, so that a row without any visible key has finite weights and not NaN; and such that the
/// sum of two is finite too.
pub const HIDDEN: f64 = -1e30;

/// Keys that follow each other in the order of the queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Causal {
    /// The keys before that of the first query: query `i` stands at key `offset + i`.
    pub offset: usize,
    /// How many keys a query sees at most, its own included.
    pub window: Option<usize>,
}

impl Causal {
    /// The keys that a query sees, of `keys`.
    pub fn visible(&self, query: usize, keys: usize) -> Range<usize> {
        let end = (self.offset + query + 1).min(keys);
        (self.offset + query + 1).saturating_sub(self.window.unwrap_or(usize::MAX)).min(end)..end
    }
}

/// Which keys the queries of an attention see.
#[derive(Debug, Clone, Default)]
pub struct AttentionMask {
    causal: Option<Causal>,
    padding: Option<Tensor<2>>,
    documents: Option<Documents>,
    bias: OnceCell<Option<Tensor<4>>>,
    #[cfg(device_kernels)]
    starts: OnceCell<Tensor<2>>,
    given: bool,
}

impl AttentionMask {
    /// Everything but what `padding` hides, `[B, T]`: added to the scores of each key, 0 or
    /// [`HIDDEN`]; with `causal` only keys up to the own one.
    pub fn new(causal: Option<Causal>, padding: Option<Tensor<2>>) -> Self {
        Self { causal, padding, ..Self::default() }
    }

    /// What `bias` says, `[B or 1, H or 1, S, T]`, which is added to the scores. Attention then
    /// holds the scores of all pairs.
    pub fn from_bias(bias: Option<Tensor<4>>) -> Self {
        Self { bias: OnceCell::from(bias), given: true, ..Self::default() }
    }

    /// No key before the own sequence, where rows hold several: in causal order, keys of the own
    /// sequence only. Queries and keys are the same positions; a mask that is given as a bias stays.
    pub fn within(mut self, documents: Documents) -> Self {
        if !self.given {
            self.documents = Some(documents);
            self.bias = OnceCell::new();
        }
        self
    }

    /// What hides padding; `mask` is `[B, T]`, true for a real token.
    pub fn padding_bias(mask: Tensor<2, Bool>) -> Tensor<2> {
        let zeros = Tensor::zeros(mask.shape(), (&mask.device(), DType::F32));
        zeros.mask_fill(mask.bool_not(), HIDDEN)
    }

    /// The order of keys, what hides padding, and sequences of the rows; `None` for a mask that is
    /// given as a bias.
    pub(crate) fn parts(&self) -> Option<(Option<Causal>, Option<&Tensor<2>>, Option<&Documents>)> {
        (!self.given).then_some((self.causal, self.padding.as_ref(), self.documents.as_ref()))
    }

    /// Where the sequences of the rows start, `[B, S]` on a device, made at the first call; `None` where rows
    /// hold one.
    #[cfg(device_kernels)]
    pub(crate) fn starts(&self, device: &Device) -> Option<Tensor<2>> {
        let documents = self.documents.as_ref()?;
        Some(self.starts.get_or_init(|| documents.starts_on(&device.clone().inner())).clone())
    }

    /// What is added to scores `[B, H, queries, keys]`, in f32, made at the first call; `None` where
    /// everything is seen.
    pub fn bias(&self, queries: usize, keys: usize, device: &Device) -> Option<Tensor<4>> {
        self.bias.get_or_init(|| self.made(queries, keys, device)).clone()
    }

    fn made(&self, queries: usize, keys: usize, device: &Device) -> Option<Tensor<4>> {
        let shape = [queries, keys];
        let hides = |causal: &Causal| {
            let edges = [0, queries.saturating_sub(1)].map(|query| causal.visible(query, keys));
            edges.iter().any(|visible| visible.len() < keys)
        };
        let causal = self.causal.filter(hides).map(|Causal { offset, window }| {
            let offset = offset as i64;
            let ahead = Tensor::<2, Bool>::tril_mask(shape, offset, device);
            let bias = Tensor::<2>::zeros(shape, (device, DType::F32)).mask_fill(ahead, HIDDEN);
            let bias = match window {
                Some(window) => {
                    let behind =
                        Tensor::<2, Bool>::triu_mask(shape, offset + 1 - window as i64, device);
                    bias.mask_fill(behind, HIDDEN)
                }
                None => bias,
            };
            bias.reshape([1, 1, queries, keys])
        });
        let padding = self.padding.clone().map(|padding| padding.unsqueeze_dims::<4>(&[1, 2]));
        let bias = match (causal, padding) {
            (Some(causal), Some(padding)) => Some(causal + padding),
            (causal, padding) => causal.or(padding),
        };
        let Some(documents) = &self.documents else { return bias };
        let bias = bias.unwrap_or_else(|| Tensor::zeros([1, 1, 1, 1], (device, DType::F32)));
        let [rows, ..] = documents.dims();
        let bias = bias.expand([rows, 1, queries, keys]);
        Some(bias.mask_fill(documents.hidden(device), HIDDEN))
    }
}
