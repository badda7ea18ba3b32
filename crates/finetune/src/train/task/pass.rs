use std::ops::Range;

use balance_loss::BalanceLoss;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use router::{BatchContext, RoutingTape};

use super::super::{Recompute, TrainError};
use super::PassGradients;

/// What a forward and backward pass of an optimiser step differentiates, and how.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The loss on routings, and its factor.
    pub balance: Option<(&'a dyn BalanceLoss, f64)>,
    /// The factor of the summed loss of the batch's targets.
    pub scale: f64,
    /// What is computed again in the backward pass.
    pub recompute: Recompute,
    /// The tokens of a slice, where the second half of a layer is computed again by slices.
    pub recompute_slice: Option<usize>,
    /// Layers whose gradients are wanted as soon as they are whole, from the last to the first; none
    /// where the end of the pass is soon enough.
    pub cuts: &'a [Range<usize>],
    /// Whether the tape records, whatever the losses need.
    pub record: bool,
    /// The seed of what is random in the pass.
    pub seed: u64,
}

/// What a pass found. Its numbers are on the device, outside of the graph: the host need not wait for
/// them.
#[derive(Debug)]
pub struct PassReport {
    /// The losses of the batch's targets, or of some of them together, `[n]`.
    pub losses: Tensor<1>,
    /// The factor of their sum.
    pub scale: f64,
    /// The loss on routings times its factor, `[1]`; absent without one.
    pub balance_loss: Option<Tensor<1>>,
    /// What was recorded.
    pub tape: RoutingTape,
}

impl Pass<'_> {
    /// The tape of a forward pass, which records where that is needed.
    pub fn tape(&self, context: BatchContext) -> RoutingTape {
        match self.balance.is_some() || self.record {
            true => RoutingTape::recording(context),
            false => RoutingTape::new(context),
        }
    }

    /// The loss on the routings of a tape times its factor, where there is one.
    ///
    /// # Errors
    ///
    /// [`TrainError::Balance`] when it lacks what it needs.
    pub fn balance_loss(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, TrainError> {
        match self.balance {
            Some((balance, factor)) => Ok(balance.loss(tape)?.map(|term| term * factor)),
            None => Ok(None),
        }
    }

    /// Ends a pass whose graph was kept whole: differentiates `objective`, the sum of `losses` times the
    /// factor, together with the loss on the routings of `tape`, and adds the gradients.
    ///
    /// # Errors
    ///
    /// As [`balance_loss`](Self::balance_loss).
    pub fn finish<M: Module>(
        &self,
        model: &M,
        losses: Tensor<1>,
        mut objective: Tensor<1>,
        tape: RoutingTape,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError> {
        let mut balance_loss = None;
        if let Some(term) = self.balance_loss(&tape)? {
            balance_loss = Some(term.clone().inner());
            objective = objective + term;
        }
        let found = GradientsParams::from_grads(objective.backward(), model);
        gradients.add(model, found);
        Ok(PassReport { losses, scale: self.scale, balance_loss, tape })
    }
}
