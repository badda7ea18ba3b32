use std::collections::{BTreeMap, BTreeSet};

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use lora_expert::ExpertsConfig;
use moe_adapter::{
    AdapterConfig, AdapterState, RouterScope, StoredAdapter, TargetModules, module_state,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use router::{Affine, AnyRouter, BatchContext, Router, RouterConfig, RouterShape, Site};

use crate::experts::{Single, StoredExperts};
use crate::matrix::Matrix;
use crate::part::Part;
use crate::sizes::set_sizes;
use crate::{ArithmeticError, MixOptions};

/// A mixture of adapters that were trained one by one.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// The mixture.
    pub adapter: StoredAdapter,
    /// What to know of it: where adapters did not agree, and what the router does at the start.
    pub notes: Vec<String>,
}

/// Makes a mixture of single LoRA or DoRA adapters of the same base model, one expert each, in
/// their order. Each expert computes exactly what its adapter did: its scaling is in `B`, so that
/// the scaling of the mixture is 1, and ranks are padded with zeros to the largest of a linear.
///
/// Where an adapter lacks a linear that another one adapts, its expert is zero there. With gates of
/// zeros a dense router starts as the mean of the adapters. A start that took a product out of the
/// frozen weights is part of its expert, as in [`extract_expert`](crate::extract_expert).
///
/// Source: mixtures of trained LoRAs, LoraHub, arXiv 2307.13269; X-LoRA, arXiv 2402.07148.
///
/// # Errors
///
/// [`ArithmeticError::CannotCombine`] for fewer than two adapters, mixtures, experts of different
/// kinds, parameters that were trained as a whole, linears of different sizes, and DoRA adapters of
/// different linears; [`ArithmeticError::Router`] for a router that cannot choose between so many.
pub fn mix_adapters(
    adapters: &[StoredAdapter],
    options: &MixOptions,
    device: &Device,
) -> Result<Mixed, ArithmeticError> {
    let [first, _, ..] = adapters else {
        return Err(ArithmeticError::CannotCombine {
            what: "the mixture".into(),
            reason: format!("it needs at least 2 adapters, and there are {}", adapters.len()),
        });
    };
    let mut singles = Vec::with_capacity(adapters.len());
    for (index, adapter) in adapters.iter().enumerate() {
        check_single(index, adapter, &first.config.experts)?;
        let experts = StoredExperts::of(adapter).map_err(|error| match error {
            ArithmeticError::CannotCombine { reason, .. } => {
                ArithmeticError::CannotCombine { what: ordinal(index), reason }
            }
            error => error,
        })?;
        singles.push(
            experts
                .into_iter()
                .map(|(path, experts)| (path, experts.single(0)))
                .collect::<BTreeMap<_, _>>(),
        );
    }
    let paths: BTreeSet<&String> = singles.iter().flat_map(BTreeMap::keys).collect();
    let mut notes = differing_bases(adapters);
    for (index, of_adapter) in singles.iter().enumerate() {
        let lacking: Vec<_> =
            paths.iter().filter(|path| !of_adapter.contains_key(**path)).collect();
        if let Some(path) = lacking.first() {
            notes.push(format!(
                "{} adapts {} of {} linears; its expert is zero on the others, as on {path}",
                ordinal(index),
                of_adapter.len(),
                paths.len()
            ));
        }
    }
    let mut state = AdapterState::new();
    let mut sizes = BTreeMap::new();
    let mut rng = ChaCha8Rng::seed_from_u64(options.router_seed.unwrap_or(0));
    let num_experts = adapters.len();
    let of_model = matches!(options.router, RouterConfig::XLora(_));
    let mut hidden_size = None;
    for path in &paths {
        let of_path: Vec<_> = singles.iter().map(|of_adapter| of_adapter.get(*path)).collect();
        let (rank, [in_features, out_features]) = add_experts(path, &of_path, &mut state)?;
        sizes.insert((*path).clone(), (rank, rank as f64));
        if of_model {
            hidden_size = hidden_size.or(hidden_size_at(path, [in_features, out_features]));
            continue;
        }
        let shape = RouterShape::new(in_features, num_experts + options.identity_experts)
            .with_identity_experts(options.identity_experts);
        options.router.check(&shape)?;
        let mut router = options.router.init(&shape, &mut rng, device)?;
        if let (None, Some(gate)) = (options.router_seed, router.gate_weight_mut()) {
            *gate = Param::from_tensor(Tensor::zeros(gate.dims(), device));
        }
        if sizes.len() == 1 && options.router_seed.is_none() {
            notes.extend(uneven(&router, in_features, device));
        }
        state.extend(module_state(path, "router", &router));
    }
    if let RouterConfig::XLora(classifier) = &options.router {
        let experts = num_experts + options.identity_experts;
        let shape = RouterShape::new(hidden_size.ok_or_else(no_hidden_size)?, experts);
        let sites = vec![Site::new(0, ""); paths.len()];
        let mut router = classifier.init(&shape, sites, &mut rng, device)?;
        if options.router_seed.is_none()
            && let Some(last) = router.layers.last_mut()
        {
            *last = Affine::zeros([last.weight.dims()[1], last.weight.dims()[0]], device)
                .with_bias(0.0, device);
        }
        state.extend(module_state("model_router", "", &router));
    }
    let mut config = AdapterConfig {
        router_scope: if of_model { RouterScope::Model } else { RouterScope::Projection },
        num_experts,
        identity_experts: options.identity_experts,
        identity_mode: options.identity_mode,
        router: options.router.clone(),
        balance_loss: options.balance_loss.clone(),
        experts: match first.config.experts {
            ExpertsConfig::Dora {} => ExpertsConfig::Dora {},
            _ => ExpertsConfig::default(),
        },
        ..same_targets(adapters).unwrap_or_else(|| {
            let names = paths.iter().map(|path| (*path).clone()).collect();
            AdapterConfig::lora(1, 1.0, TargetModules::Names(names))
        })
    };
    set_sizes(&mut config, &sizes);
    config.check()?;
    let adapter = StoredAdapter {
        config,
        state,
        base_model_name_or_path: first.base_model_name_or_path.clone(),
        task_type: first.task_type.clone(),
        precision: None,
        source: None,
    };
    Ok(Mixed { adapter, notes })
}

