//! Operations of several results, of which Burn's autodiff knows none: one node stands for all results, and
//! each result is a node above it that leaves its gradient in a common place.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

pub(super) type Tracked = Autodiff<CubeBackend>;

/// The gradients of the results of one operation, of those that had any.
#[derive(Debug, Clone)]
pub(super) struct Outputs(Arc<Mutex<Vec<Option<CubeTensor>>>>);

impl Outputs {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Mutex::new(vec![None; count])))
    }

    /// Takes what was left, from the backward pass of the node that stands for all.
    pub(super) fn take(&self) -> Vec<Option<CubeTensor>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().map(Option::take).collect()
    }

    /// Leaves a gradient; whether it is the first.
    fn leave(&self, at: usize, grad: CubeTensor) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = all.iter().all(Option::is_none);
        all[at] = Some(grad);
        first
    }

    /// The result at a place, above the node that stands for all.
    pub(super) fn result(
        &self,
        at: usize,
        all: &FloatTensor<Tracked>,
        value: CubeTensor,
    ) -> FloatTensor<Tracked> {
        match Result.prepare::<NoCheckpointing>([all.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((self.clone(), at), value),
            OpsKind::UnTracked(_) => Tracked::from_inner(value),
        }
    }
}

#[derive(Debug)]
struct Result;

impl Backward<CubeBackend, 1> for Result {
    type State = (Outputs, usize);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<CubeBackend>(&ops.node);
        let (outputs, at) = ops.state;
        let [all] = ops.parents;
        // That there is a gradient is all that its node is told by one.
        if let Some(all) = all
            && outputs.leave(at, grad.clone())
        {
            grads.register::<CubeBackend>(all.id, grad);
        }
    }
}
