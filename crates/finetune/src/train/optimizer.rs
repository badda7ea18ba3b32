use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, DynState, GradientsParams, Optimizer,
};
use burn::tensor::{DType, Tensor, TensorData};
use fused_ops::{AdamWStep, adamw_step};
use moe_adapter::{parameter_names, to_data, to_stored};
use tensor_files::TensorTable;

use super::TrainError;

/// Burn's AdamW over the parameters of a model, with the state of each.
///
/// Burn's own `ModuleOptimizer` reads its states onto the default device, which need not be there,
/// finds them by identities that are new in every process for what is no adapter, and passes over
/// those that it cannot read. Here they are read onto the device of their parameter, by its name.
#[derive(Clone)]
pub(super) struct AdapterOptimizer {
    adamw: AdamW,
    /// The numbers of `adamw`, for devices that have a kernel for a step.
    numbers: AdamWStep,
    states: HashMap<ParamId, DynState>,
}

/// What torch calls the parts of AdamW's state.
const STEP: &str = "step";
const MOMENT_1: &str = "exp_avg";
const MOMENT_2: &str = "exp_avg_sq";

impl AdapterOptimizer {
    /// AdamW of these numbers, of which a step has its own learning rate and time.
    pub(super) fn new(numbers: AdamWStep) -> Self {
        let adamw = AdamWConfig::new()
            .with_beta_1(numbers.beta1 as f32)
            .with_beta_2(numbers.beta2 as f32)
            .with_epsilon(numbers.epsilon as f32)
            .with_weight_decay(numbers.weight_decay as f32)
            .build();
        Self { adamw, numbers, states: HashMap::new() }
    }

    /// A step as one kernel; `None` where it is Burn's to make.
    fn fused<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: &Tensor<D>,
        grad: &Tensor<D>,
        state: Option<&AdamWState<D>>,
    ) -> Option<(Tensor<D>, AdamWState<D>)> {
        let known = state.map(|state| &state.momentum);
        let time = known.map_or(0, |known| known.time) + 1;
        let moments = known.map(|known| [&known.moment_1, &known.moment_2]);
        let step = AdamWStep { learning_rate, time, ..self.numbers };
        let [tensor, moment_1, moment_2] = adamw_step(tensor, grad, moments, step)?;
        let momentum = AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None };
        Some((tensor, AdamWState { momentum }))
    }

    /// The model after a step of the parameters that have gradients.
    pub(super) fn step<M: Module>(
        &mut self,
        learning_rate: f64,
        model: M,
        grads: GradientsParams,
    ) -> M {
        struct Step<'a> {
            optimizer: &'a mut AdapterOptimizer,
            learning_rate: f64,
            grads: GradientsParams,
        }
        impl ModuleMapper for Step<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let id = param.id;
                let Some(grad) = self.grads.remove::<D>(id) else {
                    return param;
                };
                let Step { optimizer, learning_rate, .. } = self;
                let state = optimizer.states.remove(&id);
                let state = state.map(DynState::downcast::<AdamWState<D>>);
                param.map(|tensor| {
                    let trained = tensor.is_require_grad();
                    let tensor = tensor.inner();
                    let fused = optimizer.fused(*learning_rate, &tensor, &grad, state.as_ref());
                    let (tensor, state) = match fused {
                        Some((tensor, state)) => (tensor, Some(state)),
                        None => optimizer.adamw.step(*learning_rate, tensor, grad, state),
                    };
                    if let Some(state) = state {
                        optimizer.states.insert(id, DynState::create(state, D));
                    }
                    Tensor::from_inner(tensor).set_require_grad(trained)
                })
            }
        }
        model.map(&mut Step { optimizer: self, learning_rate, grads })
    }

    /// The states as tensors, `<parameter>.exp_avg` and so on.
    pub(super) fn table<M: Module>(&self, model: &M) -> TensorTable {
        struct Read<'a> {
            states: &'a HashMap<ParamId, DynState>,
            names: HashMap<ParamId, String>,
            table: TensorTable,
        }
        impl Read<'_> {
            fn put(&mut self, name: &str, part: &str, data: &TensorData) {
                self.table.tensors.insert(format!("{name}.{part}"), to_stored(data));
            }
        }
        impl ModuleVisitor for Read<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let states = self.states;
                let (Some(state), Some(name)) =
                    (states.get(&param.id), self.names.get(&param.id).cloned())
                else {
                    return;
                };
                let AdaptiveMomentumState { time, moment_1, moment_2, .. } =
                    &state.downcast_ref::<AdamWState<D>>().momentum;
                let steps = i32::try_from(*time).unwrap_or(i32::MAX);
                self.put(&name, STEP, &TensorData::new(vec![steps], [1]));
                for (part, moment) in [(MOMENT_1, moment_1), (MOMENT_2, moment_2)] {
                    self.put(&name, part, &moment.clone().cast(DType::F32).into_data());
                }
            }
        }
        let (states, names) = (&self.states, parameter_names(model));
        let mut read = Read { states, names, table: TensorTable::default() };
        model.visit(&mut read);
        read.table
    }

    /// Replaces the states by those of a table, each on the device of its parameter. `path` names
    /// the table in errors.
    pub(super) fn load<M: Module>(
        &mut self,
        model: &M,
        table: TensorTable,
        path: &Path,
    ) -> Result<(), TrainError> {
        let names = parameter_names(model);
        let mut write = Write { names, table, states: HashMap::new(), wrong: None };
        model.visit(&mut write);
        let left = write.table.tensors.keys().next();
        let left = left.map(|name| format!("`{name}` is of no parameter of the run"));
        if let Some(message) = write.wrong.or(left) {
            return Err(TrainError::State { path: path.into(), message });
        }
        self.states = write.states;
        Ok(())
    }
}

