use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use lora_expert::{ExpertBank, ExpertsConfig, LinearUpdate};
use moe_adapter::{
    Adaptable, AdaptedLinear, AdaptedProjection, AdapterConfig, AdapterError, AdapterState,
    BaseLinear, BiasTraining, Projection, StartFactors, TOKEN_ROWS, attach_saved, is_start,
    named_state, to_data, to_stored,
};
use tensor_files::TensorTable;

use crate::ArithmeticError;
use crate::part::Part;

/// The record of a merge in the folder of a merged model.
pub const MERGE_RECORD_FILE: &str = "merged_adapter.safetensors";

/// The largest difference of a weight that is taken back, relative to its largest element, before
/// the weight itself is recorded.
const TOLERANCE: f32 = 1e-6;
/// What stands before the names of parameters that are recorded as they were.
const BASE: &str = "base.";

/// What merging changed in a model, so that it can be taken back by
/// [`unmerge_adapters`](crate::unmerge_adapters).
///
/// On disk the linear `path` has `<path>.lora_A.weight` `[R, I]`, `<path>.lora_B.weight` `[O, R]`,
/// `<path>.scale` `[O]`, `<path>.bias_scale` `[O]` and `<path>.identity` `[1]`, as far as its
/// [`LinearUpdate`] has them: `W' = W o scale + B A + identity I`. Parameters that are recorded as
/// they were have `base.` before their names.
#[derive(Debug, Clone, Default)]
pub struct MergeRecord {
    /// What became of each adapted linear, from its weight in the base model, by path.
    pub updates: BTreeMap<String, LinearUpdate>,
    /// Parameters of the base model as they were: of linears whose update cannot be undone, as
    /// where it multiplies by 0, and of what was [`replaced`](Self::replaced).
    pub base: AdapterState,
    /// Parameters that were trained as a whole. [`complete`](Self::complete) records what they
    /// were.
    pub replaced: BTreeSet<String>,
    /// Whether the adapter's folder says the same as this record.
    pub implied: bool,
}

impl MergeRecord {
    /// Records that `update` made `merged` of `linear`, from whose weight in the base model
    /// `start` was taken out before.
    pub(crate) fn add(
        &mut self,
        path: &str,
        start: Option<&StartFactors>,
        update: LinearUpdate,
        linear: &BaseLinear,
        merged: &BaseLinear,
    ) {
        let mut base = linear.to_dense();
        let update = match start {
            None => update,
            Some(start) => {
                base.weight = Param::from_tensor(start.base(base.weight.val())).no_grad();
                without_start(update, start)
            }
        };
        let back = update.undo(merged);
        let fits = is_close(back.weight.val(), base.weight.val())
            && match (&back.bias, &base.bias) {
                (Some(back), Some(bias)) => is_close(back.val(), bias.val()),
                _ => true,
            };
        if !fits {
            let weight = base.weight.val().cast(DType::F32).transpose().into_data();
            self.base.insert(format!("{path}.weight"), weight);
            if let (Some(_), Some(bias)) = (&update.bias_scale, &base.bias) {
                let bias = bias.val().cast(DType::F32).into_data();
                self.base.insert(format!("{path}.bias"), bias);
            }
        }
        self.updates.insert(path.to_owned(), update);
    }

