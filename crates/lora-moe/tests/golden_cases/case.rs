use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lora_moe::burn::tensor::{Device, Int, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value};

/// A case: its description, and its tensors by name.
///
/// It remembers what was read, so that a method cannot pass over a part of a case that it does
/// not know.
pub struct Case {
    device: Device,
    description: Map<String, Value>,
    tensors: BTreeMap<String, TensorData>,
    read: RefCell<BTreeSet<String>>,
}

impl Case {
    /// Reads the file of a case, which is computed on `device`.
    pub fn read(path: &Path, device: &Device) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        let broken = |error| format!("not a safetensors file: {error}");
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let case = metadata.metadata().as_ref().and_then(|entries| entries.get("case"));
        let case = case.ok_or("no metadata under the key `case`")?;
        let description =
            serde_json::from_str(case).map_err(|error| format!("metadata `case`: {error}"))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(broken)?.tensors() {
            let shape = view.shape().to_vec();
            let data = match view.dtype() {
                Dtype::F32 => TensorData::new(values(view.data(), f32::from_le_bytes), shape),
                Dtype::I64 => TensorData::new(values(view.data(), i64::from_le_bytes), shape),
                other => return Err(format!("`{name}` is {other:?}, not F32 or I64")),
            };
            tensors.insert(name, data);
        }
        Ok(Self { device: device.clone(), description, tensors, read: RefCell::default() })
    }

    /// Where it is computed.
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// A text of the description.
    pub fn text(&self, key: &str) -> Result<&str, String> {
        self.described(key)?.as_str().ok_or_else(|| format!("`{key}` of the case is no text"))
    }

    /// A number of the description.
    pub fn number(&self, key: &str) -> Result<f64, String> {
        self.described(key)?.as_f64().ok_or_else(|| format!("`{key}` of the case is no number"))
    }

    /// A yes or no of the description.
    pub fn flag(&self, key: &str) -> Result<bool, String> {
        self.described(key)?.as_bool().ok_or_else(|| format!("`{key}` of the case is no flag"))
    }

    /// A float tensor.
    pub fn float<const D: usize>(&self, name: &str, device: &Device) -> Result<Tensor<D>, String> {
        Ok(Tensor::from_data(self.data::<D>(name)?, device))
    }

    /// An integer tensor.
    pub fn int<const D: usize>(
        &self,
        name: &str,
        device: &Device,
    ) -> Result<Tensor<D, Int>, String> {
        Ok(Tensor::from_data(self.data::<D>(name)?, device))
    }

    /// The inputs, parameters and keys of the description that nothing read.
    pub fn unread(&self) -> Vec<String> {
        let read = self.read.borrow();
        let given = self.tensors.keys().filter(|name| !is_reference(name));
        given
            .chain(self.description.keys())
            .filter(|name| !read.contains(*name))
            .map(|name| format!("`{name}`"))
            .collect()
    }

    /// The reference values, by name.
    pub fn references(&self) -> Vec<(String, Vec<f32>)> {
        let references = self.tensors.iter().filter(|(name, _)| is_reference(name));
        references.map(|(name, data)| (name.clone(), data.iter::<f32>().collect())).collect()
    }

    fn described(&self, key: &str) -> Result<&Value, String> {
        self.read.borrow_mut().insert(key.to_owned());
        self.description.get(key).ok_or_else(|| format!("the case does not say `{key}`"))
    }

    fn data<const D: usize>(&self, name: &str) -> Result<TensorData, String> {
        self.read.borrow_mut().insert(name.to_owned());
        let data = self.tensors.get(name).ok_or_else(|| format!("the case has no `{name}`"))?;
        let dimensions = data.shape().as_slice().len();
        if dimensions != D {
            return Err(format!("`{name}` has {dimensions} dimensions instead of {D}"));
        }
        Ok(data.clone())
    }
}

fn is_reference(name: &str) -> bool {
    name.starts_with("out.") || name.starts_with("grad.")
}

fn values<T, const N: usize>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}
