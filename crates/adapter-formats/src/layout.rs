use std::collections::BTreeMap;

use burn::tensor::TensorData;
use moe_adapter::{AdapterError, AdapterFiles, AdapterState, is_start, to_data, to_stored};
use tensor_files::{StoredTensor, TensorTable, nearest};

/// What a tensor of a linear is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    A,
    B,
    Magnitude,
    Router,
    ThresholdWeight,
    ThresholdBias,
}

impl Slot {
    /// Its name in this project, behind the path.
    const fn suffix(self) -> &'static str {
        match self {
            Self::A => ".lora_A.weight",
            Self::B => ".lora_B.weight",
            Self::Magnitude => ".lora_magnitude_vector",
            Self::Router => ".router.weight",
            Self::ThresholdWeight => ".router.threshold.weight",
            Self::ThresholdBias => ".router.threshold.bias",
        }
    }

    /// Whether each expert has one.
    const fn by_expert(self) -> bool {
        matches!(self, Self::A | Self::B | Self::Magnitude)
    }

    const ALL: [Self; 6] = [
        Self::A,
        Self::B,
        Self::Magnitude,
        Self::Router,
        Self::ThresholdWeight,
        Self::ThresholdBias,
    ];
}

/// How a project names the tensors of a linear.
pub(crate) struct Layout {
    /// What stands before every name.
    pub(crate) prefix: &'static str,
    /// What of a path here is left out there, as in `model.` before `layers.0`.
    pub(crate) root: &'static str,
    /// The names behind the path; `{e}` is the index of an expert. Longer ones come first.
    pub(crate) slots: &'static [(&'static str, Slot)],
    /// Other names for the same tensors, which are there besides.
    pub(crate) duplicates: &'static [(&'static str, Slot)],
    /// Whether those are written too.
    pub(crate) write_duplicates: bool,
}

/// A tensor's place: its linear, what it is, and of which expert.
type Place = (String, Slot, Option<usize>);

/// The tensors of one kind of a linear, with their names, by expert.
type ByExpert<'a> = BTreeMap<Option<usize>, (&'a str, &'a StoredTensor)>;

