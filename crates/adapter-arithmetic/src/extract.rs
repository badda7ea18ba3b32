use std::collections::BTreeMap;

use burn::tensor::TensorData;
use lora_expert::{ExpertsConfig, IdentityMode};
use moe_adapter::{AdapterConfig, AdapterState, RouterScope, StoredAdapter};
use router::RouterConfig;

use crate::ArithmeticError;
use crate::experts::{Single, StoredExperts};
use crate::matrix::Matrix;
use crate::merge::check_weights;
use crate::part::Part;
use crate::sizes::set_sizes;

/// One expert of a mixture as an adapter of its own, a LoRA that PEFT reads: on its linears it
/// computes `W x + f_e(x)`. Experts are counted as the router counts them, the shared ones last.
///
/// `lora_alpha` is chosen so that the scaling stays the same; where the scaling differs by linear,
/// it is in `alpha_pattern`. A shared `A` is copied. A DoRA expert keeps its magnitude, an (IA)^3
/// expert its vector. Where the start took a product out of the frozen weights, the expert gets
/// its factors with the opposite sign, so that it fits the base model; its rank grows by theirs.
/// What was trained as a whole stays. Of a router of whole feed-forward blocks, linears outside of
/// blocks keep the adapter that they have.
///
/// # Errors
///
/// [`ArithmeticError::ExpertNotFound`] for an expert that a layer lacks, and
/// [`ArithmeticError::CannotCombine`] for an identity expert, and for a start that is not stored.
pub fn extract_expert(
    adapter: &StoredAdapter,
    expert: usize,
) -> Result<StoredAdapter, ArithmeticError> {
    let config = &adapter.config;
    let Some(trained) = expert.checked_sub(config.identity_experts) else {
        return Err(ArithmeticError::CannotCombine {
            what: format!("expert {expert}"),
            reason: format!(
                "it is an identity expert, which has no parameters; trained ones are counted from {}",
                config.identity_experts
            ),
        });
    };
    let by_block = config.router_scope == RouterScope::FeedForward;
    let index = |path: &str, experts: usize| match trained {
        _ if by_block && experts == 1 => Ok(0),
        trained if trained < experts => Ok(trained),
        _ => {
            let experts = experts + config.identity_experts;
            Err(ArithmeticError::ExpertNotFound { path: path.into(), expert, experts })
        }
    };
    if matches!(config.experts, ExpertsConfig::Ia3 {}) {
        return vectors(adapter, |path, vectors| Ok(vectors[index(path, vectors.len())?].clone()));
    }
    let mut singles = BTreeMap::new();
    for (path, experts) in StoredExperts::of(adapter)? {
        let single = experts.single(index(&path, experts.len())?);
        singles.insert(path, single);
    }
    Ok(low_rank(adapter, singles))
}

/// A mixture at fixed weights as one LoRA, of the rank of all experts together: `A` is stacked, and
/// `B` is `w_e s_e B_e` side by side, so that it is `sum_e w_e s_e B_e A_e`. Shared experts have
/// weight 1. With one `A` for all experts the rank stays, and `B` is `sum_e w_e s_e B_e`. Mixtures
/// of (IA)^3 vectors become one vector.
///
/// `weights` are in the order of the router's experts; without them, the router must be uniform.
///
/// # Errors
///
/// [`ArithmeticError::ExpertWeights`] when they are not one for each expert of every layer,
/// [`ArithmeticError::InputDependent`] when they are needed, [`ArithmeticError::BlockRouter`] for a
/// router of whole blocks, and [`ArithmeticError::CannotCombine`] for what is no LoRA: a mixture of
/// DoRA experts, identity experts that pass their input on, and a start that is not stored.
pub fn extract_mixture(
    adapter: &StoredAdapter,
    weights: Option<&[f64]>,
) -> Result<StoredAdapter, ArithmeticError> {
    let config = &adapter.config;
    let refused = |reason: &str| ArithmeticError::CannotCombine {
        what: "the mixture".into(),
        reason: reason.into(),
    };
    if config.router_scope == RouterScope::FeedForward {
        return Err(ArithmeticError::BlockRouter { path: "the adapter".into() });
    }
    if !config.is_mixture() && (config.shared_experts == 0 || weights.is_some()) {
        return Err(ArithmeticError::CannotCombine {
            what: "the adapter".into(),
            reason: "it is a single adapter already, without a router to give weights for".into(),
        });
    }
    if matches!(config.experts, ExpertsConfig::Dora {}) {
        return Err(refused(
            "DoRA experts divide by norms of their own, so their sum is no LoRA; take out one \
             expert, or merge the mixture into its model (lora-moe merge --weights)",
        ));
    }
    let (identity, shared) = (config.identity_experts, config.shared_experts);
    let weights_of = |path: &str, trained: usize| {
        let experts = identity + trained.saturating_sub(shared);
        let mut all = match weights {
            _ if experts == 1 => vec![1.0],
            Some(weights) => {
                check_weights(path, weights, experts)?;
                weights.to_vec()
            }
            None if matches!(config.router, RouterConfig::Uniform {}) => {
                vec![1.0 / experts as f64; experts]
            }
            None => return Err(ArithmeticError::InputDependent { path: path.into() }),
        };
        let passed: f64 = all.drain(..identity).sum();
        if passed != 0.0 && config.identity_mode == IdentityMode::PassThrough {
            return Err(refused("its identity experts pass their input on, which is no LoRA"));
        }
        all.resize(trained, 1.0);
        Ok(all)
    };
    if matches!(config.experts, ExpertsConfig::Ia3 {}) {
        return vectors(adapter, |path, vectors| {
            let weights = weights_of(path, vectors.len())?;
            let mut sum = vec![1.0_f64; vectors.first().map_or(0, Vec::len)];
            for (vector, weight) in vectors.iter().zip(weights) {
                for (sum, value) in sum.iter_mut().zip(vector) {
                    *sum += weight * (f64::from(*value) - 1.0);
                }
            }
            Ok(sum.into_iter().map(|value| value as f32).collect())
        });
    }
    let mut singles = BTreeMap::new();
    for (path, experts) in StoredExperts::of(adapter)? {
        let single = experts.sum(&weights_of(&path, experts.len())?);
        singles.insert(path, single);
    }
    Ok(low_rank(adapter, singles))
}

