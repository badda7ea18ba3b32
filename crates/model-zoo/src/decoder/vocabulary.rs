use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{DType, Tensor};
use fused_ops::matmul;
use moe_adapter::{AdapterState, Projection};

use super::Decoder;
use crate::parameters::{RandomParameters, part};

pub(super) const EMBEDDINGS: &str = "model.embed_tokens";
pub(super) const HEAD: &str = "lm_head";

/// The part of the covariance that rows of new tokens differ by, as in transformers.
const SPREAD: f64 = 1e-9;

impl<P: Projection> Decoder<P> {
    /// Gives a head that reuses the embedding's weights a copy of them of its own; nothing where it
    /// has its own already.
    pub fn untie_head(&mut self) {
        if self.lm_head.is_none() {
            let embeddings = &self.model.embed_tokens.weight;
            let rows = embeddings.val().dims()[0];
            let copy = part(embeddings, 0, 0, rows).val().transpose();
            let (device, dtype) = (copy.device(), copy.dtype());
            // Through the host, so that the transposed matrix is contiguous.
            let copy = Tensor::<2>::from_data(copy.into_data(), (&device, dtype));
            let weight = Param::from_tensor(copy).set_require_grad(embeddings.is_require_grad());
            self.lm_head = Some(Linear { weight, bias: None });
            self.config.tie_word_embeddings = false;
        }
    }

    /// Makes room for more tokens: rows of the embedding, and of a head with weights of its own, are
    /// added up to `vocab_size`; nothing where there are so many already.
    ///
    /// As with transformers' `resize_token_embeddings`, new rows are drawn around the mean of the
    /// old ones, `N(mean, 1e-9 Σ)` with their covariance `Σ`: a new token is as probable as the
    /// average one. The draws follow from the seed.
    ///
    /// Source: Hewitt, Initializing new word embeddings for pretrained language models, 2021.
    pub fn resize_embeddings(&mut self, vocab_size: usize, seed: u64) {
        let old = self.config.vocab_size;
        if vocab_size <= old {
            return;
        }
        let device = self.model.embed_tokens.weight.lazy_device();
        let mut random = RandomParameters::new(seed, 1.0, &device);
        let mut grown = |rows: Tensor<2>| {
            let like = (rows.dtype(), rows.clone());
            let new = new_rows(rows.cast(DType::F32), vocab_size - old, &mut random);
            Tensor::cat(vec![like.1, new.cast(like.0)], 0)
        };
        let embeddings = self.model.embed_tokens.weight.clone();
        self.model.embed_tokens.weight = changed(embeddings, &mut grown);
        if let Some(head) = &mut self.lm_head {
            // Its rows are columns in memory.
            let columns = |weight: Tensor<2>| {
                let rows = grown(weight.transpose()).transpose();
                let (device, dtype) = (rows.device(), rows.dtype());
                Tensor::from_data(rows.into_data(), (&device, dtype))
            };
            head.weight = changed(head.weight.clone(), columns);
        }
        self.config.vocab_size = vocab_size;
    }

    pub(super) fn tied(&self) -> Vec<(&'static str, &'static str)> {
        match self.lm_head {
            Some(_) => Vec::new(),
            None => vec![(HEAD, EMBEDDINGS)],
        }
    }

    pub(super) fn fit_vocabulary(&mut self, state: &AdapterState) {
        let rows = |module: &str| {
            let shape = state.get(&format!("{module}.weight"))?.shape();
            shape.first().copied()
        };
        if rows(HEAD).is_some() {
            self.untie_head();
        }
        let wanted = rows(EMBEDDINGS).max(rows(HEAD)).unwrap_or(0);
        self.resize_embeddings(wanted, 0);
    }
}

/// A parameter with another value, which trains or not as it did.
fn changed(
    param: Param<Tensor<2>>,
    change: impl FnOnce(Tensor<2>) -> Tensor<2>,
) -> Param<Tensor<2>> {
    let trains = param.is_require_grad();
    let value = change(param.val().detach());
    Param::from_tensor(value).set_require_grad(trains)
}

/// Rows around the mean of `rows`, `[V, H]`, with `1e-9` of their covariance: a product of normal
/// numbers with the centred rows has just that.
fn new_rows(rows: Tensor<2>, count: usize, random: &mut RandomParameters<'_>) -> Tensor<2> {
    let [old, _] = rows.dims();
    let mean = rows.clone().mean_dim(0);
    let centred = rows - mean.clone();
    let scale = (SPREAD / old as f64).sqrt();
    let normal = random.matrix(count, old).val().detach();
    mean + matmul(normal, centred) * scale
}
