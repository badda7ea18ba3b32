use std::collections::BTreeMap;

use burn::tensor::TensorData;
use lora_expert::ExpertsConfig;
use router::stable_hash;

use super::matrix::Matrix;
use super::part::Part;
use crate::{AdapterError, StoredAdapter};

/// Where errors say that a tensor is from.
const ORIGIN: &str = "the adapter";

/// The low-rank experts of one linear as a folder holds them, those of shared experts last.
#[derive(Debug, Clone)]
pub(super) struct StoredExperts {
    /// `A`, `[r, I]`, of each expert, or one for all.
    a: Vec<Matrix>,
    /// `B`, `[O, r]`, of each expert.
    b: Vec<Matrix>,
    /// `s_e`.
    scaling: Vec<f64>,
    /// DoRA's magnitudes, `[O]`; empty for LoRA.
    magnitude: Vec<Vec<f32>>,
    /// What a start took out of the frozen weight: `A` `[R, I]` and `c s_e B_e` `[O, R]`.
    start: Option<(Matrix, Matrix)>,
}

/// One low-rank adapter of a linear, `s B A`, with DoRA's magnitude where it is that.
#[derive(Debug, Clone)]
pub(super) struct Single {
    pub(super) a: Matrix,
    pub(super) b: Matrix,
    pub(super) scaling: f64,
    pub(super) magnitude: Option<Vec<f32>>,
}

impl StoredExperts {
    /// The experts of every linear of a low-rank adapter, by path.
    pub(super) fn of(adapter: &StoredAdapter) -> Result<BTreeMap<String, Self>, AdapterError> {
        let config = &adapter.config;
        let patterns = config.size_patterns()?;
        let get = |name: &str| adapter.state.get(name);
        let has_start = adapter.state.keys().any(|name| Part::of(name) == Part::Start);
        if config.init.takes_out() && !has_start {
            return Err(AdapterError::CannotCombine {
                what: "the adapter".into(),
                reason: format!(
                    "its start `{}` changed the frozen weights, and the folder leaves that to be \
                     repeated; store it first (lora-moe convert --to native --model)",
                    config.init.name()
                ),
            });
        }
        let mut found = BTreeMap::new();
        for name in adapter.state.keys() {
            let Part::Expert(path) = Part::of(name) else { continue };
            if found.contains_key(path) {
                continue;
            }
            let factor = |suffix: &str| -> Result<Vec<Matrix>, AdapterError> {
                let name = format!("{path}{suffix}");
                let data = get(&name).ok_or_else(|| missing(&name))?;
                Matrix::unstack(data).ok_or_else(|| mismatch(&name, data, "of 2 or 3 dimensions"))
            };
            let (mut a, mut b) = (factor(".lora_A.weight")?, factor(".lora_B.weight")?);
            let fit = (a.len() == b.len() || a.len() == 1)
                && !b.is_empty()
                && a.iter().all(|a| a.rows == b[0].cols && a.rows > 0);
            if !fit {
                let name = format!("{path}.lora_A.weight");
                return Err(mismatch(
                    &name,
                    &adapter.state[&name],
                    "of the same experts as lora_B",
                ));
            }
            if let ExpertsConfig::Lora { merging: Some(merging), .. } = &config.experts
                && let Some([cols, rows]) = {
                    let seed = stable_hash(path.bytes());
                    merging.fixed_masks(seed, b.len(), a[0].cols, b[0].rows)
                }
            {
                let (of_a, of_b) = (a[0].cols, b[0].rows);
                a = a.into_iter().zip(cols.chunks(of_a)).map(|(a, m)| a.scale_cols(m)).collect();
                b = b.into_iter().zip(rows.chunks(of_b)).map(|(b, m)| b.scale_rows(m)).collect();
            }
            let of_path = config.sizes_of(path, 0, 1, &patterns)?;
            let (rank, in_features) = (a[0].rows, a[0].cols);
            let scaling =
                config.scaling.value(of_path.lora_alpha, config.use_rslora, rank, in_features);
            let mut scalings = vec![scaling; b.len()];
            if let Some(data) = get(&format!("{path}.expert_scaling")) {
                scalings.iter_mut().zip(data.iter::<f64>()).for_each(|(s, factor)| *s *= factor);
            }
            let magnitude = match get(&format!("{path}.lora_magnitude_vector")) {
                None => Vec::new(),
                Some(data) => {
                    let values: Vec<f32> = data.iter::<f32>().collect();
                    if values.len() != b.len() * b[0].rows {
                        let name = format!("{path}.lora_magnitude_vector");
                        return Err(mismatch(&name, data, "of the same experts as lora_B"));
                    }
                    values.chunks(b[0].rows).map(<[f32]>::to_vec).collect()
                }
            };
            let start = if has_start && get(&format!("{path}.start.lora_A.weight")).is_some() {
                let a = Matrix::below(&factor(".start.lora_A.weight")?);
                Some((a, Matrix::beside(&factor(".start.lora_B.weight")?)))
            } else {
                None
            };
            let experts = Self { a, b, scaling: scalings, magnitude, start };
            found.insert(path.to_owned(), experts);
        }
        if found.is_empty() {
            return Err(AdapterError::CannotCombine {
                what: "the adapter".into(),
                reason: "it has no experts, only parameters that were trained as a whole".into(),
            });
        }
        Ok(found)
    }

    /// How many experts have parameters, shared ones included.
    pub(super) fn len(&self) -> usize {
        self.b.len()
    }

    /// One expert, on the weight of the base model.
    pub(super) fn single(&self, expert: usize) -> Single {
        let a = self.a[if self.a.len() == 1 { 0 } else { expert }].clone();
        let (b, scaling) = (self.b[expert].clone(), self.scaling[expert]);
        let magnitude = self.magnitude.get(expert).cloned();
        match &self.start {
            None if scaling > 0.0 => Single { a, b, scaling, magnitude },
            None => Single { a, b: b.scaled(scaling), scaling: 1.0, magnitude },
            Some((start_a, start_b)) => Single {
                a: Matrix::below(&[a, start_a.clone()]),
                b: Matrix::beside(&[b.scaled(scaling), start_b.clone().scaled(-1.0)]),
                scaling: 1.0,
                magnitude,
            },
        }
    }

    /// The sum of all experts with these weights, `sum_e w_e s_e B_e A_e`, on the weight of the
    /// base model.
    pub(super) fn sum(&self, weights: &[f64]) -> Single {
        let scaled = self.b.iter().zip(&self.scaling).zip(weights);
        let mut b: Vec<Matrix> = scaled.map(|((b, s), w)| b.clone().scaled(s * w)).collect();
        let mut a = self.a.clone();
        if a.len() < b.len() {
            let sum = b.drain(1..).collect::<Vec<_>>();
            b = b.into_iter().map(|first| sum.iter().fold(first, Matrix::plus)).collect();
        }
        if let Some((start_a, start_b)) = &self.start {
            a.push(start_a.clone());
            b.push(start_b.clone().scaled(-1.0));
        }
        let (a, b) = (Matrix::below(&a), Matrix::beside(&b));
        Single { a, b, scaling: 1.0, magnitude: None }
    }
}

fn missing(name: &str) -> AdapterError {
    AdapterError::MissingTensor { origin: ORIGIN.into(), name: name.into(), nearest: Vec::new() }
}

fn mismatch(name: &str, data: &TensorData, expected: &str) -> AdapterError {
    AdapterError::TensorMismatch {
        origin: ORIGIN.into(),
        name: name.into(),
        found: format!("{:?}", data.shape().as_slice()),
        expected: expected.into(),
    }
}
