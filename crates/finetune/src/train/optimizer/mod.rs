mod at_once;
mod config;
mod groups;
mod moments;
mod muon;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{DynState, GradientsParams};
use burn::tensor::{DType, Tensor, TensorData};
use moe_adapter::{parameter_names, to_data, to_stored};
use safetensors::Dtype;
use tensor_files::TensorTable;

pub use config::{OptimizerConfig, OptimizerKind};
pub use groups::ParamGroup;

use super::TrainError;
use at_once::Stepped;
use groups::{Groups, Place};
use moments::Moments;
use rule::Rule;

/// An optimiser over the parameters of a model, with the state of each.
///
/// Burn's own `ModuleOptimizer` reads its states onto the default device, which need not be there,
/// finds them by identities that are new in every process for what is no adapter, and passes over
/// those that it cannot read. Here they are read onto the device of their parameter, by its name.
#[derive(Clone)]
pub(super) struct AdapterOptimizer {
    /// That of what no group has, then that of each group.
    rules: Vec<Rule>,
    groups: Groups,
    /// The decay of the average; 0 takes none.
    ema_decay: f64,
    states: HashMap<ParamId, DynState>,
}

/// What torch calls the number of steps in an optimiser's state.
const STEP: &str = "step";

/// The value of a parameter of which the adapter of a checkpoint has the average.
const VALUE: &str = "param";

impl AdapterOptimizer {
    /// An optimiser of the parameters of a model that are trained.
    pub(super) fn new<M: Module>(model: &M, config: &OptimizerConfig) -> Result<Self, TrainError> {
        let own = config.param_groups.iter().map(|group| group.weight_decay);
        let decays = [None].into_iter().chain(own).map(|own| own.unwrap_or(config.weight_decay));
        Ok(Self {
            rules: decays.map(|decay| Rule::new(config, decay)).collect(),
            groups: Groups::new(model, config)?,
            ema_decay: config.ema_decay,
            states: HashMap::new(),
        })
    }

    /// The model after a step of the parameters that have gradients, which are multiplied by
    /// `gradient_scale`.
    pub(super) fn step<M: Module>(
        &mut self,
        learning_rate: f64,
        model: M,
        grads: GradientsParams,
        gradient_scale: f64,
    ) -> M {
        struct Step<'a> {
            optimizer: &'a mut AdapterOptimizer,
            learning_rate: f64,
            grads: GradientsParams,
            gradient_scale: f64,
            stepped: HashMap<ParamId, Stepped>,
        }
        impl ModuleMapper for Step<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let id = param.id;
                let Some(grad) = self.grads.remove::<D>(id) else {
                    return param;
                };
                let stepped = self.stepped.remove(&id);
                let Step { optimizer, learning_rate, gradient_scale, .. } = self;
                let Place { group, rate } = optimizer.groups.place(id);
                let moments = optimizer.states.remove(&id).map(DynState::downcast::<Moments<D>>);
                param.map(|tensor| {
                    let trained = tensor.is_require_grad();
                    let rate = rate * *learning_rate;
                    let rule = &optimizer.rules[group];
                    let mut moments = moments;
                    let average = moments.as_mut().and_then(|moments| moments.average.take());
                    let before = tensor.inner();
                    let kept = (optimizer.ema_decay > 0.0).then(|| before.clone());
                    let (tensor, mut moments) = match stepped {
                        Some(stepped) => stepped.into_parts(before.dims()),
                        None => {
                            let grad = scaled(grad, *gradient_scale);
                            rule.step(rate, before, grad, moments)
                        }
                    };
                    if let Some(before) = kept {
                        moments.average(average, before, tensor.clone(), optimizer.ema_decay);
                    }
                    optimizer.states.insert(id, DynState::create(moments, D));
                    Tensor::from_inner(tensor).set_require_grad(trained)
                })
            }
        }
        let stepped = at_once::steps(self, &model, &grads, learning_rate, gradient_scale);
        model.map(&mut Step { optimizer: self, learning_rate, grads, gradient_scale, stepped })
    }

    /// A model with the averages of what is trained, where they are taken.
    pub(super) fn averaged<M: Module>(&self, model: &M) -> M {
        struct Averaged<'a>(&'a HashMap<ParamId, DynState>);
        impl ModuleMapper for Averaged<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let state = self.0.get(&param.id).map(DynState::downcast_ref::<Moments<D>>);
                match state.and_then(|moments| moments.average.clone()) {
                    Some(average) => param.map(|value| like(average, &value)),
                    None => param,
                }
            }
        }
        match self.ema_decay {
            0.0 => model.clone(),
            _ => model.clone().map(&mut Averaged(&self.states)),
        }
    }

    /// The states as tensors, `<parameter>.exp_avg` and so on; where averages are taken also
    /// `<parameter>.param`, what the parameter is.
    pub(super) fn table<M: Module>(&self, model: &M) -> TensorTable {
        struct Read<'a> {
            optimizer: &'a AdapterOptimizer,
            names: HashMap<ParamId, String>,
            table: TensorTable,
        }
        impl Read<'_> {
            fn put(&mut self, name: &str, part: &str, data: &TensorData) {
                let mut stored = to_stored(data);
                if data.dtype() == DType::U8 {
                    stored.dtype = Dtype::U8;
                }
                self.table.tensors.insert(format!("{name}.{part}"), stored);
            }
        }
        impl ModuleVisitor for Read<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let optimizer = self.optimizer;
                let (Some(state), Some(name)) =
                    (optimizer.states.get(&param.id), self.names.get(&param.id).cloned())
                else {
                    return;
                };
                let moments = state.downcast_ref::<Moments<D>>();
                let steps = i32::try_from(moments.time).unwrap_or(i32::MAX);
                self.put(&name, STEP, &TensorData::new(vec![steps], [1]));
                let shape = param.val().dims();
                let parts = optimizer.rule(param.id).parts(&shape);
                for ((part, ..), data) in parts.iter().zip(moments.data(shape)) {
                    self.put(&name, part, &data);
                }
                if moments.average.is_some() {
                    let value = param.val().inner().cast(DType::F32);
                    self.put(&name, VALUE, &value.into_data());
                }
            }
        }
        let names = parameter_names(model);
        let mut read = Read { optimizer: self, names, table: TensorTable::default() };
        model.visit(&mut read);
        read.table
    }

    /// Replaces the states by those of a table, each on the device of its parameter, and returns the
    /// model: what was averaged in it becomes what it is. `path` names the table in errors.
    pub(super) fn load<M: Module>(
        &mut self,
        model: M,
        table: TensorTable,
        path: &Path,
    ) -> Result<M, TrainError> {
        let names = parameter_names(&model);
        let (states, wrong) = (HashMap::new(), None);
        let mut write = Write { optimizer: self, names, table, states, wrong };
        let model = model.map(&mut write);
        let left = write.table.tensors.keys().next();
        let left = left.map(|name| format!("`{name}` is of no parameter of the run"));
        if let Some(message) = write.wrong.or(left) {
            return Err(TrainError::State { path: path.into(), message });
        }
        self.states = write.states;
        Ok(model)
    }

    fn rule(&self, id: ParamId) -> &Rule {
        &self.rules[self.groups.place(id).group]
    }
}