    /// Records what the [`replaced`](Self::replaced) parameters were, from the base model.
    pub fn complete<M>(&mut self, base: &M)
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        self.base.extend(named_state(base, &self.replaced));
    }

    /// What merging an adapter changes, from its folder alone, with the merged model to name its
    /// linears.
    ///
    /// # Errors
    ///
    /// [`ArithmeticError::NoMergeRecord`] for an adapter of which that depends on more: a mixture,
    /// DoRA, a start that changes the frozen weights, and modules trained as a whole. Others as
    /// those of [`attach_saved`].
    pub fn of_adapter<M>(
        merged: &M,
        config: &AdapterConfig,
        state: AdapterState,
        origin: &str,
    ) -> Result<Self, ArithmeticError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        let started = config.init.takes_out() || state.keys().any(|name| is_start(name));
        let whole = config.modules_to_save.is_some()
            || config.trainable_token_indices.is_some()
            || config.bias != BiasTraining::None;
        let reason = match () {
            () if config.is_mixture() => {
                Some("a mixture was merged at some weights of its experts")
            }
            () if matches!(config.experts, ExpertsConfig::Dora {}) => {
                Some("DoRA rescales the weight by its own norm")
            }
            () if started => Some("its start changed the frozen weights"),
            () if whole => Some("it replaced parameters as a whole"),
            () => None,
        };
        if let Some(reason) = reason {
            return Err(ArithmeticError::NoMergeRecord { origin: origin.into(), reason });
        }
        let mut adapted = merged.clone();
        attach_saved(&mut adapted, config, state, origin)?;
        let mut record = Self { implied: true, ..Self::default() };
        let mut failed = None;
        adapted.visit_projections(&mut |path, _, projection| {
            let Some(adapter) = projection.adapter() else { return };
            match adapter.experts.update(projection.linear(), None) {
                Some(update) => drop(record.updates.insert(path.to_owned(), update)),
                None => {
                    failed.get_or_insert(ArithmeticError::NotLinear { path: path.to_owned() });
                }
            }
        });
        failed.map_or(Ok(record), Err)
    }

    /// Whether the record can be of the adapter with this state: it has the same linears, and the
    /// same parameters as a whole.
    ///
    /// # Errors
    ///
    /// [`ArithmeticError::MergeRecord`] naming what only one of them has.
    pub fn check_adapter(&self, state: &AdapterState) -> Result<(), ArithmeticError> {
        let place = |name: &String| match Part::of(name) {
            Part::Expert(path) => Some((true, path.to_owned())),
            Part::Routing | Part::Start => None,
            // Rows of tokens are merged into the weight that they are of.
            Part::Whole => Some((
                false,
                match name.strip_suffix(TOKEN_ROWS) {
                    Some(module) => format!("{module}.weight"),
                    None => name.clone(),
                },
            )),
        };
        let known = |(linear, name): &(bool, String)| match linear {
            true => self.updates.contains_key(name),
            false => self.base.contains_key(name),
        };
        let places: BTreeSet<_> = state.keys().filter_map(place).collect();
        let found = "the adapter has it, and the record has not".to_owned();
        if let Some((_, name)) = places.iter().find(|place| !known(place)) {
            return Err(ArithmeticError::MergeRecord { name: name.clone(), found });
        }
        let linear = |path: &&String| !places.contains(&(true, (*path).clone()));
        if let Some(path) = self.updates.keys().find(linear) {
            let found = "the record has it, and the adapter has not".to_owned();
            return Err(ArithmeticError::MergeRecord { name: path.clone(), found });
        }
        Ok(())
    }

    /// Writes the record into the folder of the merged model, atomically.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), AdapterError> {
        let mut state = AdapterState::new();
        for (path, update) in &self.updates {
            let mut put = |suffix: &str, data: TensorData| {
                state.insert(format!("{path}.{suffix}"), data);
            };
            if let Some((a, b)) = &update.factors {
                put("lora_A.weight", a.clone().cast(DType::F32).into_data());
                put("lora_B.weight", b.clone().cast(DType::F32).into_data());
            }
            for (suffix, scale) in [("scale", &update.scale), ("bias_scale", &update.bias_scale)] {
                if let Some(scale) = scale {
                    put(suffix, scale.clone().cast(DType::F32).into_data());
                }
            }
            if update.identity != 0.0 {
                put("identity", TensorData::from([update.identity as f32]));
            }
        }
        state.extend(self.base.iter().map(|(name, data)| (format!("{BASE}{name}"), data.clone())));
        let tensors = state.iter().map(|(name, data)| (name.clone(), to_stored(data))).collect();
        let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
        Ok(TensorTable { tensors, metadata }.write(&folder.join(MERGE_RECORD_FILE))?)
    }

    /// Removes the record that an earlier merge into the folder left, where it did.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when the file cannot be removed.
    pub fn remove(folder: &Path) -> Result<(), AdapterError> {
        let path = folder.join(MERGE_RECORD_FILE);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(AdapterError::Io { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Reads the record in the folder of a merged model; `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] naming the file and the tensor that has no place in a record.
    pub fn read(folder: &Path, device: &Device) -> Result<Option<Self>, AdapterError> {
        let file = folder.join(MERGE_RECORD_FILE);
        if !file.is_file() {
            return Ok(None);
        }
        let mut record = Self::default();
        let mut halves: BTreeMap<String, [Option<Tensor<2>>; 2]> = BTreeMap::new();
        for (name, stored) in &TensorTable::read(&file)?.tensors {
            let refused = |found: String, expected: &str| AdapterError::TensorMismatch {
                origin: file.display().to_string(),
                name: name.clone(),
                found,
                expected: expected.into(),
            };
            let data = to_data(stored).map_err(|found| refused(found, "F32, F16 or BF16"))?;
            if let Some(name) = name.strip_prefix(BASE) {
                record.base.insert(name.to_owned(), data);
                continue;
            }
            const SUFFIXES: [(&str, usize); 5] = [
                (".lora_A.weight", 2),
                (".lora_B.weight", 2),
                (".scale", 1),
                (".bias_scale", 1),
                (".identity", 1),
            ];
            let found = SUFFIXES.iter().enumerate().find_map(|(index, (suffix, dims))| {
                Some((index, name.strip_suffix(suffix)?, *dims))
            });
            let Some((index, path, dims)) = found else {
                return Err(refused("named so".into(), "a tensor of a merge record"));
            };
            if data.shape().as_slice().len() != dims || data.num_elements() == 0 {
                let shape = format!("{:?}", data.shape().as_slice());
                return Err(refused(shape, &format!("of {dims} dimensions")));
            }
            let update = record.updates.entry(path.to_owned()).or_insert_with(|| LinearUpdate {
                scale: None,
                bias_scale: None,
                factors: None,
                identity: 0.0,
            });
            match index {
                0 | 1 => {
                    let halves = halves.entry(path.to_owned()).or_default();
                    halves[index] = Some(Tensor::from_data(data, device));
                }
                2 => update.scale = Some(Tensor::from_data(data, device)),
                3 => update.bias_scale = Some(Tensor::from_data(data, device)),
                _ => update.identity = data.iter::<f64>().next().unwrap_or_default(),
            }
        }
        for (path, found) in halves {
            let [Some(a), Some(b)] = found else {
                let name = format!("{path}.lora_A.weight or lora_B.weight");
                let origin = file.display().to_string();
                return Err(AdapterError::MissingTensor { origin, name, nearest: Vec::new() });
            };
            if let Some(update) = record.updates.get_mut(&path) {
                update.factors = Some((a, b));
            }
        }
        Ok(Some(record))
    }
}

/// The update of `W`, from that of `W - P` where a start took `P` out: as
/// `(W - P) o g = W o g - P o g`, its factors join those of the experts.
fn without_start(update: LinearUpdate, start: &StartFactors) -> LinearUpdate {
    let (start_a, start_b) = start.stacked();
    let start_b = match &update.scale {
        None => start_b,
        Some(scale) => start_b * scale.clone().unsqueeze_dim(1),
    };
    let factors = match update.factors {
        None => (start_a, start_b.neg()),
        Some((a, b)) => (
            Tensor::cat(vec![a.cast(DType::F32), start_a], 0),
            Tensor::cat(vec![b.cast(DType::F32), start_b.neg()], 1),
        ),
    };
    LinearUpdate { factors: Some(factors), ..update }
}

/// Whether the largest difference is within the tolerance; not where a value is no number.
fn is_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> bool {
    let [found, expected] = [found, expected].map(|tensor| tensor.cast(DType::F32));
    let largest = expected.clone().abs().max().into_scalar::<f32>();
    let difference = (found - expected).abs();
    let sum = difference.clone().sum().into_scalar::<f32>();
    sum.is_finite() && difference.max().into_scalar::<f32>() <= TOLERANCE * largest
}
