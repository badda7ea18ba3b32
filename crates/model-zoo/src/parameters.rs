use std::convert::Infallible;
use std::f64::consts::TAU;

use burn::module::Param;
use burn::nn::{Embedding, Linear};
use burn::tensor::{DType, Device, Tensor, TensorData};
use moe_adapter::{BaseLinear, QuantizedLinear};
use quantization::{QuantizedMatrix, QuantizedParts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{WeightError, WeightSource};

/// Where a tensor starts that is not loaded.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// From the normal distribution of matrices.
    Normal,
    Ones,
    Zeros,
}

/// Where a model gets its parameters from while it is put together, by their Hugging Face paths.
pub(crate) trait ParameterSource {
    type Error;

    /// The tensor `name`, as it is stored.
    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        start: Start,
    ) -> Result<Param<Tensor<D>>, Self::Error>;

    /// `<path>.weight` and, with `bias`, `<path>.bias`.
    fn linear(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, Self::Error>;

    /// Whether there is a file that holds a tensor of this name.
    fn holds(&self, _name: &str) -> bool {
        false
    }

    /// The linears that `name` holds as one for each of `count` experts, `[count, outputs, inputs]`:
    /// those of `expert`, which is the next one, their outputs one after the other.
    fn stacked<const N: usize>(
        &mut self,
        name: &str,
        expert: usize,
        _count: usize,
        inputs: usize,
        outputs: [usize; N],
    ) -> Result<[BaseLinear; N], Self::Error> {
        self.projections(&format!("{name}.{expert}"), inputs, outputs, false)
    }

    /// As [`linear`](Self::linear), for one that adapters can be put on: it may be quantised.
    fn projection(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<BaseLinear, Self::Error> {
        self.linear(path, inputs, outputs, bias).map(BaseLinear::from)
    }

    /// As [`linears`](Self::linears), for those that adapters can be put on.
    fn projections<const N: usize>(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: [usize; N],
        bias: bool,
    ) -> Result<[BaseLinear; N], Self::Error> {
        self.linears(path, inputs, outputs, bias).map(|linears| linears.map(BaseLinear::from))
    }

    /// `<path>.weight`, `[rows, columns]`.
    fn embedding(
        &mut self,
        path: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Embedding, Self::Error>;

    /// `<path>.weight`, `[size]`.
    fn norm(&mut self, path: &str, size: usize) -> Result<Param<Tensor<1>>, Self::Error>;

    /// `<path>.weight`, `[size]`, of a norm that multiplies by one more than its weight.
    fn norm_offset(&mut self, path: &str, size: usize) -> Result<Param<Tensor<1>>, Self::Error> {
        self.norm(path, size)
    }

    /// The linears that `<path>` holds as one: their outputs one after the other.
    fn linears<const N: usize>(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: [usize; N],
        bias: bool,
    ) -> Result<[Linear; N], Self::Error> {
        let whole = self.linear(path, inputs, outputs.iter().sum(), bias)?;
        Ok(parts(&whole, outputs))
    }
}

/// The linears that one is made of: their outputs one after the other.
fn parts<const N: usize>(whole: &Linear, outputs: [usize; N]) -> [Linear; N] {
    let mut start = 0;
    outputs.map(|size| {
        let at = start;
        start += size;
        Linear {
            weight: part(&whole.weight, 1, at, size),
            bias: whole.bias.as_ref().map(|bias| part(bias, 0, at, size)),
        }
    })
}

/// A copy of a part of a parameter, so that the rest is not kept.
pub(crate) fn part<const D: usize>(
    whole: &Param<Tensor<D>>,
    dim: usize,
    start: usize,
    len: usize,
) -> Param<Tensor<D>> {
    let tensor = whole.val();
    let (device, dtype) = (tensor.device(), tensor.dtype());
    let data = tensor.narrow(dim, start, len).into_data();
    Param::from_tensor(Tensor::from_data(data, (&device, dtype)))
        .set_require_grad(whole.is_require_grad())
}

/// Parameters read from files, frozen.
pub(crate) struct LoadedParameters<'a> {
    source: &'a mut WeightSource,
    device: &'a Device,
    wide_vectors: bool,
}

impl<'a> LoadedParameters<'a> {
    pub(crate) fn new(source: &'a mut WeightSource, device: &'a Device) -> Self {
        Self { source, device, wide_vectors: false }
    }

    /// The parts of a linear that is held quantised.
    fn quantized(
        &mut self,
        path: &str,
        dims: [usize; 2],
    ) -> Result<Option<QuantizedParts>, WeightError> {
        let parts = self.source.take_quantized(path, dims)?;
        if parts.is_some() {
            self.check_quantized(&format!("{path}.weight"))?;
        }
        Ok(parts)
    }

    fn check_quantized(&self, name: &str) -> Result<(), WeightError> {
        match self.device.supports_dtype(DType::U8) {
            true => Ok(()),
            false => Err(WeightError::DeviceDtype { name: name.to_owned(), dtype: DType::U8 }),
        }
    }

    /// The linears that a quantised one is made of.
    fn quantized_linears<const N: usize>(
        &self,
        whole: &QuantizedParts,
        outputs: [usize; N],
        whole_bias: Option<&Param<Tensor<1>>>,
    ) -> [BaseLinear; N] {
        let mut start = 0;
        outputs.map(|size| {
            let at = start;
            start += size;
            let bias = whole_bias.map(|bias| part(bias, 0, at, size));
            self.quantized_linear(whole.outputs(at, size), bias)
        })
    }

    fn quantized_linear(
        &self,
        parts: QuantizedParts,
        bias: Option<Param<Tensor<1>>>,
    ) -> BaseLinear {
        let matrix = QuantizedMatrix::from_checked(parts, self.device);
        BaseLinear::Quantized(QuantizedLinear { matrix, bias })
    }

    fn bias(
        &mut self,
        path: &str,
        outputs: usize,
        bias: bool,
    ) -> Result<Option<Param<Tensor<1>>>, WeightError> {
        bias.then(|| self.vector(&format!("{path}.bias"), outputs)).transpose()
    }

    /// Norms and biases in f32, whatever matrices are held in.
    pub(crate) fn with_wide_vectors(self, wide_vectors: bool) -> Self {
        Self { wide_vectors, ..self }
    }

    fn vector(&mut self, name: &str, size: usize) -> Result<Param<Tensor<1>>, WeightError> {
        let vector = self.source.take(name, [size], self.device)?;
        Ok(frozen(if self.wide_vectors { vector.cast(DType::F32) } else { vector }))
    }
}

impl ParameterSource for LoadedParameters<'_> {
    type Error = WeightError;

    fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        _start: Start,
    ) -> Result<Param<Tensor<D>>, WeightError> {
        Ok(frozen(self.source.take(name, shape, self.device)?))
    }

    fn linear(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, WeightError> {
        let name = format!("{path}.weight");
        let weight = self.source.take_transposed(&name, [outputs, inputs], self.device)?;
        Ok(Linear { weight: frozen(weight), bias: self.bias(path, outputs, bias)? })
    }

    fn projection(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<BaseLinear, WeightError> {
        let Some(parts) = self.quantized(path, [inputs, outputs])? else {
            return self.linear(path, inputs, outputs, bias).map(BaseLinear::from);
        };
        let bias = self.bias(path, outputs, bias)?;
        Ok(self.quantized_linear(parts, bias))
    }

    fn projections<const N: usize>(
        &mut self,
        path: &str,
        inputs: usize,
        outputs: [usize; N],
        bias: bool,
    ) -> Result<[BaseLinear; N], WeightError> {
        let whole: usize = outputs.iter().sum();
        let Some(parts) = self.quantized(path, [inputs, whole])? else {
            let linears = self.linears(path, inputs, outputs, bias)?;
            return Ok(linears.map(BaseLinear::from));
        };
        let whole_bias = self.bias(path, whole, bias)?;
        Ok(self.quantized_linears(&parts, outputs, whole_bias.as_ref()))
    }

    fn holds(&self, name: &str) -> bool {
        self.source.names().any(|held| held == name)
    }

    fn stacked<const N: usize>(
        &mut self,
        name: &str,
        expert: usize,
        count: usize,
        inputs: usize,
        outputs: [usize; N],
    ) -> Result<[BaseLinear; N], WeightError> {
        let shape = [count, outputs.iter().sum(), inputs];
        if let Some(whole) = self.source.take_slice_quantized(name, shape, expert)? {
            self.check_quantized(name)?;
            return Ok(self.quantized_linears(&whole, outputs, None));
        }
        let weight = self.source.take_slice_transposed(name, shape, expert, self.device)?;
        let whole = Linear { weight: frozen(weight), bias: None };
        Ok(match N {
            1 => outputs.map(|_| whole.clone()),
            _ => parts(&whole, outputs),
        }
        .map(BaseLinear::from))
    }

    fn embedding(
        &mut self,
        path: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Embedding, WeightError> {
        let weight = self.source.take(&format!("{path}.weight"), [rows, columns], self.device)?;
        Ok(Embedding { weight: frozen(weight) })
    }

    fn norm(&mut self, path: &str, size: usize) -> Result<Param<Tensor<1>>, WeightError> {
        self.vector(&format!("{path}.weight"), size)
    }
}

fn frozen<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::from_tensor(tensor).set_require_grad(false)
}

/// Random parameters, trainable: matrices from a normal distribution, biases 0, norms 1.
///
/// Drawn on the host, so that a seed gives the same model on every device.
pub(crate) struct RandomParameters<'a> {
    rng: ChaCha8Rng,
    std: f64,
    device: &'a Device,
}

