// Each test file uses a part of this.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use model_zoo::{Classifier, TokenInput};
use router::RoutingTape;
use safetensors::{Dtype, SafeTensors};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Name, element type, shape and bytes of every tensor in a file.
pub type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

pub fn tensors(path: &Path) -> Tensors {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let all = file.tensors().into_iter();
    all.map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec()))).collect()
}

/// Writes a folder with these weights and the configuration of another folder, changed.
pub fn write_folder(
    folder: &Path,
    tensors: &Tensors,
    config_of: &Path,
    change: impl FnOnce(&mut serde_json::Value),
) {
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("model.safetensors"), bytes).unwrap();
    let config = fs::read(config_of.join("config.json")).unwrap();
    let mut config = serde_json::from_slice(&config).unwrap();
    change(&mut config);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// Inputs and outputs, computed by transformers.
pub struct Reference(Tensors);

impl Reference {
    pub fn read(name: &str) -> Self {
        Self(tensors(&golden(name).join("reference.safetensors")))
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        let (dtype, _, data) = &self.0[name];
        assert_eq!(*dtype, Dtype::F32);
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn integers(&self, name: &str) -> Vec<i64> {
        let (dtype, _, data) = &self.0[name];
        assert_eq!(*dtype, Dtype::I64);
        data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
    }

    pub fn shape<const D: usize>(&self, name: &str) -> [usize; D] {
        self.0[name].1.clone().try_into().unwrap()
    }

    pub fn tokens(&self) -> TokenInput {
        self.tokens_on(&Device::flex())
    }

    pub fn tokens_on(&self, device: &Device) -> TokenInput {
        let shape = self.shape::<2>("input_ids");
        let ids = TensorData::new(self.integers("input_ids"), shape);
        let mask: Vec<bool> = self.integers("attention_mask").iter().map(|m| *m == 1).collect();
        assert!(mask.contains(&false), "the reference has padding");
        let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, shape), device);
        TokenInput::new(Tensor::<2, Int>::from_data(ids, device)).with_attention_mask(mask)
    }

    pub fn images(&self) -> Tensor<4> {
        self.images_on(&Device::flex())
    }

    pub fn images_on(&self, device: &Device) -> Tensor<4> {
        let data = TensorData::new(self.floats("pixel_values"), self.shape::<4>("pixel_values"));
        Tensor::from_data(data, device)
    }

    /// The largest difference of `found` from `name`, relative to the largest value.
    pub fn error<const D: usize>(&self, name: &str, found: Tensor<D>) -> f32 {
        assert_eq!(found.dims(), self.shape::<D>(name), "{name}");
        relative_error(&values(found), &self.floats(name))
    }
}

pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

/// Relative to the largest expected value; NaN where something is no number.
pub fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let differences = found.iter().zip(expected).map(|(x, y)| (x - y).abs());
    differences.fold(0.0, |a: f32, d| if d.is_nan() { f32::NAN } else { a.max(d) }) / largest
}

pub fn logits<M: Classifier>(model: &M, input: &M::Input) -> Vec<f32> {
    values(model.logits(input, &mut RoutingTape::new(model.context(input))))
}

/// The module paths of float parameters, with their number of values and whether they train.
#[derive(Default)]
pub struct Parameters {
    path: Vec<String>,
    pub found: BTreeMap<String, (usize, bool)>,
}

impl Parameters {
    pub fn of(model: &impl Module) -> Self {
        let mut parameters = Self::default();
        model.visit(&mut parameters);
        parameters
    }

    pub fn count(&self) -> usize {
        self.found.values().map(|(count, _)| count).sum()
    }

    pub fn trainable(&self) -> Vec<&str> {
        let all = self.found.iter();
        all.filter(|(_, (_, trains))| *trains).map(|(path, _)| path.as_str()).collect()
    }
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let count = param.val().shape().num_elements();
        self.found.insert(self.path.join("."), (count, param.is_require_grad()));
    }
}
