use burn::tensor::{Gradients, Tensor};

use crate::{RouterNoise, Routing, RoutingExtras, RoutingRecord, RoutingTape};

/// The gradients that a loss gives to what a tape recorded.
///
/// A pass that keeps no graph is recorded first; the loss is computed on copies of its record that
/// have gradients ([`RoutingTape::leaves`]); and these go into the passes that compute parts of the
/// model again ([`objective`](Self::objective)). So a loss on the routings of all layers is counted
/// once, although no graph ever reaches over all layers.
#[derive(Debug)]
pub struct TapeGradients(Vec<Vec<Option<Tensor<1>>>>);

impl RoutingTape {
    /// The same record, whose tensors are leaves that have gradients.
    pub fn leaves(&self) -> Self {
        let records = self.records().iter().map(|record| RoutingRecord {
            site: record.site,
            group: record.group,
            routing: leaves(&record.routing),
            parameters: record.parameters.iter().map(leaf).collect(),
            shared_experts: record.shared_experts,
        });
        self.with_records(records.collect())
    }

    /// What a loss on [`leaves`](Self::leaves) gives to each of them.
    pub fn gradients(&self, grads: &Gradients) -> TapeGradients {
        let of_record = |record: &RoutingRecord| {
            let mut values = Vec::new();
            each(record, &mut |tensor| values.push(tensor.gradient(grads)));
            values
        };
        TapeGradients(self.records().iter().map(of_record).collect())
    }
}

impl TapeGradients {
    /// The sum of each tensor of `records` times its gradient: its own gradient is what the loss
    /// gives to these records, which are those from number `first` on, recorded again. `None` where
    /// the loss does not depend on them.
    ///
    /// # Panics
    ///
    /// When there are more records than the gradients are of.
    pub fn objective(&self, records: &[RoutingRecord], first: usize) -> Option<Tensor<1>> {
        let mut sum: Option<Tensor<1>> = None;
        for (record, known) in records.iter().zip(&self.0[first..first + records.len()]) {
            let mut known = known.iter();
            each(record, &mut |tensor| {
                if let Some(Some(gradient)) = known.next() {
                    let term = (tensor.flat() * Tensor::from_inner(gradient.clone())).sum();
                    sum = Some(match sum.take() {
                        Some(sum) => sum + term,
                        None => term,
                    });
                }
            });
        }
        sum
    }
}

fn leaf<const D: usize>(tensor: &Tensor<D>) -> Tensor<D> {
    Tensor::from_inner(tensor.clone().without_autodiff()).require_grad()
}

fn leaves(routing: &Routing) -> Routing {
    let extras = &routing.extras;
    Routing {
        logits: leaf(&routing.logits),
        probabilities: leaf(&routing.probabilities),
        weights: leaf(&routing.weights),
        selection: routing.selection.clone(),
        top_k: routing.top_k,
        extras: RoutingExtras {
            entropy: extras.entropy.as_ref().map(leaf),
            distance: extras.distance.as_ref().map(leaf),
            cluster: extras.cluster.clone(),
            balance_scores: extras.balance_scores.as_ref().map(leaf),
            lambda: extras.lambda.as_ref().map(leaf),
            noise: extras
                .noise
                .as_ref()
                .map(|noise| RouterNoise { logits: leaf(&noise.logits), std: leaf(&noise.std) }),
        },
    }
}

/// A tensor of any rank.
trait Recorded {
    fn flat(&self) -> Tensor<1>;
    fn gradient(&self, grads: &Gradients) -> Option<Tensor<1>>;
}

impl<const D: usize> Recorded for Tensor<D> {
    fn flat(&self) -> Tensor<1> {
        self.clone().reshape([self.shape().num_elements()])
    }

    fn gradient(&self, grads: &Gradients) -> Option<Tensor<1>> {
        self.grad(grads).map(|gradient| gradient.flat())
    }
}

/// Visits the tensors of a record that can have gradients, always in the same order.
fn each(record: &RoutingRecord, visit: &mut dyn FnMut(&dyn Recorded)) {
    let Routing { logits, probabilities, weights, selection: _, top_k: _, extras } =
        &record.routing;
    let RoutingExtras { entropy, distance, cluster: _, balance_scores, lambda, noise } = extras;
    for tensor in [Some(logits), Some(probabilities), Some(weights), balance_scores.as_ref()] {
        tensor.into_iter().for_each(|tensor| visit(tensor));
    }
    for tensor in [entropy, distance, lambda] {
        tensor.iter().for_each(|tensor| visit(tensor));
    }
    if let Some(RouterNoise { logits, std }) = noise {
        visit(logits);
        visit(std);
    }
    record.parameters.iter().for_each(|tensor| visit(tensor));
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::{BatchContext, Site};

    #[test]
    fn a_loss_on_the_leaves_reaches_what_was_recorded() {
        let device = Device::flex().autodiff();
        let tensor = |scale: f32| {
            let values: Vec<f32> = (0..6).map(|i| (scale * i as f32).sin()).collect();
            Tensor::<2>::from_data(TensorData::new(values, [2, 3]), &device).require_grad()
        };
        let tracked = [tensor(0.7), tensor(1.3)];
        // Two layers, of which the second is computed again.
        let recorded = || {
            let mut tape = RoutingTape::recording(BatchContext::new(1, 2));
            for (layer, logits) in tracked.iter().enumerate() {
                let probabilities = softmax(logits.clone() * 2.0, 1);
                let routing = Routing::dense(logits.clone(), probabilities.clone(), probabilities);
                assert_eq!((routing.num_tokens(), routing.num_experts()), (2, 3));
                let parameters = || vec![logits.clone().powi_scalar(2).unsqueeze()];
                tape.push(Site::new(layer, "up"), &routing, parameters);
            }
            tape
        };
        let loss = |tape: &RoutingTape| {
            let of_record = |record: &RoutingRecord| {
                let of_weights = record.routing.weights.clone().powi_scalar(2).sum();
                of_weights + record.parameters[0].clone().powi_scalar(3).sum()
            };
            let [first, second] = [&tape.records()[0], &tape.records()[1]].map(of_record);
            first * second
        };
        let expected = loss(&recorded()).backward();
        let leaves = recorded().leaves();
        let known = leaves.gradients(&loss(&leaves).backward());
        for (layer, logits) in tracked.iter().enumerate() {
            let again = recorded();
            let objective = known.objective(&again.records()[layer..=layer], layer).unwrap();
            let found = logits.grad(&objective.backward()).unwrap().into_data();
            let expected = logits.grad(&expected).unwrap().into_data();
            found.assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::rel_abs(1e-5, 1e-6));
        }
    }
}