/// A single adapter in the place of a mixture; `change` makes the vector of a linear from those of
/// its experts.
fn vectors(
    adapter: &StoredAdapter,
    change: impl Fn(&str, &[Vec<f32>]) -> Result<Vec<f32>, ArithmeticError>,
) -> Result<StoredAdapter, ArithmeticError> {
    let mut state = whole(adapter);
    for (name, data) in &adapter.state {
        let Some(path) = name.strip_suffix(".ia3_l") else { continue };
        let values: Vec<f32> = data.iter::<f32>().collect();
        let outputs = data.shape().as_slice().last().copied().unwrap_or(1).max(1);
        let vectors: Vec<Vec<f32>> = values.chunks(outputs).map(<[f32]>::to_vec).collect();
        let vector = change(path, &vectors)?;
        state.insert(name.clone(), TensorData::new(vector, [1, outputs]));
    }
    Ok(single(adapter, ExpertsConfig::Ia3 {}, state))
}

fn low_rank(adapter: &StoredAdapter, singles: BTreeMap<String, Single>) -> StoredAdapter {
    let mut state = whole(adapter);
    let mut sizes = BTreeMap::new();
    for (path, Single { a, b, scaling, magnitude }) in singles {
        sizes.insert(path.clone(), (a.rows, scaling * a.rows as f64));
        state.insert(format!("{path}.lora_A.weight"), Matrix::stack(vec![a]));
        state.insert(format!("{path}.lora_B.weight"), Matrix::stack(vec![b]));
        if let Some(magnitude) = magnitude {
            let outputs = magnitude.len();
            let data = TensorData::new(magnitude, [outputs]);
            state.insert(format!("{path}.lora_magnitude_vector"), data);
        }
    }
    let experts = match adapter.config.experts {
        ExpertsConfig::Dora {} => ExpertsConfig::Dora {},
        _ => ExpertsConfig::default(),
    };
    let mut adapter = single(adapter, experts, state);
    set_sizes(&mut adapter.config, &sizes);
    adapter
}

/// What of an adapter was trained as a whole.
fn whole(adapter: &StoredAdapter) -> AdapterState {
    let whole = adapter.state.iter().filter(|(name, _)| Part::of(name) == Part::Whole);
    whole.map(|(name, data)| (name.clone(), data.clone())).collect()
}

/// A single adapter of the same linears.
fn single(adapter: &StoredAdapter, experts: ExpertsConfig, state: AdapterState) -> StoredAdapter {
    let from = &adapter.config;
    let config = AdapterConfig {
        experts,
        lora_dropout: from.lora_dropout,
        exclude_modules: from.exclude_modules.clone(),
        layers_to_transform: from.layers_to_transform.clone(),
        bias: from.bias,
        target_parameters: from.target_parameters.clone(),
        modules_to_save: from.modules_to_save.clone(),
        trainable_token_indices: from.trainable_token_indices.clone(),
        ..AdapterConfig::lora(from.r, from.lora_alpha, from.target_modules.clone())
    };
    StoredAdapter {
        config,
        state,
        base_model_name_or_path: adapter.base_model_name_or_path.clone(),
        task_type: adapter.task_type.clone(),
        precision: adapter.precision,
        source: None,
    }
}