fn ordinal(index: usize) -> String {
    format!("adapter {}", index + 1)
}

/// Whether an adapter can be an expert beside those of a kind.
fn check_single(
    index: usize,
    adapter: &StoredAdapter,
    kind: &ExpertsConfig,
) -> Result<(), ArithmeticError> {
    let config = &adapter.config;
    let dora = |experts: &ExpertsConfig| matches!(experts, ExpertsConfig::Dora {});
    let whole = adapter.state.keys().find(|name| Part::of(name) == Part::Whole);
    let reason = if config.is_mixture() || config.shared_experts > 0 {
        "it is a mixture already; take its experts out first (lora-moe extract)".to_owned()
    } else if matches!(config.experts, ExpertsConfig::Ia3 {}) {
        "(IA)^3 vectors are not low-rank; LoRA and DoRA adapters can be mixed".to_owned()
    } else if dora(&config.experts) != dora(kind) {
        "it is DoRA and another one LoRA; the experts of a mixture are of one kind".to_owned()
    } else if let Some(name) = whole {
        format!("it trained `{name}` as a whole, which cannot be mixed")
    } else {
        return Ok(());
    };
    Err(ArithmeticError::CannotCombine { what: ordinal(index), reason })
}

/// The size of a decoder's hidden states by the sizes of one of its linears.
fn hidden_size_at(path: &str, [in_features, out_features]: [usize; 2]) -> Option<usize> {
    const FROM_HIDDEN: [&str; 7] =
        ["q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj"];
    match path.rsplit('.').next().unwrap_or(path) {
        name if FROM_HIDDEN.contains(&name) => Some(in_features),
        "o_proj" | "down_proj" => Some(out_features),
        _ => None,
    }
}

fn no_hidden_size() -> ArithmeticError {
    ArithmeticError::CannotCombine {
        what: "router `x_lora`".into(),
        reason:
            "it reads the hidden states of a decoder, and no adapter adapts a linear of one that \
                 tells their size, such as q_proj or down_proj"
                .into(),
    }
}

