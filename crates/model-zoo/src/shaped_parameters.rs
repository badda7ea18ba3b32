use std::convert::Infallible;

use burn::module::{Param, ParamId};
use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Device, Shape, Tensor};

use crate::parameters::{ParameterSource, Start};

/// Parameters with shapes and no values, frozen: nothing is allocated until one is asked for, which
/// then is 0.
pub(crate) struct ShapedParameters<'a> {
    device: &'a Device,
}

impl<'a> ShapedParameters<'a> {
    pub(crate) fn new(device: &'a Device) -> Self {
        Self { device }
    }

    fn parameter<const D: usize>(&self, shape: [usize; D]) -> Param<Tensor<D>> {
        let zeros = move |device: &Device, _: bool| Tensor::zeros(shape, (device, DType::F32));
        let (id, device) = (ParamId::new(), self.device.clone());
        Param::uninitialized(id, zeros, device, false, Shape::from(shape))
    }
}

impl ParameterSource for ShapedParameters<'_> {
    type Error = Infallible;

    fn tensor<const D: usize>(
        &mut self,
        _name: &str,
        shape: [usize; D],
        _start: Start,
    ) -> Result<Param<Tensor<D>>, Infallible> {
        Ok(self.parameter(shape))
    }

    fn linear(
        &mut self,
        _path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, Infallible> {
        let weight = self.parameter([inputs, outputs]);
        Ok(Linear { weight, bias: bias.then(|| self.parameter([outputs])) })
    }

    fn linears<const N: usize>(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: [usize; N],
        bias: bool,
    ) -> Result<[Linear; N], Infallible> {
        let mut linear = |size| match self.linear(path, inputs, size, bias) {
            Ok(linear) => linear,
            Err(never) => match never {},
        };
        Ok(outputs.map(&mut linear))
    }

    fn embedding(
        &mut self,
        _path: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Embedding, Infallible> {
        Ok(Embedding { weight: self.parameter([rows, columns]) })
    }

    fn norm(&mut self, _path: &str, size: usize) -> Result<Param<Tensor<1>>, Infallible> {
        Ok(self.parameter([size]))
    }
}
