use burn::tensor::{DType, Device, Tensor};
use fused_ops::runs_kernels;
use serde::Serialize;

use crate::bench::TrainBenchResult;
use crate::train::Recompute;

/// What one micro-batch of the longest samples takes, by models of two and three layers.
#[derive(Debug, Clone, Serialize)]
pub struct DryMeasurement {
    /// The time of an optimiser step, in seconds; absent where the samples are longer than what was run.
    pub step_s: Option<f64>,
    /// The memory; absent on devices with memory of their own, and where it is not counted.
    pub memory: Option<PeakMemory>,
    /// The samples of a micro-batch, and the tokens of each.
    pub batch: [usize; 2],
    /// The tokens of the samples that were run: those of `batch`, or two shorter ones, through which lines
    /// are drawn.
    pub run: Vec<usize>,
}

/// The largest memory of a run by what it is for, in bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PeakMemory {
    /// Weights, adapter and the optimiser's state, which are there between steps.
    pub held: f64,
    /// Of a step, what grows with the number of layers: activations and gradients.
    pub kept: f64,
    /// Of a step, the most that is there beside that.
    pub work: f64,
    /// What the allocator keeps of what steps and the loading of weights have freed.
    pub freed: f64,
    /// The process, and what a checkpoint writes.
    pub other: f64,
}

/// How much more memory of steps the command's allocator keeps than is alive at once.
const FREED: f64 = 0.1;

impl PeakMemory {
    /// Of a step that takes `kept` and `work`, after a loading that left `loading`.
    pub(super) fn new(held: f64, [kept, work]: [f64; 2], loading: f64, other: f64) -> Self {
        Self { held, kept, work, freed: FREED * (kept + work) + loading, other }
    }

    /// All of it.
    pub fn bytes(&self) -> f64 {
        self.held + self.kept + self.work + self.freed + self.other
    }
}

/// What models of two and three periods of layers took: the time of a micro-batch, and the memory besides
/// what is held between steps, where it was counted.
#[derive(Default)]
pub(super) struct Points(Vec<[f64; 2]>);

impl Points {
    pub(super) fn add(&mut self, result: &TrainBenchResult) {
        self.0.push([result.step_s, result.counted_bytes.unwrap_or(0.0)]);
    }

    fn two_and_three(&self, of: usize) -> [f64; 2] {
        [0, 1].map(|at| self.0.get(at).map_or(0.0, |point| point[of]))
    }

    /// The time (0) or memory (1) of so many periods by a line: the first layer may take another part than
    /// all that follow.
    pub(super) fn line(&self, of: usize, periods: f64) -> f64 {
        let [two, three] = self.two_and_three(of);
        two + (periods - 2.0) * (three - two).max(0.0)
    }

    /// Whether memory was counted: the allocator sees that of CPUs.
    pub(super) fn counted(&self, device: &Device) -> bool {
        self.0.iter().all(|point| point[1] > 0.0)
            && runs_kernels(&Tensor::<1>::zeros([1], (device, DType::F32)))
    }
}

/// A step's memory, as lines through small models tell it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StepParts {
    /// Whatever the layers are.
    work: f64,
    /// For each layer: all that is kept of it, or where activations are computed again, what is besides its
    /// input and its gradients.
    layer: f64,
    /// The graph of a layer, where groups are more than one.
    graph: f64,
}

impl StepParts {
    /// By models of two and three periods; `input` is what enters a layer, and `gradients` are those of its
    /// parameters, in bytes.
    pub(super) fn of(
        recompute: Recompute,
        period: usize,
        (input, gradients): (f64, f64),
        points: &Points,
        graphs: Option<&Points>,
    ) -> Self {
        let [two, three] = points.two_and_three(1);
        let kept = |periods| kept(recompute.one_by_one(), periods * period, input, gradients);
        let of_one = |difference: f64| difference.max(0.0) / period as f64;
        let layer = of_one(three - two - (kept(3) - kept(2)));
        let graph = graphs.map_or(0.0, |points| {
            let [two, three] = points.two_and_three(1);
            of_one(three - two)
        });
        Self { work: (two - kept(2) - (2 * period) as f64 * layer).max(0.0), layer, graph }
    }

