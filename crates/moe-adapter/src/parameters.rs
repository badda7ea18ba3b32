//! Adapters of parameters that hold all experts of a base model in one (`target_parameters`), as PEFT
//! stores them: each expert has an adapter here, and a folder has those of all in two matrices.

use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;

use crate::target::ends_with;
use crate::{AdapterError, AdapterState};

/// The parameter of gate and up projections, `[E, 2 F, H]`: the first that a module declares.
const GATE_UP: &str = "gate_up_proj";
/// The parameter of down projections, `[E, H, F]`.
const DOWN: &str = "down_proj";
/// What PEFT puts behind a module for each parameter of it but the last.
const BASE_LAYER: &str = ".base_layer";
/// `A` and `B` with their names.
type Factors = [Option<(String, TensorData)>; 2];

const FACTORS: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];

/// The module of all experts, the expert, and the parameter of a linear with a path such as
/// `model.layers.0.mlp.experts.3.down_proj`.
fn expert_of(path: &str) -> Option<(&str, usize, &str)> {
    let (rest, parameter) = path.rsplit_once('.')?;
    let (module, expert) = rest.rsplit_once('.')?;
    (module.ends_with(".experts")).then_some((module, expert.parse().ok()?, parameter))
}

/// Which of the parameters `targets` the linear of an expert is a part of; the target is remembered.
pub(crate) fn is_target(path: &str, targets: &[String], used: &mut BTreeSet<String>) -> bool {
    let Some((module, _, parameter)) = expert_of(path) else { return false };
    let parameter = format!("{module}.{parameter}");
    let found: Vec<_> = targets.iter().filter(|target| ends_with(&parameter, target)).collect();
    used.extend(found.iter().map(|target| (*target).clone()));
    !found.is_empty()
}

/// The name of a linear's parameter, without the number of its expert.
pub(crate) fn parameter_name(path: &str) -> Option<String> {
    let (module, _, parameter) = expert_of(path)?;
    Some(format!("{module}.{parameter}"))
}

/// Puts the adapters of experts together: `A` is `[E r, in]`, an expert after the other; `B` is
/// `[out, r E]`, with the experts of a rank beside each other. Tensors that are of no expert stay.
///
/// A module of which both parameters are adapted has the first of them under `base_layer`.
pub fn stack_parameters(state: &AdapterState) -> AdapterState {
    let mut stacked = AdapterState::new();
    let mut experts: BTreeMap<(&str, &str, usize), BTreeMap<usize, &TensorData>> = BTreeMap::new();
    for (name, data) in state {
        let place = FACTORS.iter().enumerate().find_map(|(factor, suffix)| {
            let (module, expert, parameter) = expert_of(name.strip_suffix(suffix)?)?;
            Some(((module, parameter, factor), expert))
        });
        match place {
            Some((place, expert)) => drop(experts.entry(place).or_default().insert(expert, data)),
            None => drop(stacked.insert(name.clone(), data.clone())),
        }
    }
    for ((module, parameter, factor), of_experts) in &experts {
        let both = [GATE_UP, DOWN].iter().all(|p| experts.contains_key(&(module, p, *factor)));
        let level = if both && *parameter == GATE_UP { BASE_LAYER } else { "" };
        let name = format!("{module}{level}{}", FACTORS[*factor]);
        let parts: Vec<_> = of_experts.values().copied().collect();
        stacked.insert(name, joined(&parts, *factor == 1));
    }
    stacked
}

/// The factors of all experts as one matrix; those of `B` with the experts of a column beside each
/// other.
fn joined(parts: &[&TensorData], by_column: bool) -> TensorData {
    let [rows, columns] = dims(parts[0]);
    let values: Vec<Vec<f32>> = parts.iter().map(|part| part.iter().collect()).collect();
    if !by_column {
        return TensorData::new(values.concat(), [rows * parts.len(), columns]);
    }
    let mut all = Vec::with_capacity(rows * columns * parts.len());
    for index in 0..rows * columns {
        all.extend(values.iter().map(|part| part[index]));
    }
    TensorData::new(all, [rows, columns * parts.len()])
}