impl Layout {
    fn parse(&self, name: &str, slots: &[(&'static str, Slot)]) -> Option<Place> {
        let rest = name.strip_prefix(self.prefix)?;
        slots.iter().find_map(|(template, slot)| {
            let (path, expert) = match template.split_once("{e}") {
                None => (rest.strip_suffix(template)?, None),
                Some((before, after)) => {
                    let rest = rest.strip_suffix(after)?;
                    let path = rest.trim_end_matches(|c: char| c.is_ascii_digit());
                    let index = rest[path.len()..].parse().ok()?;
                    (path.strip_suffix(before)?, Some(index))
                }
            };
            let path = path.strip_suffix('.').filter(|path| !path.is_empty())?;
            Some((format!("{}{path}", self.root), *slot, expert))
        })
    }

    fn name(&self, path: &str, template: &str, expert: usize) -> Option<String> {
        let path = path.strip_prefix(self.root)?;
        let tail = template.replace("{e}", &expert.to_string());
        Some(format!("{}{path}.{tail}", self.prefix))
    }

    /// The tensors of a folder under this project's names, stacked by expert. `others` are the
    /// paths of tensors that are no part of an adapter; `experts` says how many experts a linear
    /// has.
    pub(crate) fn decode(
        &self,
        raw: &AdapterFiles,
        others: &dyn Fn(&str) -> bool,
        experts: &dyn Fn(&str) -> usize,
    ) -> Result<AdapterState, AdapterError> {
        let origin = || raw.weights.display().to_string();
        let mut places: BTreeMap<(String, Slot), ByExpert<'_>> = BTreeMap::new();
        let mut copies = Vec::new();
        let mut state = AdapterState::new();
        let mut unknown = Vec::new();
        for (name, tensor) in &raw.table.tensors {
            if let Some((path, slot, expert)) = self.parse(name, self.slots) {
                places.entry((path, slot)).or_default().insert(expert, (name, tensor));
            } else if let Some(place) = self.parse(name, self.duplicates) {
                copies.push((name, tensor, place));
            } else if let Some(short) = self.own_name(name).filter(|short| others(short)) {
                state.insert(short, self.data(raw, name, tensor)?);
            } else {
                unknown.push(name.as_str());
            }
        }
        if !unknown.is_empty() {
            return Err(self.unexpected(raw, &unknown));
        }
        for (name, tensor, (path, slot, expert)) in copies {
            let found = places.entry((path, slot)).or_default().entry(expert);
            let (first, of_first) = found.or_insert((name, tensor));
            if *of_first != tensor {
                return Err(AdapterError::TensorMismatch {
                    origin: origin(),
                    name: name.clone(),
                    found: "different".into(),
                    expected: format!("a copy of `{first}`"),
                });
            }
        }
        for ((path, slot), found) in &places {
            let data = self.stack(raw, path, *slot, found, experts(path))?;
            state.insert(format!("{path}{}", slot.suffix()), data);
        }
        Ok(state)
    }

    /// The name here of a tensor that is no part of an adapter.
    fn own_name(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(self.prefix)?;
        Some(format!("{}{rest}", self.root).replace(".base_layer.bias", ".bias"))
    }

    fn data(
        &self,
        raw: &AdapterFiles,
        name: &str,
        tensor: &StoredTensor,
    ) -> Result<TensorData, AdapterError> {
        to_data(tensor).map_err(|found| AdapterError::TensorMismatch {
            origin: raw.weights.display().to_string(),
            name: name.into(),
            found,
            expected: "F32, F16, BF16 or I32".into(),
        })
    }

    /// The tensors of all experts as one.
    fn stack(
        &self,
        raw: &AdapterFiles,
        path: &str,
        slot: Slot,
        found: &ByExpert<'_>,
        experts: usize,
    ) -> Result<TensorData, AdapterError> {
        if let Some((name, tensor)) = found.get(&None) {
            return self.data(raw, name, tensor);
        }
        let mut rows: Vec<f32> = Vec::new();
        let mut shape: Option<&Vec<usize>> = None;
        for expert in 0..experts {
            let Some((name, tensor)) = found.get(&Some(expert)) else {
                return Err(self.missing(raw, path, slot, expert));
            };
            let expected = shape.get_or_insert(&tensor.shape);
            if *expected != &tensor.shape {
                return Err(AdapterError::TensorMismatch {
                    origin: raw.weights.display().to_string(),
                    name: (*name).into(),
                    found: format!("{:?}", tensor.shape),
                    expected: format!("{expected:?}, as that of the other experts"),
                });
            }
            rows.extend(self.data(raw, name, tensor)?.iter::<f32>());
        }
        if let Some((name, _)) = found.get(&Some(experts)).or_else(|| found.values().last())
            && found.len() > experts
        {
            return Err(AdapterError::TensorMismatch {
                origin: raw.weights.display().to_string(),
                name: (*name).into(),
                found: "of one expert more".into(),
                expected: format!("of one of {experts}, as the configuration says"),
            });
        }
        let mut stacked = shape.cloned().unwrap_or_default();
        if experts > 1 {
            stacked.insert(0, experts);
        }
        Ok(TensorData::new(rows, stacked))
    }

    fn missing(&self, raw: &AdapterFiles, path: &str, slot: Slot, expert: usize) -> AdapterError {
        let template =
            self.slots.iter().find(|(template, other)| *other == slot && template.contains("{e}"));
        let name = template.and_then(|(template, _)| self.name(path, template, expert));
        let name = name.unwrap_or_else(|| format!("{path}{}", slot.suffix()));
        let nearest = nearest(&name, raw.table.tensors.keys().map(String::as_str));
        AdapterError::MissingTensor { origin: raw.weights.display().to_string(), name, nearest }
    }

    fn unexpected(&self, raw: &AdapterFiles, unknown: &[&str]) -> AdapterError {
        let examples: Vec<String> =
            self.slots.iter().map(|(template, _)| format!("…{template}")).collect();
        let shown: Vec<_> = unknown.iter().take(3).map(|name| format!("`{name}`")).collect();
        AdapterError::UnexpectedTensors {
            origin: raw.weights.display().to_string(),
            count: unknown.len(),
            names: format!(
                "{}; names of this layout are {}{}",
                shown.join(", "),
                self.prefix,
                examples.join(", ")
            ),
        }
    }

    /// The tensors of an adapter under this layout's names. What it has no name for is left out.
    pub(crate) fn encode(&self, state: &AdapterState) -> TensorTable {
        let mut table = TensorTable::default();
        for (name, data) in state {
            if is_start(name) {
                continue;
            }
            match Slot::ALL
                .into_iter()
                .find_map(|slot| Some((name.strip_suffix(slot.suffix())?, slot)))
            {
                Some((path, slot)) => {
                    let names = self
                        .slots
                        .iter()
                        .chain(self.duplicates.iter().filter(|_| self.write_duplicates));
                    let mut templates: Vec<&str> =
                        names.filter(|(_, other)| *other == slot).map(|(t, _)| *t).collect();
                    let stacked = slot.by_expert()
                        && data.shape().as_slice().len()
                            > if slot == Slot::Magnitude { 1 } else { 2 };
                    // A single expert has the name without an index, where there is one.
                    if templates.iter().any(|template| !template.contains("{e}")) || stacked {
                        templates.retain(|template| template.contains("{e}") == stacked);
                    }
                    for template in templates {
                        for (expert, tensor) in experts(data, stacked).into_iter().enumerate() {
                            if let Some(name) = self.name(path, template, expert) {
                                table.tensors.insert(name, tensor);
                            }
                        }
                    }
                }
                None => {
                    if let Some(path) = name.strip_prefix(self.root) {
                        table.tensors.insert(format!("{}{path}", self.prefix), to_stored(data));
                    }
                }
            }
        }
        table
    }
}

/// The tensors of each expert.
fn experts(data: &TensorData, stacked: bool) -> Vec<StoredTensor> {
    let stored = to_stored(data);
    if !stacked {
        return vec![stored];
    }
    let shape = stored.shape[1..].to_vec();
    let size = stored.bytes.len() / stored.shape[0].max(1);
    stored
        .bytes
        .chunks(size.max(1))
        .map(|bytes| StoredTensor {
            dtype: stored.dtype,
            shape: shape.clone(),
            bytes: bytes.to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        prefix: "mixlora.",
        root: "model.",
        slots: &[
            ("experts.{e}.lora_A.weight", Slot::A),
            ("lora_A.weight", Slot::A),
            ("moe_gate.weight", Slot::Router),
        ],
        duplicates: &[],
        write_duplicates: false,
    };

    #[test]
    fn names_are_taken_apart() {
        let parse = |name| LAYOUT.parse(name, LAYOUT.slots);
        let path = "model.layers.0.mlp.up_proj".to_owned();
        assert_eq!(
            parse("mixlora.layers.0.mlp.up_proj.experts.12.lora_A.weight"),
            Some((path.clone(), Slot::A, Some(12)))
        );
        assert_eq!(
            parse("mixlora.layers.0.mlp.up_proj.lora_A.weight"),
            Some((path, Slot::A, None))
        );
        assert_eq!(
            parse("mixlora.layers.0.mlp.moe_gate.weight"),
            Some(("model.layers.0.mlp".to_owned(), Slot::Router, None))
        );
        assert_eq!(parse("layers.0.mlp.moe_gate.weight"), None);
        assert_eq!(parse("mixlora.layers.0.mlp.up_proj.lora_C.weight"), None);
        assert_eq!(parse("mixlora.lora_A.weight"), None);
    }

    #[test]
    fn stacked_tensors_are_taken_apart_by_expert() {
        let data = TensorData::new((0..12).map(|i| i as f32).collect(), [2, 2, 3]);
        let state = AdapterState::from([
            ("model.layers.0.mlp.up_proj.lora_A.weight".to_owned(), data.clone()),
            ("model.layers.0.self_attn.q_proj.lora_A.weight".to_owned(), {
                TensorData::new(vec![1.0f32; 6], [2, 3])
            }),
        ]);
        let table = LAYOUT.encode(&state);
        let names: Vec<_> = table.tensors.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "mixlora.layers.0.mlp.up_proj.experts.0.lora_A.weight",
                "mixlora.layers.0.mlp.up_proj.experts.1.lora_A.weight",
                "mixlora.layers.0.self_attn.q_proj.lora_A.weight",
            ]
        );
        let raw = AdapterFiles::new(serde_json::Map::new(), table);
        let experts = |path: &str| if path.contains("mlp") { 2 } else { 1 };
        assert_eq!(LAYOUT.decode(&raw, &|_| false, &experts).unwrap(), state);
    }
}
