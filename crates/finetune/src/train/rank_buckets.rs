use std::collections::HashMap;
use std::ops::Range;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use ranks::{Ranks, RanksError};

/// What passes found, summed over them: the gradients, and the running state that each has left.
pub(super) struct Found {
    pub(super) gradients: GradientsParams,
    pub(super) state: Option<Tensor<1>>,
}

/// Which gradients ranks sum together: those of neighbouring layers, from the last layers to the first, and
/// at last those of what is in no layer.
#[derive(Debug, Default)]
pub(super) struct RankBuckets {
    cuts: Vec<Range<usize>>,
    /// The bucket of what is in a layer.
    of: HashMap<ParamId, usize>,
}

impl RankBuckets {
    /// Buckets of layers of more than so many bytes of what is trained, given the parameters of each layer;
    /// one bucket for all where there are not more bytes than that.
    pub(super) fn new<M: Module>(model: &M, layers: &[Vec<ParamId>], bytes: usize) -> Self {
        let mut sizes = Sizes::default();
        model.visit(&mut sizes);
        let mut cuts = Vec::new();
        let (mut end, mut size) = (layers.len(), 0_usize);
        for (first, layer) in layers.iter().enumerate().rev() {
            size += layer.iter().filter_map(|id| sizes.0.get(id)).sum::<usize>();
            if size > bytes || first == 0 && !cuts.is_empty() {
                cuts.push(first..end);
                (end, size) = (first, 0);
            }
        }
        // What several layers share is whole with the first of them.
        let buckets = cuts.iter().enumerate();
        let of = buckets
            .flat_map(|(bucket, range)| {
                layers[range.clone()].iter().flatten().map(move |id| (*id, bucket))
            })
            .collect();
        Self { cuts, of }
    }

    /// The layers of the buckets but the last.
    pub(super) fn cuts(&self) -> &[Range<usize>] {
        &self.cuts
    }

    /// How many buckets there are.
    pub(super) fn count(&self) -> usize {
        self.cuts.len() + 1
    }

    fn holds(&self, bucket: usize, id: ParamId) -> bool {
        self.of.get(&id).copied().unwrap_or(self.cuts.len()) == bucket
    }

    /// The gradients of a bucket, which are taken out of others.
    pub(super) fn take<M: Module>(
        &self,
        model: &M,
        bucket: usize,
        from: &mut GradientsParams,
    ) -> GradientsParams {
        let mut take = Take { buckets: self, bucket, from, taken: GradientsParams::new() };
        model.visit(&mut take);
        take.taken
    }

    /// The gradients of a bucket and running state, one value after the other.
    pub(super) fn flat<M: Module>(
        &self,
        model: &M,
        bucket: usize,
        gradients: GradientsParams,
        state: Option<Tensor<1>>,
    ) -> Flat {
        let flat = Flat { parts: Vec::new(), present: Vec::new() };
        let mut flatten = Flatten { buckets: self, bucket, gradients, flat };
        model.visit(&mut flatten);
        flatten.flat.parts.extend(state);
        flatten.flat
    }

    /// What the sums over ranks of all buckets are, the last with running state of so many values.
    pub(super) fn restored<M: Module>(
        &self,
        model: &M,
        sums: Vec<FlatSum>,
        of_state: usize,
        device: &Device,
    ) -> Found {
        let (mut gradients, mut state) = (GradientsParams::new(), None);
        for (bucket, FlatSum { values, present }) in sums.into_iter().enumerate() {
            let count = values.len();
            if count == 0 {
                continue;
            }
            let all = Tensor::<1>::from_data(TensorData::new(values, [count]), device);
            if bucket == self.cuts.len() && of_state > 0 {
                state = Some(all.clone().narrow(0, count - of_state, of_state));
            }
            let present = present.into_iter();
            let mut restore =
                Restore { buckets: self, bucket, all, at: 0, present, sums: gradients };
            model.visit(&mut restore);
            gradients = restore.sums;
        }
        Found { gradients, state }
    }
}

/// The bytes of what is trained.
#[derive(Default)]
struct Sizes(HashMap<ParamId, usize>);

impl ModuleVisitor for Sizes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            let count: usize = param.val().dims().iter().product();
            self.0.insert(param.id, count * size_of::<f32>());
        }
    }
}

struct Take<'a> {
    buckets: &'a RankBuckets,
    bucket: usize,
    from: &'a mut GradientsParams,
    taken: GradientsParams,
}

impl ModuleVisitor for Take<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.buckets.holds(self.bucket, param.id)
            && let Some(gradient) = self.from.remove::<D>(param.id)
        {
            self.taken.register(param.id, gradient);
        }
    }
}

/// The gradients of all trainable parameters of a bucket, zeros where a rank has none.
pub(super) struct Flat {
    parts: Vec<Tensor<1>>,
    /// 1 for a parameter that has one.
    present: Vec<f32>,
}

/// A [`Flat`] summed over ranks, in host memory: `present` is how many have one.
pub(super) struct FlatSum {
    values: Vec<f32>,
    present: Vec<f32>,
}

impl Flat {
    /// Waits for the device, and sums over all ranks.
    pub(super) fn summed(self, ranks: &dyn Ranks) -> Result<FlatSum, RanksError> {
        let mut values: Vec<f32> = match self.parts.is_empty() {
            true => Vec::new(),
            false => Tensor::cat(self.parts, 0).into_data().iter::<f32>().collect(),
        };
        let count = values.len();
        values.extend(&self.present);
        ranks.sum(&mut values)?;
        let present = values.split_off(count);
        Ok(FlatSum { values, present })
    }
}

struct Flatten<'a> {
    buckets: &'a RankBuckets,
    bucket: usize,
    gradients: GradientsParams,
    flat: Flat,
}

impl ModuleVisitor for Flatten<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() || !self.buckets.holds(self.bucket, param.id) {
            return;
        }
        let gradient = self.gradients.remove::<D>(param.id);
        self.flat.present.push(if gradient.is_some() { 1.0 } else { 0.0 });
        self.flat.parts.push(match gradient {
            Some(gradient) => gradient.cast(DType::F32).flatten(0, D - 1),
            None => zeros(param.val().dims().iter().product(), &param.val().inner().device()),
        });
    }
}

fn zeros(count: usize, device: &Device) -> Tensor<1> {
    Tensor::<1>::zeros([count], device).cast(DType::F32)
}

/// The gradients that any rank has.
struct Restore<'a> {
    buckets: &'a RankBuckets,
    bucket: usize,
    all: Tensor<1>,
    at: usize,
    present: std::vec::IntoIter<f32>,
    sums: GradientsParams,
}

impl ModuleVisitor for Restore<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() || !self.buckets.holds(self.bucket, param.id) {
            return;
        }
        let value = param.val();
        let shape = value.dims();
        let count = shape.iter().product();
        let own = self.all.clone().narrow(0, self.at, count);
        self.at += count;
        if self.present.next().is_some_and(|ranks| ranks > 0.0) {
            self.sums.register(param.id, own.reshape(shape).cast(value.dtype()));
        }
    }
}
