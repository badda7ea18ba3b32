use std::collections::{BTreeMap, BTreeSet, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};

use crate::select::without_numbers;
use crate::state::{MODEL_ROUTER, check_state};
use crate::target::{Matcher, ends_with};
use crate::{AdapterError, BiasTraining, TargetModules};

/// Follows a traversal of a whole model and names its parameters as Hugging Face checkpoints do.
///
/// The modules of a model are named so already, but for what [`is_unnamed`].
#[derive(Default)]
pub(crate) struct ModelPath {
    names: Vec<String>,
    /// The names that the modules have in code.
    steps: Vec<String>,
    containers: Vec<String>,
}

impl ModelPath {
    /// Whether what is visited belongs to an adapter or a router, and not to the base model.
    fn in_adapter(&self) -> bool {
        let steps = self.containers.iter().zip(&self.steps);
        steps.map(|(container, step)| (container.as_str(), step.as_str())).any(is_adapter)
    }

    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.steps.push(name.to_owned());
        self.names.push(step_name(container, name).to_owned());
        self.containers.push(container.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.names.pop();
        self.steps.pop();
        self.containers.pop();
    }

    /// The path of the module that holds the parameter, and the parameter's name in it.
    pub(crate) fn split(&self) -> (String, &str) {
        let (last, rest) = match self.names.split_last() {
            Some((last, rest)) => (last.as_str(), rest),
            None => ("", &[][..]),
        };
        let path: Vec<_> = rest.iter().filter(|n| !n.is_empty()).map(String::as_str).collect();
        (path.join("."), last)
    }

    fn name(&self) -> String {
        let (path, name) = self.split();
        if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
    }

    /// Whether the parameter is stored transposed: the weight of a linear.
    fn transposed(&self) -> bool {
        self.containers.last().is_some_and(|container| container == "Struct:Linear")
            && self.names.last().is_some_and(|name| name == "weight")
    }
}

/// Whether a step of a traversal is in no name on disk: what wraps a linear, which variant of an enum
/// is in use, and what holds the three projections of an attention.
fn is_unnamed(container: &str, name: &str) -> bool {
    container.starts_with("Enum:")
        || matches!(
            (container, name),
            ("Struct:AdaptedLinear", "base" | "adapter") | ("Struct:Attention", "qkv")
        )
}

/// The name on disk of a step of a traversal; empty where it has none.
pub(crate) fn step_name<'a>(container: &str, name: &'a str) -> &'a str {
    match (container, name) {
        // The head is a linear, which has no place for rows of tokens.
        ("Struct:Decoder", "head_tokens") => "lm_head.token_adapter",
        _ if is_unnamed(container, name) => "",
        _ => name,
    }
}

/// Whether a step of a traversal leads from the base model into what is trained on it.
pub(crate) fn is_adapter(step: (&str, &str)) -> bool {
    matches!(
        step,
        ("Struct:AdaptedLinear", "adapter")
            | ("Struct:GatedFeedForward", "router")
            | (_, MODEL_ROUTER)
    )
}

/// Whether a parameter is to be trained, on or off an autodiff device.
fn is_trainable<const D: usize>(param: &Param<Tensor<D>>) -> bool {
    if param.val().is_autodiff() {
        param.is_require_grad()
    } else {
        // Off autodiff devices only `train` tells.
        param.clone().train().is_require_grad()
    }
}

/// The number of numbers that training changes: parameters of adapters and routers, and what is
/// trained of the base model.
pub fn trainable_parameters<M: Module>(model: &M) -> usize {
    struct Count(usize);
    impl ModuleVisitor for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if is_trainable(param) {
                self.0 += param.val().dims().iter().product::<usize>();
            }
        }
    }
    let mut count = Count(0);
    model.visit(&mut count);
    count.0
}

