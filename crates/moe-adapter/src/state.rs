use std::collections::{BTreeMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Int, Tensor, TensorData};
use tensor_files::nearest;

use crate::trainable::{load_trainable, trainable_state};
use crate::{Adaptable, AdaptedProjection, AdapterError};

/// The parameters that make an adapter, by the names they have on disk: those of all adapters and
/// routers, and whatever else of the model is trainable. Floats are f32.
///
/// The factors of the experts are `<path>.lora_A.weight` `[E, r, in]` and `<path>.lora_B.weight`
/// `[E, out, r]`; with a single expert they have PEFT's two dimensions. Everything else keeps the
/// name that its module has, as in `<path>.router.weight`.
pub type AdapterState = BTreeMap<String, TensorData>;

/// Reads what makes the adapter of a model; empty where nothing is adapted or trainable.
pub fn adapter_state<M>(model: &M) -> AdapterState
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    let mut reader = Reader::default();
    model.visit_projections(&mut |path, _, projection| {
        if let Some(adapter) = projection.adapter() {
            reader.read(path, "", adapter);
        }
    });
    model.visit_blocks(&mut |path, _, block| {
        if let Some(router) = &block.router {
            reader.read(path, "router", router);
        }
    });
    if let Some(router) = model.model_router() {
        reader.read(MODEL_ROUTER, "", router);
    }
    let mut state = reader.state;
    state.extend(trainable_state(model, &reader.ids));
    state
}

/// The parameters of the module `name` of the adapter at `path`, as of its `router`, by the names
/// that they have on disk.
pub fn module_state<M: Module>(path: &str, name: &str, module: &M) -> AdapterState {
    let mut reader = Reader::default();
    reader.read(path, name, module);
    reader.state
}

/// Replaces what makes the adapter of a model. `origin` names the source in errors.
///
/// Where the adapter's start changed the frozen weights, the start in `state` must be the same;
/// [`attach_saved`](crate::attach_saved) puts a stored adapter on a base model.
///
/// # Errors
///
/// [`AdapterError`] when a tensor is missing, has another shape, or has no place. The model is
/// then unchanged.
pub fn load_adapter_state<M>(
    model: &mut M,
    state: AdapterState,
    origin: &str,
) -> Result<(), AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    let current = adapter_state(model);
    check_state(&current, &state, origin)?;
    for (name, data) in &current {
        if let Some((path, _)) = name.split_once(START)
            && state.get(name) != Some(data)
        {
            return Err(AdapterError::OtherStart { origin: origin.into(), path: path.into() });
        }
    }
    replace_state(model, state);
    Ok(())
}

/// What the names of [`StartFactors`](crate::StartFactors) have in common.
pub(crate) const START: &str = ".start.";

/// What the names of the parameters of a router of the whole model begin with.
pub(crate) const MODEL_ROUTER: &str = "model_router";

/// Whether a tensor of this name is of a router of the whole model.
pub fn is_model_router(name: &str) -> bool {
    name.strip_prefix(MODEL_ROUTER).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether a tensor of this name is of a start that was taken out of a frozen weight.
pub fn is_start(name: &str) -> bool {
    name.contains(START)
}

/// Replaces the parameters by those of a state that has been checked.
pub(crate) fn replace_state<M>(model: &mut M, mut state: AdapterState)
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    model.visit_projections_mut(&mut |path, _, projection| {
        if let Some(adapter) = projection.replace_adapter(None) {
            let mut writer = Writer { path: ParamPath::new(path, ""), state: &mut state };
            let adapter = adapter.map(&mut writer);
            projection.replace_adapter(Some(adapter));
        }
    });
    model.visit_blocks_mut(&mut |path, _, block| {
        if let Some(router) = block.router.take() {
            let mut writer = Writer { path: ParamPath::new(path, "router"), state: &mut state };
            block.router = Some(router.map(&mut writer));
        }
    });
    if let Some(router) = model.model_router().cloned() {
        let mut writer = Writer { path: ParamPath::new(MODEL_ROUTER, ""), state: &mut state };
        model.replace_model_router(Some(router.map(&mut writer)));
    }
    load_trainable(model, &mut state);
}

