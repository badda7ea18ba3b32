use std::convert::Infallible;

use burn::module::Param;
use burn::nn::{Embedding, Linear};
use burn::tensor::{Device, Tensor};
use moe_adapter::BaseLinear;

use crate::parameters::{LoadedParameters, ParameterSource, RandomParameters, Start};
use crate::{ModelError, WeightError, WeightSource};

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
            loaded: LoadedParameters::new(&mut source, device),
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

    fn projection(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<BaseLinear, WeightError> {
        self.loaded.projection(self.stored(path), inputs, outputs, bias)
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