    /// At another length than those of `all`, by a line through two.
    pub(super) fn at(all: &[Self], lengths: &[usize], length: usize) -> Self {
        let ([first, second], [from, to]) = (all, lengths) else {
            return all.first().copied().unwrap_or_default();
        };
        let by = (length as f64 - *from as f64) / (*to as f64 - *from as f64);
        let line = |of: fn(&Self) -> f64| (of(first) + by * (of(second) - of(first))).max(0.0);
        Self {
            work: line(|parts| parts.work),
            layer: line(|parts| parts.layer),
            graph: line(|parts| parts.graph),
        }
    }

    /// What so many layers keep, and what is beside that.
    pub(super) fn in_all(
        &self,
        recompute: Recompute,
        layers: usize,
        (input, gradients): (f64, f64),
    ) -> [f64; 2] {
        let in_group = match recompute {
            Recompute::Every(group) => group.min(layers).max(1) - 1,
            Recompute::None | Recompute::Nested(_) => 0,
        };
        let kept = kept(recompute, layers, input, gradients) + layers as f64 * self.layer;
        [kept, self.work + in_group as f64 * self.graph]
    }
}

/// Inputs of layers and gradients of their parameters, as they are at most there together: before the
/// backward pass of the last group, or of the first.
fn kept(recompute: Recompute, layers: usize, input: f64, gradients: f64) -> f64 {
    let (group, nested) = match recompute {
        Recompute::None => return 0.0,
        Recompute::Every(group) => (group.min(layers).max(1), 0),
        Recompute::Nested(group) => (group.min(layers).max(1), 1),
    };
    let groups = layers.div_ceil(group);
    let last = layers - (groups - 1) * group;
    // The last group may be short, and then the one before it keeps more.
    let at_last = groups + nested * (last - 1);
    let before = if groups > 1 { groups - 1 + nested * (group - 1) } else { 0 };
    let first = if nested == 1 { 1 } else { group };
    let in_the_end = input + (layers - first) as f64 * gradients;
    (at_last.max(before) as f64 * input).max(in_the_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_inputs_until_gradients_are_more() {
        let inputs = |recompute| kept(recompute, 32, 1.0, 0.0);
        assert_eq!(inputs(Recompute::None), 0.0);
        assert_eq!(inputs(Recompute::Every(1)), 32.0);
        assert_eq!(inputs(Recompute::Every(5)), 7.0);
        // Six groups, of which the last has two layers: five and five more of the fifth.
        assert_eq!(inputs(Recompute::Nested(6)), 10.0);
        assert_eq!(inputs(Recompute::Nested(8)), 4.0 + 7.0);
        assert_eq!(inputs(Recompute::Nested(99)), 32.0);
        assert_eq!(kept(Recompute::Every(1), 32, 1.0, 3.0), 1.0 + 31.0 * 3.0);
        assert_eq!(kept(Recompute::Every(8), 32, 1.0, 3.0), 1.0 + 24.0 * 3.0);
    }

    #[test]
    fn small_models_tell_of_all_layers_and_of_longer_sequences() {
        let points = |two: f64, three: f64| Points(vec![[0.0, two], [0.0, three]]);
        let none = StepParts::of(Recompute::None, 1, (2.0, 0.0), &points(25.0, 35.0), None);
        assert_eq!(none.in_all(Recompute::None, 10, (2.0, 0.0)), [100.0, 5.0]);
        let every = Recompute::Every(4);
        let graphs = points(25.0, 35.0);
        let parts = StepParts::of(every, 1, (2.0, 0.0), &points(20.0, 23.0), Some(&graphs));
        // Of each layer one is recorded besides its input; three more graphs are there at once.
        assert_eq!(parts.in_all(every, 8, (2.0, 0.0)), [2.0 * 2.0 + 8.0, 14.0 + 3.0 * 10.0]);
        let twice = StepParts { work: 2.0 * none.work, layer: 2.0 * none.layer, graph: 0.0 };
        let told = StepParts::at(&[none, twice], &[10, 20], 50);
        assert_eq!((told.work, told.layer), (5.0 * none.work, 5.0 * none.layer));
    }
}
