use std::ops::Range;

use balance_loss::BalanceLoss;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use data::DeviceBatch;
use evaluation::{Head, cross_entropy};
use model_zoo::{CausalLm, TokenInput};
use router::{BatchContext, RoutingTape};

use super::{Recompute, TrainError};

/// What is differentiated in a forward pass, and how.
pub(super) struct Objective<'a> {
    /// The loss on routings, and its factor.
    pub(super) balance: Option<(&'a dyn BalanceLoss, f64)>,
    /// Whether the output head learns.
    pub(super) head: Head,
    /// The factor of the summed cross-entropy.
    pub(super) scale: f64,
    /// What is computed again in the backward pass.
    pub(super) recompute: Recompute,
    /// Whether the tape records, whatever the losses need.
    pub(super) record: bool,
}

/// What a pass found.
pub(super) struct PassReport {
    /// The summed cross-entropy times its factor, in nats.
    pub(super) loss: f64,
    /// The loss on routings times its factor; absent without one.
    pub(super) balance_loss: Option<f64>,
    /// What was recorded.
    pub(super) tape: RoutingTape,
}

impl Objective<'_> {
    /// Runs a batch forward and backward, and adds the gradients to those of the batches before.
    pub(super) fn differentiate<M: CausalLm>(
        &self,
        model: &M,
        batch: &DeviceBatch,
        training_seed: u64,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Result<PassReport, TrainError> {
        let mut input = TokenInput::new(batch.input_ids.clone());
        if let Some(mask) = &batch.token_mask {
            input = input.with_attention_mask(mask.clone());
        }
        let mut context = input.context().with_training(training_seed);
        context.task_types = batch.task_types.clone();
        let layers = model.num_layers();
        match self.recompute {
            Recompute::Every(group) if group < layers => {
                self.by_groups(model, batch, &input, context, group, gradients)
            }
            _ => self.at_once(model, batch, &input, context, gradients),
        }
    }

    /// Keeps the graph of the whole pass.
    fn at_once<M: CausalLm>(
        &self,
        model: &M,
        batch: &DeviceBatch,
        input: &TokenInput,
        context: BatchContext,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Result<PassReport, TrainError> {
        let mut tape = self.tape(context);
        let hidden = model.hidden_states(input, None, &mut tape);
        let (loss, mut objective) = self.loss(model, hidden, batch);
        let mut balance_loss = None;
        if let Some(term) = self.balance_term(&tape)? {
            balance_loss = Some(value(&term));
            objective = objective + term;
        }
        let found = GradientsParams::from_grads(objective.backward(), model);
        gradients.accumulate(model, found);
        Ok(PassReport { loss, balance_loss, tape })
    }

    /// Keeps what enters each group of layers, and the graph of one group at a time.
    ///
    /// The first run of a group is that of a copy without gradients, whose running statistics are
    /// its own; so the second one finds them as the first did, and moves them once. What is random
    /// follows from the seed of the pass and the place in the model, and is the same in both.
    fn by_groups<M: CausalLm>(
        &self,
        model: &M,
        batch: &DeviceBatch,
        input: &TokenInput,
        context: BatchContext,
        group: usize,
        gradients: &mut GradientsAccumulator<M>,
    ) -> Result<PassReport, TrainError> {
        let layers = model.num_layers();
        let groups: Vec<Range<usize>> =
            (0..layers).step_by(group).map(|first| first..(first + group).min(layers)).collect();
        let mut tape = self.tape(context);
        let (embedded, pass) = model.begin(input, None);

        // What enters each group, and how much was recorded before it.
        let mut entries: Vec<(Tensor<3>, usize)> = Vec::with_capacity(groups.len());
        let plain = model.valid();
        let mut x = embedded.clone().inner();
        let (_, plain_pass) = plain.begin(input, None);
        for range in &groups[..groups.len() - 1] {
            entries.push((x.clone(), tape.records().len()));
            x = plain.layers(range.clone(), x, &plain_pass, None, &mut tape);
        }
        entries.push((x, tape.records().len()));
        drop(plain);

        // The last group is differentiated as it is run, from the losses.
        let mut report: Option<(f64, Option<f64>)> = None;
        let mut balance_gradients = None;
        let mut output_gradient: Option<Tensor<3>> = None;
        for (range, (entry, recorded)) in groups.into_iter().zip(entries).rev() {
            let x = Tensor::from_inner(entry).require_grad();
            let mut again = tape.blank();
            let y = model.layers(range, x.clone(), &pass, None, &mut again);
            let mut objective = match output_gradient.take() {
                Some(gradient) => (y * Tensor::from_inner(gradient)).sum(),
                None => {
                    let (loss, objective) = self.loss(model, model.finish(y), batch);
                    tape.append(&again);
                    let leaves = tape.leaves();
                    let mut balance_loss = None;
                    if let Some(term) = self.balance_term(&leaves)? {
                        balance_loss = Some(value(&term));
                        balance_gradients = Some(leaves.gradients(&term.backward()));
                    }
                    report = Some((loss, balance_loss));
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
            gradients.accumulate(model, GradientsParams::from_grads(grads, model));
        }
        // Embeddings may be trained; where they are not, there is no graph below them.
        if let Some(gradient) = output_gradient {
            let tracked = Tensor::<1>::zeros([1], &embedded.device()).require_grad();
            let objective = (embedded * Tensor::from_inner(gradient)).sum() + tracked;
            let found = GradientsParams::from_grads(objective.backward(), model);
            gradients.accumulate(model, found);
        }
        let (loss, balance_loss) = report.unwrap_or((f64::NAN, None));
        Ok(PassReport { loss, balance_loss, tape })
    }

    fn tape(&self, context: BatchContext) -> RoutingTape {
        match self.balance.is_some() || self.record {
            true => RoutingTape::recording(context),
            false => RoutingTape::new(context),
        }
    }

    /// The cross-entropy of the targets, times the scale, and what to differentiate for it.
    fn loss<M: CausalLm>(
        &self,
        model: &M,
        hidden: Tensor<3>,
        batch: &DeviceBatch,
    ) -> (f64, Tensor<1>) {
        let [batch_size, seq_len, width] = hidden.dims();
        let hidden =
            hidden.reshape([batch_size * seq_len, width]).select(0, batch.target_positions.clone());
        let targets = batch.target_ids.clone();
        let (value, objective) = cross_entropy(model, hidden, targets, self.head, self.scale);
        (value * self.scale, objective)
    }

    fn balance_term(&self, tape: &RoutingTape) -> Result<Option<Tensor<1>>, TrainError> {
        match self.balance {
            Some((balance, factor)) => Ok(balance.loss(tape)?.map(|term| term * factor)),
            None => Ok(None),
        }
    }
}

fn value(scalar: &Tensor<1>) -> f64 {
    f64::from(scalar.clone().inner().into_scalar::<f32>())
}
