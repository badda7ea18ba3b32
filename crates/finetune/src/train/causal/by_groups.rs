use std::ops::Range;

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use data::DeviceBatch;
use model_zoo::{CausalLm, TokenInput};
use router::{BatchContext, Decided, DecidedGradients};

use super::CausalTask;
use crate::train::{Pass, PassReport, TrainError};

impl CausalTask {
    /// Keeps what enters each group of layers, and the graph of one group at a time.
    ///
    /// The first run of a group is that of a copy without gradients, whose running statistics are
    /// its own; so the second one finds them as the first did, and moves them once. What is random
    /// follows from the seed of the pass and the place in the model, and is the same in both.
    ///
    /// Where a router decides for the whole model, its first pass has no graph either; what it decided
    /// is a leaf of every group, and the sum of what they give to it is differentiated in the end.
    pub(super) fn by_groups<M: CausalLm>(
        &self,
        model: &M,
        batch: &DeviceBatch,
        (input, context, group): (&TokenInput, BatchContext, usize),
        pass: &Pass<'_>,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Result<PassReport, TrainError> {
        let layers = model.num_layers();
        let groups: Vec<Range<usize>> =
            (0..layers).step_by(group).map(|first| first..(first + group).min(layers)).collect();
        let mut tape = pass.tape(context);
        let (embedded, of_layers) = model.begin(input, None);

        let embedded_device = embedded.clone().inner().device();

        // What enters each group, and how much was recorded before it.
        let mut entries: Vec<(Tensor<3>, usize)> = Vec::with_capacity(groups.len());
        let plain = model.valid();
        let mut x = embedded.clone().inner();
        let (_, plain_of_layers) = plain.begin(input, None);
        let decided = model.model_router().map(|router| {
            let mut first = tape.first_pass(router.first_pass());
            let h = plain.layers(0..layers, x.clone(), &plain_of_layers, None, &mut first);
            router.decide(Tensor::from_inner(plain.finish(h)), tape.context())
        });
        let leaves_of_decided = decided.as_ref().map(Decided::leaves);
        if let Some(decided) = &decided {
            tape.decide(decided.inner());
        }
        let mut of_decided: Option<DecidedGradients> = None;
        for range in &groups[..groups.len() - 1] {
            entries.push((x.clone(), tape.records().len()));
            x = plain.layers(range.clone(), x, &plain_of_layers, None, &mut tape);
        }
        entries.push((x, tape.records().len()));
        drop(plain);

        // The last group is differentiated as it is run, from the losses.
        let mut found: Option<(Tensor<1>, Option<Tensor<1>>)> = None;
        let mut balance_gradients = None;
        let mut output_gradient: Option<Tensor<3>> = None;
        for (range, (entry, recorded)) in groups.into_iter().zip(entries).rev() {
            let x = Tensor::from_inner(entry).require_grad();
            let mut again = tape.blank();
            if let Some(leaves) = &leaves_of_decided {
                again.decide(leaves.clone());
            }
            let y = model.layers(range, x.clone(), &of_layers, None, &mut again);
            let mut objective = match output_gradient.take() {
                Some(gradient) => (y * Tensor::from_inner(gradient)).sum(),
                None => {
                    let (losses, objective) =
                        self.losses(model, model.finish(y), batch, pass.scale);
                    tape.append(&again);
                    let leaves = tape.leaves();
                    let mut balance_loss = None;
                    if let Some(term) = pass.balance_loss(&leaves)? {
                        balance_loss = Some(term.clone().inner());
                        balance_gradients = Some(leaves.gradients(&term.backward()));
                    }
                    found = Some((losses, balance_loss));
                    objective
                }
            };
            if let Some(known) = &balance_gradients
                && let Some(term) = known.objective(again.records(), recorded)
            {
                objective = objective + term;
            }
            let grads = objective.backward();
            output_gradient = x.grad(&grads);
            if let Some(leaves) = &leaves_of_decided {
                let found = leaves.gradients(&grads);
                match &mut of_decided {
                    Some(sum) => sum.add(found),
                    None => of_decided = Some(found),
                }
            }
            gradients.accumulate(model, GradientsParams::from_grads(grads, model));
        }
        if let (Some(decided), Some(sum)) = (&decided, of_decided)
            && let Some(objective) = sum.objective(decided)
        {
            let found = GradientsParams::from_grads(objective.backward(), model);
            gradients.accumulate(model, found);
        }
        // Embeddings may be trained; where they are not, there is no graph below them.
        if let Some(gradient) = output_gradient {
            let tracked = Tensor::<1>::zeros([1], &embedded.device()).require_grad();
            let objective = (embedded * Tensor::from_inner(gradient)).sum() + tracked;
            let found = GradientsParams::from_grads(objective.backward(), model);
            gradients.accumulate(model, found);
        }
        let none = || Tensor::full([1], f32::NAN, &embedded_device);
        let (losses, balance_loss) = found.unwrap_or_else(|| (none(), None));
        Ok(PassReport { losses, scale: pass.scale, balance_loss, tape })
    }
}
