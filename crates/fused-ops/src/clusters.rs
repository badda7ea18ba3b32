use burn::tensor::Tensor;

#[cfg(device_kernels)]
use crate::cube::clusters as device;

/// Clusters of activations, each with a variance for every channel, and the smallest that is divided by.
#[derive(Debug, Clone)]
pub struct ClusterState {
    /// The centres, `[N, I]`.
    pub centres: Tensor<2>,
    /// The variances, `[N, I]`.
    pub variance: Tensor<2>,
    /// The smallest variance that a deviation is measured with.
    pub least_variance: f64,
}

/// How far a point lies from its cluster shifts the logits of its experts: by `gamma (d - 1)`, or without
/// `gamma` by `ln d`, for its deviation `d`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClusterShift {
    /// How many of the experts, the first ones, gain the shift; the others lose it.
    pub identity_experts: usize,
    /// How many tokens, one after the other, a point stands for.
    pub tokens_per_point: usize,
    /// The factor of the shift; `None` for the logarithm.
    pub gamma: Option<f64>,
    /// The smallest deviation that a logarithm is taken of.
    pub least_deviation: f64,
}

/// Which clusters points belong to, as one kernel of a GPU finds it for all of them: the nearest centre `c`, of
/// equal ones the first, and the deviation `d = max_i |x_i - c_i| / sigma_i`.
///
/// Each operation is one launch. On CPUs, for other types than f32, and in builds without the kernels there
/// is none of it: [`of`](Self::of) gives `None`.
#[derive(Debug, Clone)]
#[cfg_attr(not(device_kernels), allow(dead_code))]
pub struct Assigned {
    /// The cluster, the deviation and the channel that has it, `[R, 3]`.
    found: Tensor<2>,
    /// The numbers of the clusters, as floats, `[R, 1]`.
    pub cluster: Tensor<2>,
    /// The deviations less 1, `[R, 1]`.
    pub distance: Tensor<2>,
    /// `[R, I]`.
    points: Tensor<2>,
    clusters: ClusterState,
}

impl Assigned {
    /// Where points `[R, I]` belong. Nothing of it is differentiated, but for [`shifted`](Self::shifted).
    pub fn of(points: &Tensor<2>, clusters: &ClusterState) -> Option<Self> {
        #[cfg(device_kernels)]
        {
            let [found, cluster, distance] = device::assign(points, clusters)?;
            let (points, clusters) = (points.clone(), clusters.clone());
            Some(Self { found, cluster, distance, points, clusters })
        }
        #[cfg(not(device_kernels))]
        {
            let _ = (points, clusters);
            None
        }
    }

    /// The logits `[T, E]` of the points' tokens with their shifts. The gradient reaches the logits, and of each
    /// point the channel that has its deviation. `None` where the logits are of another kind than the points.
    pub fn shifted(&self, logits: &Tensor<2>, shift: ClusterShift) -> Option<Tensor<2>> {
        #[cfg(device_kernels)]
        return device::shift(logits, &self.points, &self.found, &self.clusters, shift);
        #[cfg(not(device_kernels))]
        {
            let _ = (logits, shift);
            None
        }
    }

    /// Centres and variances `[N, I]` after they moved, by `rate`, towards the means over their points with `real`
    /// `[R, 1]` other than 0, and over the squared deviations from where the centres were. Those
    /// without points stay, and all once `steps` `[1]` are as many as the number beside it.
    pub fn slid(
        &self,
        real: &Tensor<2>,
        rate: f64,
        bound: Option<(&Tensor<1>, usize)>,
    ) -> Option<[Tensor<2>; 2]> {
        #[cfg(device_kernels)]
        return device::slide(&self.points, &self.found, real, &self.clusters, rate, bound);
        #[cfg(not(device_kernels))]
        {
            let _ = (real, rate, bound);
            None
        }
    }
}

/// Where `steps` `[1]` are 0, clusters that have mean and variance of the points `[R, I]` with `real` `[R, 1]` other
/// than 0: centres at `mean + c sqrt(variance)`. Elsewhere the clusters as they are. `None` as with
/// [`Assigned::of`].
pub fn begun_clusters(
    points: &Tensor<2>,
    real: &Tensor<2>,
    steps: &Tensor<1>,
    clusters: &ClusterState,
) -> Option<[Tensor<2>; 2]> {
    #[cfg(device_kernels)]
    return device::begin(points, real, steps, clusters);
    #[cfg(not(device_kernels))]
    {
        let _ = (points, real, steps, clusters);
        None
    }
}
