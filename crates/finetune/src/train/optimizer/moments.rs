use burn::tensor::{DType, Tensor, TensorData};
use fused_ops::runs_kernels;
use quantization::{DynamicBlocks, DynamicMap};

/// From so many elements on moments are held in 8 bits, where they are.
pub(super) const SMALLEST_PACKED: usize = 4096;

/// What is known of a parameter that has made steps.
#[derive(Clone)]
pub(super) struct Moments<const D: usize> {
    /// How many.
    pub(super) time: usize,
    /// The momentum; of Adafactor the second moment, of a matrix that of its rows.
    pub(super) first: Option<Tensor<D>>,
    /// The second moment; of Adafactor that of a matrix's columns.
    pub(super) second: Option<Tensor<D>>,
    /// Both, where they are held in 8 bits instead.
    packed: Option<[DynamicBlocks; 2]>,
    /// The average of its values, where one is taken.
    pub(super) average: Option<Tensor<D>>,
}

impl<const D: usize> Moments<D> {
    /// After `time` steps, with the moments that there are.
    pub(super) fn new(
        time: usize,
        first: impl Into<Option<Tensor<D>>>,
        second: impl Into<Option<Tensor<D>>>,
    ) -> Self {
        Self { time, first: first.into(), second: second.into(), packed: None, average: None }
    }

    /// The same with both moments in 8 bits, where they are large enough.
    pub(super) fn packed(mut self) -> Self {
        let large = |moment: &Tensor<D>| moment.dims().iter().product::<usize>() >= SMALLEST_PACKED;
        if !self.first.as_ref().is_some_and(large) {
            return self;
        }
        if let (Some(first), Some(second)) = (self.first.take(), self.second.take()) {
            let pack = |moment: Tensor<D>, map| {
                let moment = moment.flatten::<1>(0, D - 1).cast(DType::F32);
                match runs_kernels(&moment) {
                    true => DynamicBlocks::pack_on_host(moment, map),
                    false => DynamicBlocks::pack(moment, map),
                }
            };
            self.packed =
                Some([pack(first, DynamicMap::Signed), pack(second, DynamicMap::Unsigned)]);
        }
        self
    }

    /// The same with both moments as tensors like the parameter.
    pub(super) fn unpacked(mut self, param: &Tensor<D>) -> Self {
        if let Some(packed) = self.packed.take() {
            let [first, second] = packed.map(|blocks| {
                let numbers = match runs_kernels(param) {
                    true => blocks.unpack_on_host(),
                    false => blocks.unpack(),
                };
                numbers.reshape(param.dims()).cast(param.dtype())
            });
            (self.first, self.second) = (Some(first), Some(second));
        }
        self
    }

    /// What files hold of them: the moments, or their codes and then their scales. `shape` is the
    /// parameter's.
    pub(super) fn data(&self, shape: [usize; D]) -> Vec<TensorData> {
        let Some(packed) = &self.packed else {
            let whole = [&self.first, &self.second].into_iter().flatten();
            return whole.map(|moment| moment.clone().cast(DType::F32).into_data()).collect();
        };
        let codes = packed.iter().map(|blocks| TensorData::new(blocks.codes(), shape));
        let scales = packed.iter().map(|blocks| {
            let scales = blocks.scales();
            let len = scales.len();
            TensorData::new(scales, [len])
        });
        codes.chain(scales).collect()
    }

    /// What [`data`](Self::data) gave, for a parameter like `param`.
    pub(super) fn of_data(
        time: usize,
        data: Vec<TensorData>,
        param: &Tensor<D>,
    ) -> Result<Self, String> {
        let device = param.device();
        let mut moments = Self::new(time, None, None);
        match <[TensorData; 4]>::try_from(data) {
            Ok([first, second, scales_of_first, scales_of_second]) => {
                let blocks = |codes: TensorData, scales: TensorData, map| {
                    let (codes, scales) = (codes.iter().collect(), scales.iter().collect());
                    DynamicBlocks::from_parts(codes, scales, map, &device)
                        .map_err(|error| error.to_string())
                };
                moments.packed = Some([
                    blocks(first, scales_of_first, DynamicMap::Signed)?,
                    blocks(second, scales_of_second, DynamicMap::Unsigned)?,
                ]);
            }
            Err(whole) => {
                let mut whole = whole
                    .into_iter()
                    .map(|data| Tensor::<D>::from_data(data, &device).cast(param.dtype()));
                (moments.first, moments.second) = (whole.next(), whole.next());
            }
        }
        Ok(moments)
    }

    /// Moves the average towards the value after a step: `d average + (1 - d) value` with
    /// `d = min(decay, (1 + t) / (10 + t))` after step `t`, so that it does not hang on the value
    /// that it starts from, that `before` the first step.
    pub(super) fn average(
        &mut self,
        earlier: Option<Tensor<D>>,
        before: Tensor<D>,
        value: Tensor<D>,
        decay: f64,
    ) {
        let time = self.time as f64;
        let decay = decay.min((1.0 + time) / (10.0 + time));
        self.average = Some(earlier.unwrap_or(before) * decay + value * (1.0 - decay));
    }
}