impl<'a> RandomParameters<'a> {
    pub(crate) fn new(seed: u64, std: f64, device: &'a Device) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), std, device }
    }

    pub(crate) fn matrix(&mut self, rows: usize, columns: usize) -> Param<Tensor<2>> {
        let values = self.normal(rows * columns);
        self.parameter(values, [rows, columns])
    }

    fn normal(&mut self, count: usize) -> Vec<f32> {
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            // Box and Muller: two uniform numbers give two normal ones.
            let radius = self.std * (-2.0 * (1.0 - self.rng.random::<f64>()).ln()).sqrt();
            let (sin, cos) = (TAU * self.rng.random::<f64>()).sin_cos();
            values.extend([(radius * cos) as f32, (radius * sin) as f32]);
        }
        values.truncate(count);
        values
    }

    fn parameter<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Param<Tensor<D>> {
        let data = TensorData::new(values, shape);
        Param::from_tensor(Tensor::from_data(data, (self.device, DType::F32)))
    }
}

impl ParameterSource for RandomParameters<'_> {
    type Error = Infallible;

    fn tensor<const D: usize>(
        &mut self,
        _name: &str,
        shape: [usize; D],
        start: Start,
    ) -> Result<Param<Tensor<D>>, Infallible> {
        let count = shape.iter().product();
        let values = match start {
            Start::Normal => self.normal(count),
            Start::Ones => vec![1.0; count],
            Start::Zeros => vec![0.0; count],
        };
        Ok(self.parameter(values, shape))
    }

    fn linear(
        &mut self,
        _path: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, Infallible> {
        let weight = self.matrix(inputs, outputs);
        let bias = bias.then(|| self.parameter(vec![0.0; outputs], [outputs]));
        Ok(Linear { weight, bias })
    }

    fn embedding(
        &mut self,
        _path: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Embedding, Infallible> {
        Ok(Embedding { weight: self.matrix(rows, columns) })
    }

    fn norm(&mut self, _path: &str, size: usize) -> Result<Param<Tensor<1>>, Infallible> {
        Ok(self.parameter(vec![1.0; size], [size]))
    }

    fn norm_offset(&mut self, _path: &str, size: usize) -> Result<Param<Tensor<1>>, Infallible> {
        Ok(self.parameter(vec![0.0; size], [size]))
    }
}
