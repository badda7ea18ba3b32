mod host;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use fused_ops::{Assigned, ClusterState, begun_clusters, matmul, runs_kernels};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::host_rows::HostRows;
use crate::{Buffer, random, select};

/// Where clusters are before they slide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClusterInit {
    /// Centres from the standard normal distribution, variances of 1. Activations of another size
    /// are far from all of them, so LoRA experts yield at first.
    #[default]
    Normal,
    /// Centres from the normal distribution that has, channel by channel, the mean and variance of
    /// the first training batch, and that variance.
    FirstBatch,
}

/// Cluster centres of activations that slide towards the activations of training, each with a
/// variance for every channel (SLIM, arXiv 2410.07739).
///
/// Centres, variance and steps are running state: saved and loaded, moved in training only, never by
/// an optimiser.
#[derive(Module, Debug)]
pub struct Clusters {
    /// The centres, `[N, I]`.
    pub centres: Buffer<2>,
    /// The variance of each channel, `[N, I]`.
    pub variance: Buffer<2>,
    /// How many training steps they have seen, `[1]`; absent where nothing depends on it.
    pub steps: Option<Buffer<1>>,
    /// What a centre and its variance keep of themselves in a training pass.
    pub momentum: f64,
    /// Where they start.
    #[module(skip)]
    pub init: ClusterInit,
    /// After how many training steps they stand still; `None` for never.
    #[module(skip)]
    pub sliding_steps: Option<usize>,
}

impl Clusters {
    /// The smallest variance that a distance is measured with.
    const SMALLEST_VARIANCE: f64 = 1e-10;

    /// `count` centres from the standard normal distribution, with variances of 1.
    pub(crate) fn init<R: Rng + ?Sized>(
        count: usize,
        hidden_size: usize,
        momentum: f64,
        rng: &mut R,
        device: &Device,
    ) -> Self {
        let shape = [count, hidden_size];
        Self {
            centres: Buffer::new(random::normal(shape, 1.0, rng, device)),
            variance: Buffer::new(Tensor::ones(shape, device)),
            steps: None,
            momentum,
            init: ClusterInit::Normal,
            sliding_steps: None,
        }
    }

    /// The same, with another start and end of sliding.
    pub(crate) fn sliding(mut self, init: ClusterInit, sliding_steps: Option<usize>) -> Self {
        let counted = init == ClusterInit::FirstBatch || sliding_steps.is_some();
        let device = self.centres.value().device();
        self.steps = counted.then(|| Buffer::new(Tensor::zeros([1], &device)));
        (self.init, self.sliding_steps) = (init, sliding_steps);
        self
    }

    /// Before the first training pass is routed: puts the clusters where [`ClusterInit::FirstBatch`]
    /// wants them. Nothing afterwards, nor with another start.
    ///
    /// # Shapes
    ///
    /// - `points`: `[R, I]`
    /// - `real`: `[R, 1]`, 1 for points that count, 0 for others
    pub fn start(&self, points: Tensor<2>, real: Tensor<2>) {
        let (ClusterInit::FirstBatch, Some(steps)) = (self.init, &self.steps) else { return };
        let here = points.clone().without_autodiff();
        if let Some(begun) = begun_clusters(&here, &real, &steps.value(), &self.state()) {
            return self.set(begun);
        }
        let begun = steps.value().greater_elem(0.0);
        // A read is free on a CPU; elsewhere the host would wait.
        if runs_kernels(&points) && begun.clone().into_data().iter::<bool>().all(|begun| begun) {
            return;
        }
        let padding = real.clone().equal_elem(0.0).expand(points.dims());
        let count = real.sum().clamp_min(1.0).reshape([1, 1]);
        let points = points.without_autodiff();
        let mean = points.clone().mask_fill(padding.clone(), 0.0).sum_dim(0) / count.clone();
        let square = (points - mean.clone()).powi_scalar(2).mask_fill(padding, 0.0);
        let variance = square.sum_dim(0) / count;
        for (buffer, started) in [
            (&self.centres, mean + self.centres.value() * variance.clone().sqrt()),
            (&self.variance, variance),
        ] {
            let before = buffer.value();
            let shape = before.dims();
            let begun = begun.clone().reshape([1, 1]).expand(shape);
            buffer.set(started.expand(shape).mask_where(begun, before));
        }
    }

    fn state(&self) -> ClusterState {
        ClusterState {
            centres: self.centres.value(),
            variance: self.variance.value(),
            least_variance: Self::SMALLEST_VARIANCE,
        }
    }

    fn set(&self, [centres, variance]: [Tensor<2>; 2]) {
        self.centres.set(centres);
        self.variance.set(variance);
    }

    /// Nearest centres and largest deviations of points `[R, I]` together, where a GPU has kernels for it.
    pub fn assigned(&self, points: &Tensor<2>) -> Option<Assigned> {
        Assigned::of(points, &self.state())
    }

