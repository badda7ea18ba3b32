use std::ops::Range;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use data::DeviceBatch;
use fused_ops::with_gradient;
use model_zoo::{CausalLm, TokenInput};
use router::{BatchContext, Decided, DecidedGradients, RoutingTape};

use super::CausalTask;
use super::by_slices::Slices;
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
    /// Nested, the last group is not run with its graph at once: the losses are differentiated by what leaves
    /// it, while no layer has a graph. A group that is reached becomes groups of one layer, whose inputs a
    /// second run without gradients finds, of a copy whose running statistics are those of the first run's.
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
        let nested = matches!(pass.recompute, Recompute::Nested(_));
        let slices = Slices { tokens: pass.recompute_slice.filter(|_| nested) };
        let mut tape = pass.tape(context);
        let (embedded, of_layers) = model.begin(input, None);
        let embedded_device = embedded.clone().inner().device();

        let plain = model.valid();
        let mut x = embedded.clone().inner();
        let (_, plain_of_layers) = plain.begin(input, None);
        let decided = model.model_router().map(|router| {
            let mut first = tape.first_pass(router.first_pass());
            let all = 0..model.num_layers();
            let h = slices.layers(&plain, all, x.clone(), &plain_of_layers, &mut first);
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
            let y = match slices.apply_to(model, &layers) {
                true => model.attention_half(layers.start, x.clone(), &of_layers, &mut own),
                false => model.layers(layers, x.clone(), &of_layers, None, &mut own),
            };
            (x, y, own)
        };

        let last = if nested { None } else { ranges.pop() };
        let mut groups = Vec::with_capacity(ranges.len() + 1);
        for layers in ranges {
            let recorded = tape.records().len();
            if again {
                groups.push(Group { layers: layers.clone(), x: x.clone(), recorded, graph: None });
                x = slices.layers(&plain, layers, x, &plain_of_layers, &mut tape);
            } else {
                let (entry, y, own) = with_graph(layers.clone(), x, &tape);
                x = y.clone().inner();
                tape.append(&own);
                groups.push(Group { layers, x: entry, recorded, graph: Some((y, own)) });
            }
        }
        let recorded = tape.records().len();
        groups.extend(last.map(|layers| Group { layers, x: x.clone(), recorded, graph: None }));
        drop(plain);

        let balance = |tape: &RoutingTape| -> Result<_, TrainError> {
            let leaves = tape.leaves();
            let term = pass.balance_loss(&leaves)?;
            let gradients = term.as_ref().map(|term| leaves.gradients(&term.backward()));
            Ok((term.map(Tensor::inner), gradients))
        };
        let mut found: Option<(Tensor<1>, Option<Tensor<1>>)> = None;
        let mut balance_gradients = None;
        let mut output_gradient: Option<Tensor<3>> = None;
        let mut of_decided: Option<DecidedGradients> = None;
        if nested {
            let y = Tensor::from_inner(x).require_grad();
            let (losses, objective) =
                self.losses(model, model.finish(y.clone()), batch, pass.scale);
            let grads = objective.backward();
            output_gradient = y.grad(&grads);
            gradients.add(model, GradientsParams::from_grads(grads, model));
            let (balance_loss, known) = balance(&tape)?;
            (found, balance_gradients) = (Some((losses, balance_loss)), known);
        } else {
            drop(x);
        }
        while let Some(Group { layers, x, recorded, graph }) = groups.pop() {
            let first = layers.start;
            if nested && layers.len() > 1 {
                let plain = model.valid();
                let (mut x, mut again) = (x, tape.blank());
                for layer in layers.clone() {
                    let recorded = recorded + again.records().len();
                    let one = layer..layer + 1;
                    groups.push(Group { layers: one.clone(), x: x.clone(), recorded, graph: None });
                    // Nobody asks for what leaves the last one.
                    if one.end < layers.end {
                        x = slices.layers(&plain, one, x, &plain_of_layers, &mut again);
                    }
                }
                continue;
            }
            let sliced = slices.apply_to(model, &layers);
            let (x, y, own) = match graph {
                Some((y, own)) => (x, y, own),
                None => with_graph(layers, x, &tape),
            };
            // The last group is differentiated as it is run, from the losses.
            let mut objective = match output_gradient.take() {
                Some(gradient) if sliced => {
                    let h = y.clone().inner();
                    let gradient =
                        slices.differentiate(model, first, (h, gradient), &tape, gradients);
                    with_gradient(y, Tensor::from_inner(gradient))
                }
                Some(gradient) => with_gradient(y, Tensor::from_inner(gradient)),
                None => {
                    let (losses, objective) =
                        self.losses(model, model.finish(y), batch, pass.scale);
                    tape.append(&own);
                    let (balance_loss, known) = balance(&tape)?;
                    (found, balance_gradients) = (Some((losses, balance_loss)), known);
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