struct Write {
    names: HashMap<ParamId, String>,
    table: TensorTable,
    states: HashMap<ParamId, DynState>,
    wrong: Option<String>,
}

impl Write {
    /// The state of a parameter; none where it has not been trained.
    fn state<const D: usize>(
        &mut self,
        name: &str,
        param: &Tensor<D>,
    ) -> Result<Option<AdamWState<D>>, String> {
        let mut take = |part: &str, shape: &[usize], dtype: DType| {
            let name = format!("{name}.{part}");
            let Some(tensor) = self.table.tensors.remove(&name) else {
                return Ok(Err(format!("`{name}` is missing")));
            };
            let data = to_data(&tensor).map_err(|found| format!("`{name}` is {found}"))?;
            if data.dtype() != dtype || data.shape().as_slice() != shape {
                let found = format!("{:?} {:?}", data.dtype(), data.shape().as_slice());
                return Err(format!("`{name}` is {found}, but must be {dtype:?} {shape:?}"));
            }
            if dtype.is_float() && !data.iter::<f32>().all(f32::is_finite) {
                return Err(format!("`{name}` holds values that are no numbers"));
            }
            Ok(Ok(data))
        };
        let shape = param.dims();
        let steps = take(STEP, &[1], DType::I32)?;
        let first = take(MOMENT_1, &shape, DType::F32)?;
        let second = take(MOMENT_2, &shape, DType::F32)?;
        if steps.is_err() && first.is_err() && second.is_err() {
            return Ok(None);
        }
        let time = usize::try_from(steps?.iter::<i32>().next().unwrap_or_default());
        let device = param.clone().inner().device();
        let moment = |data: TensorData| {
            let tensor: Tensor<D> = Tensor::from_data(data, &device);
            tensor.cast(param.dtype())
        };
        let momentum = AdaptiveMomentumState {
            time: time.map_err(|_| format!("`{name}.{STEP}` is below 0"))?,
            moment_1: moment(first?),
            moment_2: moment(second?),
            max_moment_2: None,
        };
        Ok(Some(AdamWState { momentum }))
    }
}

impl ModuleVisitor for Write {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = self.names.get(&param.id).cloned() else {
            return;
        };
        match self.state(&name, &param.val()) {
            Ok(Some(state)) => {
                self.states.insert(param.id, DynState::create(state, D));
            }
            Ok(None) => {}
            Err(wrong) => {
                self.wrong.get_or_insert(wrong);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    fn stepped(optimizer: &mut AdapterOptimizer, model: Linear) -> Linear {
        let x: Tensor<2> = Tensor::from_inner(Tensor::ones([2, 3], &Device::flex()));
        let loss = model.forward(x).powi_scalar(2).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.step(0.1, model, grads)
    }

    fn optimizer() -> AdapterOptimizer {
        AdapterOptimizer::new(AdamWStep {
            learning_rate: 0.0,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-5,
            weight_decay: 1e-4,
            time: 0,
        })
    }

    #[test]
    fn states_come_back_by_name_and_go_on_with_the_same_numbers() {
        let mut before = optimizer();
        let model = LinearConfig::new(3, 4).init(&Device::flex()).train();
        let model = stepped(&mut before, model);
        let table = before.table(&model);
        assert_eq!(table.tensors.len(), 6);
        // Parameters of another process have other identities.
        let identified = |param: &Param<Tensor<2>>| Param::from_tensor(param.val());
        let other = Linear { weight: identified(&model.weight), ..model.clone() };
        assert_ne!(other.weight.id, model.weight.id);
        let mut after = optimizer();
        after.load(&other, table, Path::new("o")).unwrap();
        let next = |optimizer: &mut AdapterOptimizer, model| {
            stepped(optimizer, model).weight.val().into_data()
        };
        assert_eq!(next(&mut before, model), next(&mut after, other));
    }

    #[test]
    fn a_table_of_another_model_is_refused_by_the_tensor() {
        let mut trained = optimizer();
        let model = stepped(&mut trained, LinearConfig::new(3, 4).init(&Device::flex()).train());
        let refused = |change: fn(&mut TensorTable)| {
            let mut table = trained.table(&model);
            change(&mut table);
            optimizer().load(&model, table, Path::new("o.safetensors")).unwrap_err().to_string()
        };
        let missing = refused(|table| {
            table.tensors.remove("weight.exp_avg");
        });
        assert!(missing.contains("o.safetensors: `weight.exp_avg` is missing"), "{missing}");
        let left = refused(|table| {
            let tensor = table.tensors["bias.step"].clone();
            table.tensors.insert("other.step".into(), tensor);
        });
        assert!(left.contains("`other.step` is of no parameter"), "{left}");
        let shape = refused(|table| {
            table.tensors.insert("bias.exp_avg".into(), table.tensors["bias.step"].clone());
        });
        assert!(shape.contains("`bias.exp_avg` is"), "{shape}");
    }
}
