use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Device, Tensor};
use moe_adapter::{Adaptable, Projection};
use serde_json::Value;

use crate::files::replace_with;
use crate::parameters::{LoadedParameters, ParameterSource, RandomParameters, Start};
use crate::{ModelError, WeightError, WeightSource, WeightWriter};

/// What to know of a checkpoint to load a model from it.
pub(crate) struct Checkpoint {
    /// What precedes all names but those of the head, as in `roberta.`; checkpoints of the bare
    /// encoder leave it out.
    pub(crate) prefix: &'static str,
    /// Whether a tensor is none of ours, though it may be in a checkpoint with our head.
    pub(crate) ignored: fn(&str) -> bool,
    /// As `ignored`, where the head is new and the checkpoint may have another one.
    pub(crate) ignored_with_new_head: fn(&str) -> bool,
}

impl Checkpoint {
    /// Builds a model from the weights in `folder`. With `head`, what is under `classifier` is
    /// drawn from it; the rest is frozen either way.
    pub(crate) fn load<M>(
        &self,
        mut source: WeightSource,
        head: Option<RandomParameters<'_>>,
        device: &Device,
        build: impl FnOnce(&mut EncoderParameters) -> Result<M, WeightError>,
    ) -> Result<M, ModelError> {
        let bare = !source.names().any(|name| name.starts_with(self.prefix));
        source.ignore(self.ignored);
        if head.is_some() {
            source.ignore(self.ignored_with_new_head);
        }
        let mut parameters = EncoderParameters {
            loaded: LoadedParameters { source: &mut source, device },
            head,
            left_out: if bare { self.prefix } else { "" },
        };
        let model = build(&mut parameters)?;
        source.finish()?;
        Ok(model)
    }
}

/// Parameters read from files, but for the head where that is new.
pub(crate) struct EncoderParameters<'a> {
    loaded: LoadedParameters<'a>,
    head: Option<RandomParameters<'a>>,
    left_out: &'static str,
}

impl<'a> EncoderParameters<'a> {
    fn head(&mut self, name: &str) -> Option<&mut RandomParameters<'a>> {
        self.head.as_mut().filter(|_| name.starts_with("classifier"))
    }

    fn stored<'n>(&self, name: &'n str) -> &'n str {
        name.strip_prefix(self.left_out).unwrap_or(name)
    }
}

fn certain<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

impl ParameterSource for EncoderParameters<'_> {
    type Error = WeightError;

    fn linear(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, WeightError> {
        match self.head(path) {
            Some(head) => Ok(certain(head.linear(path, inputs, outputs, bias))),
            None => self.loaded.linear(self.stored(path), inputs, outputs, bias),
        }
    }

    fn embedding(
        &mut self,
        path: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Embedding, WeightError> {
        self.loaded.embedding(self.stored(path), rows, columns)
    }

    fn norm(&mut self, path: &str, size: usize) -> Result<Param<Tensor<1>>, WeightError> {
        self.loaded.norm(self.stored(path), size)
    }

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        start: Start,
    ) -> Result<Param<Tensor<D>>, WeightError> {
        match self.head(name) {
            Some(head) => Ok(certain(head.tensor(name, shape, start))),
            None => self.loaded.tensor(self.stored(name), shape, start),
        }
    }
}

/// Writes `config.json` and `model.safetensors`. Projections are written as the linears of the
/// base model; every other parameter under its module path, which is its Hugging Face name.
pub(crate) fn save<M: Adaptable>(
    model: &M,
    mut config: Value,
    folder: &Path,
) -> Result<(), ModelError> {
    let write = |path: &Path, source| ModelError::Write { path: path.to_owned(), source };
    fs::create_dir_all(folder).map_err(|source| write(folder, source))?;

    let mut writer = WeightWriter::new();
    let mut written = Ids::default();
    model.visit_projections(&mut |path, _, projection| {
        writer.push_linear(path, projection.linear());
        projection.visit(&mut written);
    });
    let mut others =
        Others { writer, written: written.0, path: Vec::new(), container: Vec::new(), dtype: None };
    model.visit(&mut others);
    let dtype = others.dtype;
    others.writer.write(&folder.join("model.safetensors"))?;

    if let Some(object) = config.as_object_mut() {
        let name = match dtype {
            Some(DType::F16) => "float16",
            Some(DType::BF16) => "bfloat16",
            _ => "float32",
        };
        object.insert("torch_dtype".to_owned(), name.into());
    }
    let path = folder.join("config.json");
    let text = format!("{config:#}\n");
    replace_with(&path, text.as_bytes()).map_err(|source| write(&path, source))
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