/// Takes the adapters of parameters apart, the reverse of [`stack_parameters`]; `rank` is that of an
/// expert, and `origin` names the source in errors.
///
/// # Errors
///
/// [`AdapterError::TensorMismatch`] for factors that are not of whole experts, or whose parameter is
/// not among `targets`.
pub fn unstack_parameters(
    state: AdapterState,
    targets: &[String],
    rank: usize,
    origin: &str,
) -> Result<AdapterState, AdapterError> {
    let mut apart = AdapterState::new();
    let mut found: BTreeMap<(String, bool), Factors> = BTreeMap::new();
    for (name, data) in state {
        let place = FACTORS.iter().enumerate().find_map(|(factor, suffix)| {
            let path = name.strip_suffix(suffix)?;
            let (module, inner) = match path.strip_suffix(BASE_LAYER) {
                Some(module) => (module, true),
                None => (path, false),
            };
            module.ends_with(".experts").then(|| (factor, (module.to_owned(), inner)))
        });
        match place {
            Some((factor, place)) => {
                found.entry(place).or_default()[factor] = Some((name, data));
            }
            None => drop(apart.insert(name, data)),
        }
    }
    for ((module, inner), factors) in &found {
        let named = |parameter: &&str| {
            targets.iter().any(|target| ends_with(&format!("{module}.{parameter}"), target))
        };
        let parameters: Vec<_> = [GATE_UP, DOWN].into_iter().filter(named).collect();
        let parameter = match parameters.as_slice() {
            [GATE_UP, DOWN] if *inner => Some(GATE_UP),
            [GATE_UP, DOWN] => Some(DOWN),
            [only] if !inner => Some(*only),
            _ => None,
        };
        for (factor, held) in factors.iter().enumerate() {
            let Some((name, data)) = held else { continue };
            let mismatch = |expected: String| AdapterError::TensorMismatch {
                origin: origin.into(),
                name: name.clone(),
                found: format!("{:?}", data.shape().as_slice()),
                expected,
            };
            let parameter = parameter.ok_or_else(|| {
                mismatch(format!("of one of the parameters in `target_parameters`, {targets:?}"))
            })?;
            let stacked = data.shape().as_slice().get(factor).copied().unwrap_or(0);
            if data.shape().as_slice().len() != 2
                || rank == 0
                || stacked % rank != 0
                || stacked == 0
            {
                return Err(mismatch(format!("of experts of rank {rank}")));
            }
            for (expert, part) in parts(data, stacked / rank, factor == 1).into_iter().enumerate() {
                apart.insert(format!("{module}.{expert}.{parameter}{}", FACTORS[factor]), part);
            }
        }
    }
    Ok(apart)
}

/// The factors of each expert, the reverse of [`joined`].
fn parts(data: &TensorData, experts: usize, by_column: bool) -> Vec<TensorData> {
    let [rows, columns] = dims(data);
    let values: Vec<f32> = data.iter().collect();
    let of_expert = |expert: usize| match by_column {
        true => {
            let values = values.iter().skip(expert).step_by(experts).copied().collect();
            TensorData::new(values, [rows, columns / experts])
        }
        false => {
            let size = rows / experts * columns;
            let values = values[expert * size..][..size].to_vec();
            TensorData::new(values, [rows / experts, columns])
        }
    };
    (0..experts).map(of_expert).collect()
}

fn dims(data: &TensorData) -> [usize; 2] {
    match data.shape().as_slice() {
        [rows, columns] => [*rows, *columns],
        shape => [1, shape.iter().product()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "model.layers.0.mlp.experts";

    fn state(parameters: &[&str]) -> AdapterState {
        let mut state = AdapterState::new();
        let mut next = 0.0;
        let mut data = |shape: [usize; 2]| {
            let values = (0..shape[0] * shape[1]).map(|_| {
                next += 1.0;
                next as f32
            });
            TensorData::new(values.collect::<Vec<_>>(), shape)
        };
        for parameter in parameters {
            for expert in 0..3 {
                let path = format!("{MODULE}.{expert}.{parameter}");
                state.insert(format!("{path}.lora_A.weight"), data([2, 4]));
                state.insert(format!("{path}.lora_B.weight"), data([5, 2]));
            }
        }
        state.insert("model.layers.0.self_attn.q_proj.lora_A.weight".into(), data([2, 4]));
        state
    }

    fn targets(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("mlp.experts.{name}")).collect()
    }

    #[test]
    fn adapters_of_parameters_come_back() {
        for names in [&[GATE_UP][..], &[DOWN], &[GATE_UP, DOWN]] {
            let state = state(names);
            let stacked = stack_parameters(&state);
            assert_eq!(stacked.len(), 1 + 2 * names.len());
            let apart = unstack_parameters(stacked, &targets(names), 2, "file").unwrap();
            assert_eq!(apart, state);
        }
    }

    #[test]
    fn experts_of_a_column_are_beside_each_other() {
        let state = state(&[DOWN]);
        let stacked = stack_parameters(&state);
        let a: Vec<f32> = stacked[&format!("{MODULE}.lora_A.weight")].iter().collect();
        let b: Vec<f32> = stacked[&format!("{MODULE}.lora_B.weight")].iter().collect();
        assert_eq!(a[7..10], [8.0, 19.0, 20.0]);
        assert_eq!(b[..4], [9.0, 27.0, 45.0, 10.0]);
    }

    #[test]
    fn factors_without_a_place_are_named() {
        let refused = |names: &[&str], rank| {
            let stacked = stack_parameters(&state(&[GATE_UP, DOWN]));
            unstack_parameters(stacked, &targets(names), rank, "file").unwrap_err().to_string()
        };
        assert!(refused(&[GATE_UP, DOWN], 4).contains("of experts of rank 4"));
        assert!(refused(&[DOWN], 2).contains("`target_parameters`"));
    }
}
