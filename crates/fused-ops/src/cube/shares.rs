use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{AutodiffBackend, TensorMetadata};
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{each, like};
use super::outputs::{Outputs, Tracked};
use super::{kernel, plain, rows, tensor};
use crate::TopKShares;

/// Its parent are the scores.
#[derive(Debug)]
struct Shares;

impl Backward<CubeBackend, 1> for Shares {
    type State = (CubeTensor, CubeTensor, Outputs);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        grads.consume::<CubeBackend>(&ops.node);
        let (softmax, mask, outputs) = ops.state;
        let mut found = outputs.take().into_iter();
        let [of_softmax, of_shares] = [found.next().flatten(), found.next().flatten()];
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            let grad = backward(softmax, mask, of_softmax, of_shares);
            grads.register::<CubeBackend>(parent.id, grad);
        }
    }
}

/// What rows of scores come to; `None` where they are no tensor of this kind.
pub(crate) fn top_k_shares(scores: &Tensor<2>, k: usize) -> Option<TopKShares> {
    if !scores.is_autodiff() {
        let [probabilities, mask, weights] = forward(plain(scores)?, k).map(tensor);
        return Some(TopKShares { probabilities, mask, weights });
    }
    let scores = scores.clone().try_into_primitive::<Tracked>().ok()?;
    let value = scores.primitive().clone();
    if value.dtype != DType::F32 || value.shape().num_elements() == 0 {
        return None;
    }
    let [softmax, mask, shares] = forward(into_contiguous(value), k);
    let results =
        match Shares.prepare::<NoCheckpointing>([scores.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let outputs = Outputs::new(2);
                let kept = (softmax.clone(), mask.clone(), outputs.clone());
                let all = prep.finish(kept, softmax.clone());
                [outputs.result(0, &all, softmax), outputs.result(1, &all, shares)]
            }
            OpsKind::UnTracked(_) => [softmax, shares].map(Tracked::from_inner),
        };
    let [probabilities, weights] = results.map(Tensor::from_primitive::<Tracked>);
    let mask = Tensor::from_primitive::<Tracked>(Tracked::from_inner(mask));
    Some(TopKShares { probabilities, mask, weights })
}

/// The softmax, the mask and the shares.
fn forward(scores: CubeTensor, k: usize) -> [CubeTensor; 3] {
    let (count, experts) = rows(&scores);
    let out = [like(&scores), like(&scores), like(&scores)];
    let (cubes, dim) = each(&scores, count);
    let client = scores.client.clone();
    let [softmax, mask, shares] = out.clone().map(CubeTensor::into_tensor_arg);
    let scores = scores.into_tensor_arg();
    kernel::top_k_shares::launch(
        &client, cubes, dim, scores, softmax, mask, shares, k as u32, count, experts,
    );
    out
}

fn backward(
    softmax: CubeTensor,
    mask: CubeTensor,
    of_softmax: Option<CubeTensor>,
    of_shares: Option<CubeTensor>,
) -> CubeTensor {
    let out = like(&softmax);
    let (count, experts) = rows(&softmax);
    let (cubes, dim) = each(&softmax, count);
    let client = softmax.client.clone();
    let given = [of_softmax.is_some(), of_shares.is_some()];
    // A gradient that there is none of is not read.
    let [of_softmax, of_shares] = [of_softmax, of_shares]
        .map(|grad| grad.map_or_else(|| mask.clone(), into_contiguous).into_tensor_arg());
    kernel::top_k_shares_backward::launch(
        &client,
        cubes,
        dim,
        softmax.into_tensor_arg(),
        mask.into_tensor_arg(),
        of_softmax,
        of_shares,
        out.clone().into_tensor_arg(),
        count,
        experts,
        given[0],
        given[1],
    );
    out
}
