use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::TensorData;
use lora_expert::ExpertsConfig;
use moe_adapter::{AdapterError, StoredAdapter};
use router::stable_hash;

use crate::ArithmeticError;
use crate::matrix::Matrix;
use crate::part::Part;

// The names of tensors behind the path of their linear.
const A: &str = ".lora_A.weight";
const B: &str = ".lora_B.weight";
const SCALING: &str = ".expert_scaling";
const MAGNITUDE: &str = ".lora_magnitude_vector";
const START_A: &str = ".start.lora_A.weight";
const START_B: &str = ".start.lora_B.weight";
/// Where errors say that a tensor is from.
const ORIGIN: &str = "the adapter";

/// The low-rank experts of one linear as a folder holds them, those of shared experts last.
#[derive(Debug, Clone)]
pub(crate) struct StoredExperts {
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
pub(crate) struct Single {
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    pub(crate) scaling: f64,
    pub(crate) magnitude: Option<Vec<f32>>,
}

impl StoredExperts {
    /// The experts of every linear of a low-rank adapter, by path.
    pub(crate) fn of(adapter: &StoredAdapter) -> Result<BTreeMap<String, Self>, ArithmeticError> {
        let config = &adapter.config;
        let patterns = config.size_patterns()?;
        let has_start = adapter.state.keys().any(|name| Part::of(name) == Part::Start);
        if config.init.takes_out() && !has_start {
            return Err(ArithmeticError::CannotCombine {
                what: "the adapter".into(),
                reason: format!(
                    "its start `{}` changed the frozen weights, and the folder leaves that to be \
                     repeated; store it first (lora-moe convert --to native --model)",
                    config.init.name()
                ),
            });
        }
        let paths: BTreeSet<&str> = adapter
            .state
            .keys()
            .filter_map(|name| match Part::of(name) {
                Part::Expert(path) => Some(path),
                _ => None,
            })
            .collect();
        if paths.is_empty() {
            return Err(ArithmeticError::CannotCombine {
                what: "the adapter".into(),
                reason: "it has no experts, only parameters that were trained as a whole".into(),
            });
        }
        let one = |path: &str| {
            let lora_alpha = config.sizes_of(path, 0, 1, &patterns)?.lora_alpha;
            Ok((path.to_owned(), Self::read(adapter, path, lora_alpha)?))
        };
        paths.into_iter().map(one).collect()
    }

    /// The experts of one linear.
    fn read(adapter: &StoredAdapter, path: &str, lora_alpha: f64) -> Result<Self, ArithmeticError> {
        let config = &adapter.config;
        let get = |suffix: &str| adapter.state.get(&format!("{path}{suffix}"));
        let wrong = |suffix: &str, expected: &str| {
            let name = format!("{path}{suffix}");
            match adapter.state.get(&name) {
                Some(data) => mismatch(&name, data, expected),
                None => missing(&name),
            }
        };
        let factor = |suffix: &str| {
            let found = get(suffix).and_then(Matrix::unstack);
            found.ok_or_else(|| wrong(suffix, "of 2 or 3 dimensions"))
        };
        let (mut a, mut b) = (factor(A)?, factor(B)?);
        if b.is_empty() || !(a.len() == b.len() || a.len() == 1) || a[0].rows != b[0].cols {
            return Err(wrong(A, "of the experts of lora_B").into());
        }
        let (rank, in_features, out_features) = (a[0].rows, a[0].cols, b[0].rows);
        if let ExpertsConfig::Lora { merging: Some(merging), .. } = &config.experts
            && let seed = stable_hash(path.bytes())
            && let Some([cols, rows]) =
                merging.fixed_masks(seed, b.len(), in_features, out_features)
        {
            let (cols, rows) = (cols.chunks(in_features), rows.chunks(out_features));
            a = a.into_iter().zip(cols).map(|(a, kept)| a.scale_cols(kept)).collect();
            b = b.into_iter().zip(rows).map(|(b, kept)| b.scale_rows(kept)).collect();
        }
        let scaling = config.scaling.value(lora_alpha, config.use_rslora, rank, in_features);
        let scaling = match get(SCALING) {
            None => vec![scaling; b.len()],
            Some(data) => data.iter::<f64>().map(|factor| scaling * factor).collect(),
        };
        if scaling.len() != b.len() {
            return Err(wrong(SCALING, "of the experts of lora_B").into());
        }
        let magnitude: Vec<f32> = get(MAGNITUDE).map_or(Vec::new(), |data| data.iter().collect());
        let dora = matches!(config.experts, ExpertsConfig::Dora {});
        if magnitude.len() != if dora { b.len() * out_features } else { 0 } {
            return Err(wrong(MAGNITUDE, "of the experts of lora_B, and only with DoRA").into());
        }
        let magnitude = magnitude.chunks(out_features).map(<[f32]>::to_vec).collect();
        let start = match get(START_A) {
            None => None,
            Some(_) => {
                let (a, b) = (factor(START_A)?, factor(START_B)?);
                let fits = a.len() == b.len()
                    && a.iter().all(|a| a.cols == in_features)
                    && b.iter().all(|b| b.rows == out_features && b.cols == a[0].rows);
                if !fits {
                    return Err(wrong(START_A, "of the linear and of start.lora_B").into());
                }
                Some((Matrix::below(&a), Matrix::beside(&b)))
            }
        };
        Ok(Self { a, b, scaling, magnitude, start })
    }

    /// How many experts have parameters, shared ones included.
    pub(crate) fn len(&self) -> usize {
        self.b.len()
    }

    /// One expert, on the weight of the base model.
    pub(crate) fn single(&self, expert: usize) -> Single {
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
    pub(crate) fn sum(&self, weights: &[f64]) -> Single {
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

#[cfg(test)]
mod tests {
    use moe_adapter::{AdapterConfig, AdapterState, TargetModules};

    use super::*;

    fn adapter(tensors: &[(&str, &[usize])]) -> StoredAdapter {
        let zeros = |shape: &[usize]| {
            TensorData::new(vec![0.0_f32; shape.iter().product()], shape.to_vec())
        };
        let state: AdapterState =
            tensors.iter().map(|(name, shape)| (format!("x.{name}"), zeros(shape))).collect();
        StoredAdapter {
            config: AdapterConfig::lora(2, 4.0, TargetModules::all_linear()),
            state,
            base_model_name_or_path: None,
            task_type: None,
            precision: None,
            source: None,
        }
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused_by_name() {
        let (a, b) = (("lora_A.weight", &[2, 3][..]), ("lora_B.weight", &[5, 2][..]));
        assert_eq!(StoredExperts::of(&adapter(&[a, b])).unwrap()["x"].len(), 1);
        let cases: [&[(&str, &[usize])]; 7] = [
            &[a],
            &[a, ("lora_B.weight", &[5, 3])],
            &[a, ("lora_B.weight", &[0, 2])],
            &[("lora_A.weight", &[2]), b],
            &[a, b, ("lora_magnitude_vector", &[5])],
            &[a, b, ("expert_scaling", &[2])],
            &[a, b, ("start.lora_A.weight", &[1, 2, 4]), ("start.lora_B.weight", &[1, 5, 2])],
        ];
        for tensors in cases {
            let error = StoredExperts::of(&adapter(tensors)).unwrap_err().to_string();
            assert!(error.contains("`x."), "{error}");
        }
    }
}
