use std::collections::{BTreeMap, BTreeSet};

use burn::module::{LoraAdapter, Module, ModuleVisitor, Param, Reparameterizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use lora_expert::ExpertsConfig;
use moe_adapter::{
    Adaptable, AdapterConfig, AdapterError, AdapterState, BaseLinear, StoredAdapter, TargetModules,
};

use crate::ArithmeticError;
use crate::experts::{Single, StoredExperts};
use crate::matrix::Matrix;
use crate::part::Part;
use crate::sizes::set_sizes;

/// The name of Burn's LoRA among the parameters of a module.
const LORA: &str = "lora";

/// The LoRA that Burn's `Module::apply_lora` put on the linears of a model, as an adapter of this
/// project. Burn computes `W + scale A' B'` with `A'` `[I, r]` and `B'` `[r, O]`; here `A` is `A'^T`,
/// `B` is `B'^T`, and `lora_alpha` is `scale r`.
///
/// # Errors
///
/// [`AdapterError::NoAdapter`] when no linear has one, and [`ArithmeticError::CannotCombine`] naming a
/// parameter outside of the linears that has one, as an embedding, or anything that is no LoRA of
/// Burn.
pub fn from_burn_lora<M>(
    model: &M,
    base_model: Option<&str>,
) -> Result<StoredAdapter, ArithmeticError>
where
    M: Adaptable<Projection = BaseLinear>,
{
    let mut state = AdapterState::new();
    let mut sizes = BTreeMap::new();
    let mut plain = BTreeSet::new();
    let mut found = 0;
    model.visit_projections(&mut |path, _, linear| {
        let adapter = match linear {
            BaseLinear::Dense(linear) => linear.weight.adapter(),
            BaseLinear::Quantized(_) => None,
        };
        let Some(LoraAdapter { a, b, scale }) = adapter else {
            plain.insert(path.to_owned());
            return;
        };
        found += 1;
        let rank = a.dims()[1];
        let disk = |factor: &Param<Tensor<2>>| {
            factor.val().detach().cast(DType::F32).transpose().into_data()
        };
        let (a, mut b) = (disk(a), disk(b));
        let mut alpha = scale * rank as f64;
        if alpha <= 0.0 {
            // `lora_alpha` is above 0.
            (b, alpha) = (scaled(b, *scale), rank as f64);
        }
        state.insert(format!("{path}.lora_A.weight"), a);
        state.insert(format!("{path}.lora_B.weight"), b);
        sizes.insert(path.to_owned(), (rank, alpha));
    });
    let all = reparameterized(model);
    if let Some(name) = all.iter().find(|(_, kind)| kind != LORA).map(|(name, _)| name) {
        return Err(ArithmeticError::CannotCombine {
            what: name.clone(),
            reason: "its reparameterization is no LoRA of Burn".into(),
        });
    }
    if all.len() > found {
        let linears: BTreeSet<_> = sizes.keys().map(|path| format!("{path}.weight")).collect();
        let other = all.into_iter().map(|(name, _)| name).find(|name| !linears.contains(name));
        return Err(ArithmeticError::CannotCombine {
            what: other.unwrap_or_default(),
            reason: "it has a LoRA, but is no linear of the model's layers; choose the linears \
                     with a `ParamGroup`"
                .into(),
        });
    }
    if sizes.is_empty() {
        return Err(AdapterError::NoAdapter.into());
    }
    let targets = TargetModules::Names(target_names(sizes.keys(), &plain));
    let mut config = AdapterConfig::lora(1, 1.0, targets);
    set_sizes(&mut config, &sizes);
    Ok(StoredAdapter {
        config,
        state,
        base_model_name_or_path: base_model.map(str::to_owned),
        task_type: model.task_type().map(str::to_owned),
        precision: None,
        source: None,
    })
}

/// Puts a single LoRA on a model of Burn's linears as Burn's own `LoraAdapter`; returns on how
/// many. As with `Module::apply_lora`, everything else of the model is frozen.
///
/// # Errors
///
/// [`ArithmeticError::CannotCombine`] for mixtures, DoRA, (IA)^3, parameters that were trained as a
/// whole, and linears that the model lacks, that have another size, or carry a LoRA already.
pub fn to_burn_lora<M>(model: &mut M, adapter: &StoredAdapter) -> Result<usize, ArithmeticError>
where
    M: Adaptable<Projection = BaseLinear>,
{
    let config = &adapter.config;
    let refused = |what: &str, reason: &str| ArithmeticError::CannotCombine {
        what: what.into(),
        reason: reason.into(),
    };
    if config.is_mixture() || config.shared_experts > 0 {
        let reason = "Burn has no mixtures; take one expert out, or a mixture at fixed weights";
        return Err(refused("the adapter", reason));
    }
    if matches!(config.experts, ExpertsConfig::Dora {} | ExpertsConfig::Ia3 {}) {
        return Err(refused("the adapter", "Burn has LoRA only, without magnitudes and vectors"));
    }
    if let Some(name) = adapter.state.keys().find(|name| Part::of(name) == Part::Whole) {
        return Err(refused(name, "it was trained as a whole, for which a LoRA has no place"));
    }
    let mut left = StoredExperts::of(adapter)?;
    let count = left.len();
    let mut changed = model.clone().no_grad();
    let mut failed = None;
    changed.visit_projections_mut(&mut |path, _, linear| {
        let Some(experts) = left.remove(path) else { return };
        let Single { a, b, scaling, .. } = experts.single(0);
        let [in_features, out_features] = linear.dims();
        let BaseLinear::Dense(linear) = linear else {
            failed.get_or_insert(refused(path, "it is quantised, which Burn's LoRA is not for"));
            return;
        };
        if a.cols != in_features || b.rows != out_features {
            let found = format!("the adapter is for [{}, {}]", b.rows, a.cols);
            failed.get_or_insert(refused(path, &found));
        } else if linear.weight.adapter().is_some() {
            failed.get_or_insert(refused(path, "it carries a LoRA already"));
        } else {
            let device = linear.weight.base().device();
            let factor = |matrix| burn_factor(matrix, &linear.weight, &device);
            let lora = LoraAdapter { a: factor(a), b: factor(b), scale: scaling };
            linear.weight = linear.weight.clone().apply_reparameterization(Given(Some(lora)));
        }
    });
    if let Some(path) = left.keys().next() {
        failed.get_or_insert(refused(path, "the model has no such linear"));
    }
    if let Some(error) = failed {
        return Err(error);
    }
    *model = changed;
    Ok(count)
}

/// A factor as Burn has it, of the dtype of the weight where that is a float.
fn burn_factor(matrix: Matrix, weight: &Param<Tensor<2>>, device: &Device) -> Param<Tensor<2>> {
    let factor = Tensor::<2>::from_data(Matrix::stack(vec![matrix]), device).transpose();
    let dtype = weight.base().dtype();
    Param::from_tensor(if dtype.is_float() { factor.cast(dtype) } else { factor })
}

/// Gives one parameter a LoRA that is there already.
struct Given(Option<LoraAdapter>);

impl Reparameterizer for Given {
    type Reparam = LoraAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
        (param, self.0.take())
    }
}