struct Write<'a> {
    optimizer: &'a AdapterOptimizer,
    names: HashMap<ParamId, String>,
    table: TensorTable,
    states: HashMap<ParamId, DynState>,
    wrong: Option<String>,
}

impl Write<'_> {
    /// The state of a parameter and its value, where that is another; none where it has not been
    /// trained.
    fn moments<const D: usize>(
        &mut self,
        id: ParamId,
        name: &str,
        param: &Tensor<D>,
    ) -> Result<Option<(Moments<D>, Option<Tensor<D>>)>, String> {
        let mut take = |part: &str, shape: &[usize], dtype: DType| {
            let name = format!("{name}.{part}");
            let Some(tensor) = self.table.tensors.remove(&name) else {
                return Ok(Err(format!("`{name}` is missing")));
            };
            let data = match (dtype, tensor.dtype) {
                (DType::U8, Dtype::U8) => TensorData::new(tensor.bytes, tensor.shape),
                _ => to_data(&tensor).map_err(|found| format!("`{name}` is {found}"))?,
            };
            if data.dtype() != dtype || data.shape().as_slice() != shape {
                let found = format!("{:?} {:?}", data.dtype(), data.shape().as_slice());
                return Err(format!("`{name}` is {found}, but must be {dtype:?} {shape:?}"));
            }
            if dtype.is_float() && !data.iter::<f32>().all(f32::is_finite) {
                return Err(format!("`{name}` holds values that are no numbers"));
            }
            Ok(Ok(data))
        };
        let mut parts = self.optimizer.rule(id).parts(&param.dims());
        let averages = self.optimizer.ema_decay > 0.0;
        if averages {
            parts.push((VALUE, param.dims().to_vec(), DType::F32));
        }
        let steps = take(STEP, &[1], DType::I32)?;
        let mut found = Vec::with_capacity(parts.len());
        for (part, shape, dtype) in &parts {
            found.push(take(part, shape, *dtype)?);
        }
        if steps.is_err() && found.iter().all(Result::is_err) {
            return Ok(None);
        }
        let time = usize::try_from(steps?.iter::<i32>().next().unwrap_or_default());
        let time = time.map_err(|_| format!("`{name}.{STEP}` is below 0"))?;
        let average = param.clone().inner();
        let mut data: Vec<TensorData> = found.into_iter().collect::<Result<_, _>>()?;
        let value = if averages { data.pop() } else { None };
        let value =
            value.map(|data| Tensor::<D>::from_data(data, &average.device()).cast(param.dtype()));
        let mut moments = Moments::of_data(time, data, &average)?;
        moments.average = averages.then_some(average);
        Ok(Some((moments, value)))
    }
}

impl ModuleMapper for Write<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(name) = self.names.get(&param.id).cloned() else {
            return param;
        };
        match self.moments(param.id, &name, &param.val()) {
            Ok(Some((moments, value))) => {
                self.states.insert(param.id, DynState::create(moments, D));
                match value {
                    Some(value) => param.map(|average| like(value, &average)),
                    None => param,
                }
            }
            Ok(None) => param,
            Err(wrong) => {
                self.wrong.get_or_insert(wrong);
                param
            }
        }
    }
}

fn scaled<const D: usize>(grad: Tensor<D>, scale: f64) -> Tensor<D> {
    if scale == 1.0 { grad } else { grad * scale }
}

/// A value on the device of another, and trained where that is.
fn like<const D: usize>(value: Tensor<D>, other: &Tensor<D>) -> Tensor<D> {
    match other.is_autodiff() {
        true => Tensor::from_inner(value).set_require_grad(other.is_require_grad()),
        false => value,
    }
}
