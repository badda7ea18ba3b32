use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Tensor};
use moe_adapter::{Adaptable, Projection};
use serde_json::Value;
use tensor_files::write_atomically;

use crate::{ModelError, Rounding, WeightDType, WeightWriter};

/// Writes `config.json` and `model.safetensors`. Projections are written as the linears of the
/// base model; every other parameter under its module path, which is its Hugging Face name. All are
/// rounded to `dtype`, where there is one.
pub(crate) fn save<M: Adaptable>(
    model: &M,
    mut config: Value,
    folder: &Path,
    dtype: Option<DType>,
) -> Result<Rounding, ModelError> {
    let write = |path: &Path, source| ModelError::Write { path: path.to_owned(), source };
    fs::create_dir_all(folder).map_err(|source| write(folder, source))?;

    let mut writer = WeightWriter::in_dtype(dtype);
    let mut written = Ids::default();
    model.visit_projections(&mut |path, _, projection| {
        writer.push_linear(path, projection.linear(), DType::F32);
        projection.visit(&mut written);
    });
    let mut others =
        Others { writer, written: written.0, path: Vec::new(), container: Vec::new(), dtype: None };
    model.visit(&mut others);
    let dtype = dtype.or(others.dtype);
    let rounding = others.writer.write(&folder.join("model.safetensors"))?;

    if let Some(object) = config.as_object_mut() {
        let dtype = dtype.map_or(WeightDType::F32, WeightDType::of);
        object.insert("torch_dtype".to_owned(), dtype.name().into());
    }
    let path = folder.join("config.json");
    let text = format!("{config:#}\n");
    write_atomically(&path, text.as_bytes()).map_err(|source| write(&path, source))?;
    Ok(rounding)
}

/// Collects the identities of parameters.
#[derive(Default)]
struct Ids(BTreeSet<ParamId>);

impl ModuleVisitor for Ids {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id);
    }
}

/// Writes the parameters outside of projections.
struct Others {
    writer: WeightWriter,
    written: BTreeSet<ParamId>,
    path: Vec<String>,
    container: Vec<String>,
    dtype: Option<DType>,
}

impl ModuleVisitor for Others {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_owned());
        self.container.push(container.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.container.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.written.contains(&param.id) {
            return;
        }
        let tensor = param.val();
        self.dtype.get_or_insert(tensor.dtype());
        // Files have `[out, in]`, the linears of the head `[in, out]`.
        let in_linear = self.container.last().is_some_and(|name| name == "Struct:Linear");
        let tensor = if in_linear && D == 2 { tensor.transpose() } else { tensor };
        self.writer.push(self.path.join("."), tensor);
    }
}