/// Makes the parameters of whole modules trainable; returns how many.
pub(crate) fn unfreeze<M: Module>(
    model: &mut M,
    modules: Option<&TargetModules>,
    bias: BiasTraining,
    adapted: &dyn Fn(&str) -> bool,
    tied: &[(&str, &str)],
) -> Result<usize, AdapterError> {
    struct Unfreeze<'a> {
        path: ModelPath,
        matcher: Option<Matcher>,
        bias: BiasTraining,
        adapted: &'a dyn Fn(&str) -> bool,
        available: BTreeSet<String>,
        count: usize,
        quantized: Option<String>,
    }
    impl ModuleMapper for Unfreeze<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
            let (module, inner) = self.path.split();
            if container == "Struct:QuantizedLinear"
                && inner == "matrix"
                && self.matcher.as_ref().is_some_and(|m| m.is_match_within(&module))
            {
                self.quantized.get_or_insert(module);
            }
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (module, name) = self.path.split();
            let of_bias = name == "bias"
                && match self.bias {
                    BiasTraining::None => false,
                    BiasTraining::All => true,
                    BiasTraining::LoraOnly => (self.adapted)(&module),
                };
            let whole = self.matcher.as_mut().is_some_and(|m| m.matches_within(&module));
            if !self.path.in_adapter() {
                self.available.insert(without_numbers(&module));
            }
            if of_bias || whole {
                self.count += 1;
                // Updates are far smaller than the steps of a half type.
                let trained = param.map(|tensor| in_order(tensor.cast(DType::F32)));
                return trained.set_require_grad(true);
            }
            param
        }
    }
    let matcher = modules.map(TargetModules::matcher).transpose()?;
    let (path, count) = (ModelPath::default(), 0);
    let available = BTreeSet::new();
    let mut mapper = Unfreeze { path, matcher, bias, adapted, available, count, quantized: None };
    let changed = model.clone().map(&mut mapper);
    if let Some(path) = mapper.quantized {
        return Err(AdapterError::Quantized { path });
    }
    let unused = mapper.matcher.as_ref().map(Matcher::unused).unwrap_or_default();
    if !unused.is_empty() || (modules.is_some() && mapper.count == 0) {
        let missed = |path: &str| match modules {
            Some(TargetModules::Names(_)) => unused.iter().any(|name| ends_with(path, name)),
            _ => mapper.matcher.as_ref().is_some_and(|matcher| matcher.is_match(path)),
        };
        if let Some((module, owner)) = tied.iter().find(|(module, _)| missed(module)) {
            let [module, owner] = [*module, *owner].map(str::to_owned);
            return Err(AdapterError::TiedModule { module, owner });
        }
        let targets = match modules {
            Some(TargetModules::Pattern(pattern)) => format!("{pattern:?}"),
            _ => format!("{unused:?}"),
        };
        let available: Vec<_> = mapper.available.into_iter().collect();
        return Err(AdapterError::ModulesToSave { targets, available: available.join(", ") });
    }
    *model = changed;
    Ok(mapper.count)
}

/// The same with its elements in the order of its shape in memory. What is trained is so when it is
/// first trained, when it is loaded and after every step, so that its products are summed up in one
/// order, and a resumed run makes the same numbers.
fn in_order<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let (device, dtype) = (tensor.device(), tensor.dtype());
    Tensor::from_data(tensor.into_data(), (&device, dtype))
}

/// The trainable parameters of a model that are not among `known`, by the names they have on disk.
pub(crate) fn trainable_state<M: Module>(
    model: &M,
    known: &HashSet<ParamId>,
) -> BTreeMap<String, TensorData> {
    read(model, Wanted::Trainable(known))
}

/// The parameters of a model with the names that they have on disk, trainable or not; those that
/// the model lacks are left out.
pub fn named_state<M: Module>(model: &M, names: &BTreeSet<String>) -> BTreeMap<String, TensorData> {
    read(model, Wanted::Named(names))
}

/// The names that the trainable parameters of a model have on disk, those of adapters apart.
pub fn trainable_names<M: Module>(model: &M) -> BTreeSet<String> {
    trainable_state(model, &HashSet::new()).into_keys().collect()
}

/// Replaces parameters of a model, trainable or not, by the names that they have on disk. `origin`
/// names the source in errors.
///
/// # Errors
///
/// [`AdapterError`] when the model lacks one of them, or has it with another shape. The model is
/// then unchanged.
pub fn load_named_state<M: Module>(
    model: &mut M,
    mut state: BTreeMap<String, TensorData>,
    origin: &str,
) -> Result<(), AdapterError> {
    let current = named_state(model, &state.keys().cloned().collect());
    check_state(&current, &state, origin)?;
    load_trainable(model, &mut state);
    Ok(())
}

/// Which parameters of a model are read.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// Trainable ones that are not among these.
    Trainable(&'a HashSet<ParamId>),
    /// These.
    Named(&'a BTreeSet<String>),
}

fn read<M: Module>(model: &M, wanted: Wanted<'_>) -> BTreeMap<String, TensorData> {
    struct Reader<'a> {
        path: ModelPath,
        wanted: Wanted<'a>,
        state: BTreeMap<String, TensorData>,
    }
    impl ModuleVisitor for Reader<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let wanted = match self.wanted {
                Wanted::Trainable(known) => !known.contains(&param.id) && is_trainable(param),
                Wanted::Named(names) => names.contains(&self.path.name()),
            };
            if !wanted {
                return;
            }
            let mut value: Tensor<D> = param.val().cast(DType::F32);
            if self.path.transposed() {
                value = value.transpose();
            }
            self.state.insert(self.path.name(), value.into_data());
        }
    }
    let mut reader = Reader { path: ModelPath::default(), wanted, state: BTreeMap::new() };
    model.visit(&mut reader);
    reader.state
}

/// Replaces the trainable parameters that [`trainable_state`] reads by those of `state`, which
/// have been checked.
pub(crate) fn load_trainable<M: Module>(model: &mut M, state: &mut BTreeMap<String, TensorData>) {
    struct Writer<'a> {
        path: ModelPath,
        state: &'a mut BTreeMap<String, TensorData>,
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
            let transposed = self.path.transposed();
            param.map(|tensor| {
                let mut loaded: Tensor<D> = Tensor::from_data(data, &tensor.device());
                if transposed {
                    loaded = in_order(loaded.transpose());
                }
                let loaded: Tensor<D> = loaded.cast(tensor.dtype());
                loaded.set_require_grad(tensor.is_require_grad())
            })
        }
    }
    if !state.is_empty() {
        *model = model.clone().map(&mut Writer { path: ModelPath::default(), state });
    }
}
