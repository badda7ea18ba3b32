//! Steps of AdamW on all parameters at once, where a device has kernels for that: with some hundred small
//! tensors a step of each by itself takes as long as its kernels take to launch.

use std::collections::{BTreeMap, HashMap};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{DynState, GradientsParams};
use burn::tensor::Tensor;
use fused_ops::{AdamWStep, adamw_steps, runs_device_kernels};

use super::AdapterOptimizer;
use super::groups::Place;
use super::moments::Moments;
use super::rule::Rule;

/// A parameter after a step, and its moments, flat.
pub(super) struct Stepped {
    time: usize,
    value: Tensor<1>,
    moments: [Tensor<1>; 2],
}

impl Stepped {
    /// In the shape of the parameter.
    pub(super) fn into_parts<const D: usize>(self, dims: [usize; D]) -> (Tensor<D>, Moments<D>) {
        let [first, second] = self.moments.map(|moment| moment.reshape(dims));
        (self.value.reshape(dims), Moments::new(self.time, first, second))
    }
}

/// The parameters that make steps with the same numbers.
struct Alike {
    step: AdamWStep,
    ids: Vec<ParamId>,
    values: Vec<Tensor<1>>,
    grads: Vec<Tensor<1>>,
    moments: [Vec<Tensor<1>>; 2],
}

/// The steps of all parameters that have a gradient and make theirs so; none on other devices.
pub(super) fn steps<M: Module>(
    optimizer: &AdapterOptimizer,
    model: &M,
    grads: &GradientsParams,
    learning_rate: f64,
    gradient_scale: f64,
) -> HashMap<ParamId, Stepped> {
    let mut alike =
        Collect { optimizer, grads, learning_rate, gradient_scale, groups: BTreeMap::new() };
    model.visit(&mut alike);
    let mut stepped = HashMap::new();
    for Alike { step, ids, values, grads, moments } in alike.groups.into_values() {
        let [first, second] = &moments;
        let known = (step.time > 1).then_some([first.as_slice(), second.as_slice()]);
        let Some([values, first, second]) = adamw_steps(&values, &grads, known, step) else {
            continue;
        };
        let results = values.into_iter().zip(first).zip(second);
        stepped.extend(ids.into_iter().zip(results).map(|(id, ((value, first), second))| {
            (id, Stepped { time: step.time, value, moments: [first, second] })
        }));
    }
    stepped
}

struct Collect<'a> {
    optimizer: &'a AdapterOptimizer,
    grads: &'a GradientsParams,
    learning_rate: f64,
    gradient_scale: f64,
    /// By the group of parameters, its multiple of the learning rate, and how many steps were made.
    groups: BTreeMap<(usize, u64, usize), Alike>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Place { group, rate } = self.optimizer.groups.place(param.id);
        let Rule::AdamW(rule) = &self.optimizer.rules[group] else { return };
        let value = param.val().inner();
        if !runs_device_kernels(&value) {
            return;
        }
        let Some(grad) = self.grads.get::<D>(param.id) else { return };
        let state = self.optimizer.states.get(&param.id);
        let moments = match state.map(DynState::downcast_ref::<Moments<D>>) {
            None => (0, None),
            Some(Moments { time, first: Some(first), second: Some(second), .. }) => {
                (*time, Some([first, second]))
            }
            Some(_) => return,
        };
        let (time, moments) = moments;
        let step = AdamWStep {
            gradient_scale: self.gradient_scale,
            learning_rate: rate * self.learning_rate,
            time: time + 1,
            ..rule.numbers
        };
        let of = self.groups.entry((group, rate.to_bits(), time)).or_insert_with(|| Alike {
            step,
            ids: Vec::new(),
            values: Vec::new(),
            grads: Vec::new(),
            moments: [Vec::new(), Vec::new()],
        });
        of.ids.push(param.id);
        of.values.push(flat(value));
        of.grads.push(flat(grad));
        for (all, moment) in of.moments.iter_mut().zip(moments.into_iter().flatten()) {
            all.push(flat(moment.clone()));
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let elements = tensor.shape().num_elements();
    tensor.reshape([elements])
}