    /// The centre with the least Euclidean distance to each point, `[R, I]` to one-hot `[R, N]`; of
    /// equal ones the first.
    pub fn nearest(&self, points: Tensor<2>) -> Tensor<2> {
        let centres = self.centres.value();
        let norms: Tensor<2> = centres.clone().powi_scalar(2).sum_dim(1).transpose();
        // The square of a point's norm is the same for all centres.
        let closeness = matmul(points.without_autodiff(), centres.transpose()) * 2.0 - norms;
        select::top_k_mask(closeness, 1)
    }

    /// `|x - c| / sigma` of each channel at the nearest centre, `[R, I]`.
    pub fn deviations(&self, points: Tensor<2>, nearest: Tensor<2>) -> Tensor<2> {
        let variance = self.variance.value().clamp_min(Self::SMALLEST_VARIANCE);
        let scale = matmul(nearest.clone(), variance.sqrt().recip());
        let centre = matmul(nearest, self.centres.value());
        (points - centre).abs() * scale
    }

    /// The largest `|x - c| / sigma` over the channels at the nearest centre, `[R, I]` to `[R, 1]`.
    pub fn largest_deviation(&self, points: Tensor<2>, nearest: Tensor<2>) -> Tensor<2> {
        if !runs_kernels(&points) {
            return self.deviations(points, nearest).max_dim(1);
        }
        let variance = self.variance.value().clamp_min(Self::SMALLEST_VARIANCE);
        let scale = variance.sqrt().recip();
        host::largest_deviation(points, &nearest, &self.centres.value(), &scale)
    }

    /// Of each row of few points, the nearest centre and the largest deviation there.
    pub(crate) fn nearest_of_few(&self, points: &HostRows) -> Vec<(usize, f32)> {
        let (centres, variance) = (self.centres.value(), self.variance.value());
        host::nearest_of_few(points, &centres, &variance, Self::SMALLEST_VARIANCE as f32)
    }

    /// Moves each centre towards the mean of the points that are nearest to it, and its variance
    /// towards their mean squared deviation from where the centre was. A cluster without points
    /// stays, and all do after the last of `sliding_steps`.
    ///
    /// # Shapes
    ///
    /// - `points`: `[R, I]`
    /// - `nearest`: `[R, N]`, one-hot
    /// - `real`: `[R, 1]`, 1 for points that count, 0 for others
    pub fn slide(&self, points: Tensor<2>, nearest: Tensor<2>, real: Tensor<2>) {
        let (centres, variance) = (self.centres.value(), self.variance.value());
        let points = points.without_autodiff();
        let [count, mean, square] = match runs_kernels(&points) {
            true => host::moments(&points, &nearest, &real, &centres),
            false => moments(points, nearest, real, &centres),
        };
        let mut rate = count.greater_elem(0.0).float() * (1.0 - self.momentum);
        if let Some(steps) = &self.steps {
            let seen = steps.value();
            if let Some(last) = self.sliding_steps {
                rate = rate * seen.clone().lower_elem(last as f64).float().reshape([1, 1]);
            }
            steps.set(seen + 1.0);
        }
        let moved = centres.clone() + (mean - centres) * rate.clone();
        self.set([moved, variance.clone() + (square - variance) * rate]);
    }

    /// [`slide`](Self::slide) for points that were [`assigned`](Self::assigned).
    pub(crate) fn slide_assigned(&self, assigned: &Assigned, real: &Tensor<2>) {
        let steps = self.steps.as_ref().map(Buffer::value);
        let bound = steps.as_ref().zip(self.sliding_steps);
        if let Some(moved) = assigned.slid(real, 1.0 - self.momentum, bound) {
            self.set(moved);
        }
        if let (Some(buffer), Some(seen)) = (&self.steps, steps) {
            buffer.set(seen + 1.0);
        }
    }
}