/// Whether `found` has exactly the tensors of `expected`.
pub(crate) fn check_state(
    expected: &AdapterState,
    found: &AdapterState,
    origin: &str,
) -> Result<(), AdapterError> {
    for (name, data) in expected {
        let Some(given) = found.get(name) else {
            let left = found.keys().filter(|name| !expected.contains_key(*name));
            let nearest = nearest(name, left.map(String::as_str));
            let (origin, name) = (origin.into(), name.clone());
            return Err(AdapterError::MissingTensor { origin, name, nearest });
        };
        if given.shape() != data.shape() || given.dtype() != data.dtype() {
            return Err(AdapterError::TensorMismatch {
                origin: origin.into(),
                name: name.clone(),
                found: format!("{:?} {:?}", given.dtype(), given.shape().as_slice()),
                expected: format!("{:?} {:?}", data.dtype(), data.shape().as_slice()),
            });
        }
        if given.dtype().is_float() && !given.iter::<f32>().all(f32::is_finite) {
            return Err(AdapterError::NotFinite { origin: origin.into(), name: name.clone() });
        }
    }
    let names: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    if !names.is_empty() {
        let shown: Vec<_> = names
            .iter()
            .take(3)
            .map(|name| match nearest(name, expected.keys().map(String::as_str)).first() {
                Some(near) => format!("`{name}` (nearest: `{near}`)"),
                None => format!("`{name}`"),
            })
            .collect();
        return Err(AdapterError::UnexpectedTensors {
            origin: origin.into(),
            count: names.len(),
            names: shown.join(", "),
        });
    }
    Ok(())
}

/// Follows a traversal and names its parameters as they are on disk.
#[derive(Default)]
struct ParamPath {
    prefix: String,
    segments: Vec<String>,
}

impl ParamPath {
    /// The path of the module `name` of the projection or block `prefix`; with an empty name, of
    /// the adapter itself.
    fn new(prefix: &str, name: &str) -> Self {
        Self { prefix: prefix.to_owned(), segments: vec![name.to_owned()] }
    }

    fn enter(&mut self, name: &str, container: &str) {
        // Which variant of an enum is in use is configuration, not a name.
        let name = if container.starts_with("Enum:") { "" } else { name };
        self.segments.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.segments.pop();
    }

    fn name(&self) -> String {
        let segments: Vec<_> =
            self.segments.iter().filter(|segment| !segment.is_empty()).cloned().collect();
        let name = disk_name(&segments.join("."));
        format!("{}.{name}", self.prefix)
    }
}

/// The name on disk of a parameter of an adapter or router, from the path of its fields: what
/// routers and banks are made of is no part of the names.
pub(crate) fn disk_name(path: &str) -> String {
    let name = path.replace("router.strategy.", "router.");
    match name.as_str() {
        "experts.lora_a" => "lora_A.weight",
        "experts.lora_b" => "lora_B.weight",
        "start.lora_a" => "start.lora_A.weight",
        "start.lora_b" => "start.lora_B.weight",
        other => other.strip_prefix("experts.").unwrap_or(other),
    }
    .to_owned()
}

/// The shape on disk: the parameters of a single expert lack the dimension of the experts, as in
/// PEFT.
fn disk_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    let last = |suffix: &str| name.ends_with(suffix) && !name.contains(START);
    match shape {
        [1, rest @ ..] if rest.len() == 2 && last(".lora_A.weight") => rest.to_vec(),
        [1, rest @ ..] if rest.len() == 2 && last(".lora_B.weight") => rest.to_vec(),
        [1, rest @ ..] if rest.len() == 1 && last(".lora_magnitude_vector") => rest.to_vec(),
        _ => shape.to_vec(),
    }
}

/// The same values under another shape of as many elements.
fn reshaped(data: TensorData, shape: Vec<usize>) -> TensorData {
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape, dtype)
}

#[derive(Default)]
struct Reader {
    path: ParamPath,
    state: AdapterState,
    ids: HashSet<ParamId>,
}

impl Reader {
    fn read<M: Module>(&mut self, prefix: &str, name: &str, module: &M) {
        self.path = ParamPath::new(prefix, name);
        module.visit(self);
    }
}

impl ModuleVisitor for Reader {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.name();
        let data = param.val().cast(DType::F32).into_data();
        let shape = disk_shape(&name, &param.val().dims());
        self.state.insert(name, reshaped(data, shape));
        self.ids.insert(param.id);
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let data = param.val().cast(DType::I32).into_data();
        self.state.insert(self.path.name(), data);
    }
}

struct Writer<'a> {
    path: ParamPath,
    state: &'a mut AdapterState,
}

impl ModuleMapper for Writer<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.state.remove(&self.path.name()) else {
            return param;
        };
        param.map(|tensor| {
            let data = reshaped(data, tensor.dims().to_vec());
            let loaded: Tensor<D> = Tensor::from_data(data, &tensor.device());
            let loaded = loaded.cast(tensor.dtype());
            loaded.set_require_grad(tensor.is_require_grad())
        })
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let Some(data) = self.state.remove(&self.path.name()) else {
            return param;
        };
        param.map(|tensor| Tensor::from_data(data, (&tensor.device(), tensor.dtype())))
    }
}