/// The parameters of a model that have a reparameterization, with its name.
fn reparameterized<M: Module>(model: &M) -> Vec<(String, String)> {
    #[derive(Default)]
    struct Names {
        path: Vec<String>,
        found: Vec<(String, String)>,
    }
    impl ModuleVisitor for Names {
        fn enter_module(&mut self, name: &str, container: &str) {
            if container == "Reparameterization" {
                let named = self.path.iter().filter(|name| !name.is_empty());
                let path: Vec<_> = named.map(String::as_str).collect();
                self.found.push((path.join("."), name.to_owned()));
            }
            // Which variant a linear is of is in no name.
            let name = if container.starts_with("Enum:") { "" } else { name };
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
    }
    let mut names = Names::default();
    model.visit(&mut names);
    names.found
}

/// The last parts of the paths, where they name no linear besides; else the whole paths.
fn target_names<'a>(
    paths: impl Iterator<Item = &'a String> + Clone,
    others: &BTreeSet<String>,
) -> Vec<String> {
    let last = |path: &str| path.rsplit('.').next().unwrap_or(path).to_owned();
    let short: BTreeSet<String> = paths.clone().map(|path| last(path)).collect();
    match others.iter().any(|path| short.contains(&last(path))) {
        true => paths.cloned().collect(),
        false => short.into_iter().collect(),
    }
}

fn scaled(data: TensorData, factor: f64) -> TensorData {
    let values: Vec<f32> = data.iter::<f32>().map(|v| (f64::from(v) * factor) as f32).collect();
    TensorData::new(values, data.shape().clone())
}
