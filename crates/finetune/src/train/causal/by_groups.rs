use std::ops::Range;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use data::DeviceBatch;
use fused_ops::with_gradient;
use model_zoo::{CausalLm, TokenInput};
use router::{BatchContext, Decided, DecidedGradients, RoutingTape};

use super::CausalTask;
use crate::train::{Pass, PassGradients, PassReport, Recompute, TrainError};

/// A group of layers between the forward pass and the backward pass.
struct Group {
    layers: Range<usize>,
    /// What enters it.
    x: Tensor<3>,
    /// How much was recorded before it.
    recorded: usize,
    /// With its graph, what leaves it and what it recorded.
    graph: Option<(Tensor<3>, RoutingTape)>,
}

impl CausalTask {
    /// Differentiates one group of layers after the other, from the last to the first. Between two groups the
    /// graph is cut, so that the gradients of one are whole when those of the group before are begun.
    ///
    /// Where activations are computed again, only what enters each group is kept, and the graph of one
    /// group at a time. The first run of a group is then that of a copy without gradients, whose running
    /// statistics are its own; so the second one finds them as the first did, and moves them once. What is
    /// random follows from the seed of the pass and the place in the model, and is the same in both.
    ///
    /// Where a router decides for the whole model, its first pass has no graph either; what it decided
    /// is a leaf of every group, and the sum of what they give to it is differentiated in the end.
    pub(super) fn by_groups<M: CausalLm>(
        &self,
        model: &M,
        batch: &DeviceBatch,
        (input, context, mut ranges): (&TokenInput, BatchContext, Vec<Range<usize>>),
        pass: &Pass<'_>,
        gradients: &mut PassGradients<'_>,
    ) -> Result<PassReport, TrainError> {
        let again = pass.recompute != Recompute::None;
        let mut tape = pass.tape(context);
        let (embedded, of_layers) = model.begin(input, None);
        let embedded_device = embedded.clone().inner().device();

        let plain = model.valid();
        let mut x = embedded.clone().inner();
        let (_, plain_of_layers) = plain.begin(input, None);
        let decided = model.model_router().map(|router| {
            let mut first = tape.first_pass(router.first_pass());
            let all = 0..model.num_layers();
            let h = plain.layers(all, x.clone(), &plain_of_layers, None, &mut first);
            router.decide(Tensor::from_inner(plain.finish(h)), tape.context())
        });
        let leaves_of_decided = decided.as_ref().map(Decided::leaves);
        if let Some(decided) = &decided {
            tape.decide(decided.inner());
        }
        // A group with its graph: what entered it as a leaf, what leaves it, and what it recorded.
        let with_graph = |layers: Range<usize>, x: Tensor<3>, tape: &RoutingTape| {
            let x = Tensor::from_inner(x).require_grad();
            let mut own = tape.blank();
            if let Some(leaves) = &leaves_of_decided {
                own.decide(leaves.clone());
            }
            let y = model.layers(layers, x.clone(), &of_layers, None, &mut own);
            (x, y, own)
        };

        let last = ranges.pop();
        let mut groups = Vec::with_capacity(ranges.len() + 1);
        for layers in ranges {
            let recorded = tape.records().len();
            if again {
                groups.push(Group { layers: layers.clone(), x: x.clone(), recorded, graph: None });
                x = plain.layers(layers, x, &plain_of_layers, None, &mut tape);
            } else {
                let (entry, y, own) = with_graph(layers.clone(), x, &tape);
                x = y.clone().inner();
                tape.append(&own);
                groups.push(Group { layers, x: entry, recorded, graph: Some((y, own)) });
            }
        }
        let recorded = tape.records().len();
        groups.extend(last.map(|layers| Group { layers, x, recorded, graph: None }));
        drop(plain);

        // The last group is differentiated as it is run, from the losses.
        let mut found: Option<(Tensor<1>, Option<Tensor<1>>)> = None;
        let mut balance_gradients = None;
        let mut output_gradient: Option<Tensor<3>> = None;
        let mut of_decided: Option<DecidedGradients> = None;
        for Group { layers, x, recorded, graph } in groups.into_iter().rev() {
            let first = layers.start;
            let (x, y, own) = match graph {
                Some((y, own)) => (x, y, own),
                None => with_graph(layers, x, &tape),
            };
            let mut objective = match output_gradient.take() {
                Some(gradient) => with_gradient(y, Tensor::from_inner(gradient)),
                None => {
                    let (losses, objective) =
                        self.losses(model, model.finish(y), batch, pass.scale);
                    tape.append(&own);
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
                && let Some(term) = known.objective(own.records(), recorded)
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
            gradients.add(model, GradientsParams::from_grads(grads, model));
            gradients.layers_are_whole(first);
        }
        if let (Some(decided), Some(sum)) = (&decided, of_decided)
            && let Some(objective) = sum.objective(decided)
        {
            let found = GradientsParams::from_grads(objective.backward(), model);
            gradients.add(model, found);
        }
        // Embeddings may be trained; where they are not, there is no graph below them.
        if let Some(gradient) = output_gradient {
            let tracked = Tensor::<1>::zeros([1], &embedded.device()).require_grad();
            let objective = with_gradient(embedded, Tensor::from_inner(gradient)) + tracked;
            let found = GradientsParams::from_grads(objective.backward(), model);
            gradients.add(model, found);
        }
        let none = || Tensor::full([1], f32::NAN, &embedded_device);
        let (losses, balance_loss) = found.unwrap_or_else(|| (none(), None));
        Ok(PassReport { losses, scale: pass.scale, balance_loss, tape })
    }
}
