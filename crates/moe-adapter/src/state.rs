use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};

use crate::{Adaptable, AdaptedProjection, AdapterError};

/// The parameters of all adapters of a model by the names they have on disk, in f32.
///
/// The factors of the experts are `<path>.lora_A.weight` `[E, r, in]` and `<path>.lora_B.weight`
/// `[E, out, r]`; with a single expert they have PEFT's two dimensions. Everything else keeps the
/// name that its module has, as in `<path>.router.weight`.
pub type AdapterState = BTreeMap<String, TensorData>;

/// Reads the parameters of all adapters of a model; empty where there are none.
pub fn adapter_state<M>(model: &M) -> AdapterState
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    let mut state = AdapterState::new();
    model.visit_projections(&mut |path, _, projection| {
        if let Some(adapter) = projection.adapter() {
            let mut reader = Reader { path: ParamPath::new(path), state: &mut state };
            adapter.visit(&mut reader);
        }
    });
    state
}

/// Replaces the parameters of all adapters of a model. `origin` names the source in errors.
///
/// # Errors
///
/// [`AdapterError`] when a tensor is missing, has another shape, or has no place. The model is
/// then unchanged.
pub fn load_adapter_state<M>(
    model: &mut M,
    mut state: AdapterState,
    origin: &str,
) -> Result<(), AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    check_state(&adapter_state(model), &state, origin)?;
    model.visit_projections_mut(&mut |path, _, projection| {
        if let Some(adapter) = projection.replace_adapter(None) {
            let mut writer = Writer { path: ParamPath::new(path), state: &mut state };
            let adapter = adapter.map(&mut writer);
            projection.replace_adapter(Some(adapter));
        }
    });
    Ok(())
}

fn check_state(
    expected: &AdapterState,
    found: &AdapterState,
    origin: &str,
) -> Result<(), AdapterError> {
    for (name, data) in expected {
        let Some(given) = found.get(name) else {
            return Err(AdapterError::MissingTensor { origin: origin.into(), name: name.clone() });
        };
        if given.shape() != data.shape() || given.dtype() != DType::F32 {
            return Err(AdapterError::TensorMismatch {
                origin: origin.into(),
                name: name.clone(),
                found: format!("{:?} {:?}", given.dtype(), given.shape().as_slice()),
                expected: format!("F32 {:?}", data.shape().as_slice()),
            });
        }
    }
    let names: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    if !names.is_empty() {
        let shown: Vec<_> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
        return Err(AdapterError::UnexpectedTensors {
            origin: origin.into(),
            count: names.len(),
            names: shown.join(", "),
        });
    }
    Ok(())
}

/// Follows a traversal and names its parameters as they are on disk.
struct ParamPath {
    prefix: String,
    segments: Vec<String>,
}

impl ParamPath {
    fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), segments: Vec::new() }
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
        let name = match segments.join(".").as_str() {
            "experts.lora_a" => "lora_A.weight".to_owned(),
            "experts.lora_b" => "lora_B.weight".to_owned(),
            other => other.to_owned(),
        };
        format!("{}.{name}", self.prefix)
    }
}

/// The shape on disk: the factors of a single expert have two dimensions, as in PEFT.
fn disk_shape(name: &str, shape: &[usize]) -> Vec<usize> {
    let factor = name.ends_with(".lora_A.weight") || name.ends_with(".lora_B.weight");
    match shape {
        [1, rest @ ..] if factor && rest.len() == 2 => rest.to_vec(),
        _ => shape.to_vec(),
    }
}

/// The same values under another shape of as many elements.
fn reshaped(data: TensorData, shape: Vec<usize>) -> TensorData {
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape, dtype)
}

struct Reader<'a> {
    path: ParamPath,
    state: &'a mut AdapterState,
}

impl ModuleVisitor for Reader<'_> {
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
}