/// Stacks the experts of one linear, padded with zeros; returns the rank, and the numbers of inputs
/// and outputs.
fn add_experts(
    path: &str,
    singles: &[Option<&Single>],
    state: &mut AdapterState,
) -> Result<(usize, [usize; 2]), ArithmeticError> {
    let refused = |reason: String| ArithmeticError::CannotCombine { what: path.into(), reason };
    let known: Vec<&Single> = singles.iter().flatten().copied().collect();
    let sizes: BTreeSet<_> = known.iter().map(|single| [single.a.cols, single.b.rows]).collect();
    let [in_features, out_features] = match sizes.first() {
        Some(size) if sizes.len() == 1 => *size,
        _ => {
            let found = format!("{sizes:?}");
            return Err(refused(format!(
                "the adapters are of different base models: they have inputs and outputs {found}"
            )));
        }
    };
    let rank = known.iter().map(|single| single.a.rows).max().unwrap_or(1);
    let (mut a, mut b, mut magnitudes) = (Vec::new(), Vec::new(), Vec::<f32>::new());
    for single in singles {
        let Some(single) = single else {
            if known.iter().any(|single| single.magnitude.is_some()) {
                return Err(refused(
                    "not every adapter adapts it, and a DoRA expert that does nothing needs the \
                     norm of the weight; adapt the same linears"
                        .into(),
                ));
            }
            a.push(Matrix::zeros(rank, in_features));
            b.push(Matrix::zeros(out_features, rank));
            continue;
        };
        let missing = rank - single.a.rows;
        a.push(Matrix::below(&[single.a.clone(), Matrix::zeros(missing, in_features)]));
        let scaled = single.b.clone().scaled(single.scaling);
        b.push(Matrix::beside(&[scaled, Matrix::zeros(out_features, missing)]));
        magnitudes.extend(single.magnitude.iter().flatten());
    }
    state.insert(format!("{path}.lora_A.weight"), Matrix::stack(a));
    state.insert(format!("{path}.lora_B.weight"), Matrix::stack(b));
    if !magnitudes.is_empty() {
        let data = TensorData::new(magnitudes, [singles.len(), out_features]);
        state.insert(format!("{path}.lora_magnitude_vector"), data);
    }
    Ok((rank, [in_features, out_features]))
}

/// The keys that say which linears are adapted, where all adapters agree on them.
fn same_targets(adapters: &[StoredAdapter]) -> Option<AdapterConfig> {
    let targets = |adapter: &StoredAdapter| AdapterConfig {
        exclude_modules: adapter.config.exclude_modules.clone(),
        layers_to_transform: adapter.config.layers_to_transform.clone(),
        ..AdapterConfig::lora(1, 1.0, adapter.config.target_modules.clone())
    };
    let first = targets(adapters.first()?);
    adapters.iter().all(|adapter| targets(adapter) == first).then_some(first)
}

fn differing_bases(adapters: &[StoredAdapter]) -> Vec<String> {
    let bases: BTreeSet<_> =
        adapters.iter().filter_map(|adapter| adapter.base_model_name_or_path.as_deref()).collect();
    if bases.len() < 2 {
        return Vec::new();
    }
    let bases: Vec<_> = bases.into_iter().collect();
    vec![format!("the adapters name different base models: {}", bases.join(", "))]
}

/// The weights of a token that does not get the mean of all experts from a router at its start.
fn uneven(router: &AnyRouter, in_features: usize, device: &Device) -> Option<String> {
    const TOKENS: usize = 8;
    let tokens = Tensor::ones([TOKENS, in_features], device);
    let weights = router.route(tokens, &BatchContext::new(1, TOKENS)).weights;
    let weights: Vec<f32> = weights.into_data().iter::<f32>().collect();
    let experts = router.num_experts();
    let mean = 1.0 / experts as f32;
    let uneven = weights
        .chunks(experts)
        .find(|token| token.iter().any(|weight| (weight - mean).abs() > 1e-6))?;
    Some(format!(
        "the router does not start as the mean of its experts; it gives a token the weights \
         {uneven:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_adapter_is_no_mixture() {
        let error = mix_adapters(&[], &MixOptions::default(), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("at least 2"), "{error}");
    }
}