/// As [`host::moments`], in operations on tensors.
fn moments(
    points: Tensor<2>,
    nearest: Tensor<2>,
    real: Tensor<2>,
    centres: &Tensor<2>,
) -> [Tensor<2>; 3] {
    // Not a product with the mask: padding may hold anything, and 0 * inf is not 0.
    let padding = real.clone().equal_scalar(0.0).expand(points.dims());
    let points = points.mask_fill(padding, 0.0);

    let deviations = points.clone() - matmul(nearest.clone(), centres.clone());
    let members = (nearest * real).transpose();
    let count = members.clone().sum_dim(1);
    let points_of = count.clone().clamp_min(1.0);
    let mean = matmul(members.clone(), points) / points_of.clone();
    let square = matmul(members, deviations.powi_scalar(2)) / points_of;
    [count, mean, square]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().iter::<f32>().collect()
    }

    fn clusters(momentum: f64) -> Clusters {
        let device = Device::flex();
        Clusters {
            centres: Buffer::new(Tensor::from_data(
                [[0.0, 0.0], [10.0, 0.0], [-9.0, 9.0]],
                &device,
            )),
            variance: Buffer::new(Tensor::from_data([[1.0, 4.0], [1.0, 1.0], [1.0, 1.0]], &device)),
            steps: None,
            momentum,
            init: ClusterInit::Normal,
            sliding_steps: None,
        }
    }

    #[test]
    fn points_belong_to_the_nearest_centre_and_are_measured_with_its_deviation() {
        let clusters = clusters(0.5);
        let points = Tensor::<2>::from_data([[1.0, 2.0], [7.0, 0.0]], &Device::flex());
        let nearest = clusters.nearest(points.clone());
        assert_eq!(floats(nearest.clone()), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!(floats(clusters.deviations(points, nearest)), [1.0, 1.0, 3.0, 0.0]);
    }

    #[test]
    fn clusters_slide_towards_their_own_real_points_only() {
        let clusters = clusters(0.75);
        let device = Device::flex();
        let points = [[1.0, 2.0], [3.0, 0.0], [10.0, 4.0], [f32::INFINITY, f32::NAN]];
        let points = Tensor::<2>::from_data(points, &device);
        let nearest = [[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]];
        let nearest = Tensor::<2>::from_data(nearest, &device);
        let real = Tensor::<2>::from_data([[1.0], [1.0], [1.0], [0.0]], &device);
        clusters.slide(points, nearest, real);
        // Means [2, 1] and [10, 4]; squared deviations [5, 2] and [0, 16].
        let centres = floats(clusters.centres.value());
        assert_eq!(centres, [0.5, 0.25, 10.0, 1.0, -9.0, 9.0]);
        let variance = floats(clusters.variance.value());
        assert_eq!(variance, [2.0, 3.5, 0.75, 4.75, 1.0, 1.0]);
    }

    #[test]
    fn clusters_stand_still_after_the_last_sliding_step() {
        let device = Device::flex();
        let clusters = clusters(0.5).sliding(ClusterInit::Normal, Some(2));
        let point = Tensor::<2>::from_data([[8.0, 0.0]], &device);
        let nearest = Tensor::<2>::from_data([[1.0, 0.0, 0.0]], &device);
        let real = Tensor::<2>::ones([1, 1], &device);
        let first = |_| {
            clusters.slide(point.clone(), nearest.clone(), real.clone());
            floats(clusters.centres.value())[0]
        };
        assert_eq!([0, 1, 2, 3].map(first), [4.0, 6.0, 6.0, 6.0]);
    }

    #[test]
    fn the_first_batch_gives_mean_and_variance_once() {
        let device = Device::flex();
        let clusters = clusters(0.5).sliding(ClusterInit::FirstBatch, None);
        let points = Tensor::<2>::from_data([[1.0, 4.0], [3.0, 8.0], [f32::NAN, 0.0]], &device);
        let real = Tensor::<2>::from_data([[1.0], [1.0], [0.0]], &device);
        clusters.start(points.clone(), real.clone());
        // Means 2 and 6, variances 1 and 4.
        let started = [2.0, 6.0, 12.0, 6.0, -7.0, 24.0];
        assert_eq!(floats(clusters.centres.value()), started);
        assert_eq!(floats(clusters.variance.value()), [1.0, 4.0, 1.0, 4.0, 1.0, 4.0]);

        let nearest = Tensor::<2>::from_data([[1.0, 0.0, 0.0]; 3], &device);
        clusters.slide(points.clone(), nearest, real.clone());
        let moved = floats(clusters.centres.value());
        clusters.start(points * 2.0, real);
        assert_eq!(floats(clusters.centres.value()), moved);
    }

    #[test]
    fn visiting_rows_once_gives_what_operations_do() {
        use burn::tensor::Distribution;
        let device = Device::flex().autodiff();
        let random = |shape: [usize; 2], device: &Device| {
            Tensor::<2>::random(shape, Distribution::Normal(0.0, 2.0), device)
        };
        let clusters = Clusters {
            centres: Buffer::new(random([5, 130], &Device::flex())),
            variance: Buffer::new(random([5, 130], &Device::flex()).powi_scalar(2)),
            momentum: 0.9,
            ..clusters(0.9)
        };
        let points = random([200, 130], &device).require_grad();
        let nearest = clusters.nearest(points.clone());
        let close = |a: Tensor<2>, b: Tensor<2>| {
            let (a, b) = (floats(a), floats(b));
            let largest = b.iter().fold(1.0f32, |max, x| max.max(x.abs()));
            a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 2e-6 * largest)
        };
        let weight = random([200, 1], &Device::flex());
        let run = |deviation: Tensor<2>| {
            let grads = (deviation.clone() * weight.clone()).sum().backward();
            [deviation.inner(), Tensor::from_inner(points.grad(&grads).unwrap())]
        };
        let fast = run(clusters.largest_deviation(points.clone(), nearest.clone()));
        let plain = run(clusters.deviations(points.clone(), nearest.clone()).max_dim(1));
        assert!(fast.into_iter().zip(plain).all(|(fast, plain)| close(fast, plain)));

        let real = random([200, 1], &Device::flex()).greater_elem(0.5).float();
        let points = points.inner();
        let centres = clusters.centres.value();
        let fast = host::moments(&points, &nearest, &real, &centres);
        let plain = moments(points, nearest, real, &centres);
        assert!(fast.into_iter().zip(plain).all(|(fast, plain)| close(fast, plain)));
    }
}
