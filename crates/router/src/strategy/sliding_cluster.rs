use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use fused_ops::{ClusterShift, HostValues, TopKShares};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{at_least_one, number, number_of_experts};
use crate::few::{self, Weights};
use crate::host_rows::HostRows;
use crate::padding::spread;
use crate::{
    BatchContext, ClusterInit, Clusters, GateConfig, GatedRouter, Reach, Read, RouterError,
    RouterShape, Routing, RoutingExtras, Strategy, StrategyConfig, select,
};

/// How the deviations of all channels become one distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distance {
    /// The largest, as in the paper. Among `I` channels of a normal distribution it is about
    /// `sqrt(2 ln I)`.
    #[default]
    Max,
    /// Their mean.
    Mean,
    /// The square root of their mean square.
    Rms,
}

/// How the distance to the nearest cluster shifts weight between LoRA and identity experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Yielding {
    /// `logit - gamma d` for LoRA experts, `logit + gamma d` for identity experts.
    #[default]
    Additive,
    /// `p / (1 + d)` for LoRA experts, `p (1 + d)` for identity experts, normalised.
    Multiplicative,
}

/// What is assigned to clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// Each token.
    #[default]
    Token,
    /// Each sample, by the mean of its real tokens; its tokens share cluster and distance.
    Sample,
}

/// Configuration of a [`SlidingCluster`] router.
///
/// The paper gives `k` and the maximum over channels. It leaves the number of clusters, the
/// momentum, `gamma` and the rest open: those defaults are this project's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SlidingClusterRouterConfig {
    /// The number of experts for each token. Default 2.
    pub k: usize,
    /// The number of clusters, `N`. Default 8.
    pub num_clusters: usize,
    /// What a cluster keeps of itself in a training pass, in [0, 1). Default 0.99.
    pub momentum: f64,
    /// Where the clusters start. Default: normal.
    pub cluster_init: ClusterInit,
    /// After how many training steps the clusters stand still; `None` for at the end of training.
    /// Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sliding_steps: Option<usize>,
    /// How much weight yields, at least 0; for `additive` only. Default 0.1.
    pub gamma: f64,
    /// How the deviations of all channels become one distance. Default: the largest.
    pub distance: Distance,
    /// How the distance shifts weight. Default: additive.
    pub yielding: Yielding,
    /// What is assigned to clusters. Default: each token.
    pub assignment: Assignment,
    /// The gate.
    pub gate: GateConfig,
}

impl Default for SlidingClusterRouterConfig {
    fn default() -> Self {
        Self {
            k: 2,
            num_clusters: 8,
            momentum: 0.99,
            cluster_init: ClusterInit::Normal,
            sliding_steps: None,
            gamma: 0.1,
            distance: Distance::Max,
            yielding: Yielding::Additive,
            assignment: Assignment::Token,
            gate: GateConfig::default(),
        }
    }
}

impl StrategyConfig for SlidingClusterRouterConfig {
    type Strategy = SlidingCluster;

    fn gate(&self) -> &GateConfig {
        &self.gate
    }

    fn check_strategy(&self, shape: &RouterShape) -> Result<(), RouterError> {
        number_of_experts("k", self.k, shape.num_experts)?;
        at_least_one("num_clusters", self.num_clusters)?;
        number("momentum", self.momentum, |value| (0.0..1.0).contains(&value), "in [0, 1)")?;
        number("gamma", self.gamma, |value| value >= 0.0, "a finite number of at least 0")?;
        if shape.identity_experts >= shape.num_experts {
            let allowed = format!("less than the number of experts, {}", shape.num_experts);
            let value = shape.identity_experts;
            return Err(RouterError::Count { field: "identity_experts", value, allowed });
        }
        Ok(())
    }

    fn init_strategy<R: Rng + ?Sized>(
        &self,
        shape: &RouterShape,
        rng: &mut R,
        device: &Device,
    ) -> SlidingCluster {
        let (count, size) = (self.num_clusters, shape.hidden_size);
        SlidingCluster {
            clusters: Clusters::init(count, size, self.momentum, rng, device)
                .sliding(self.cluster_init, self.sliding_steps),
            identity_experts: shape.identity_experts,
            k: self.k,
            gamma: self.gamma,
            distance: self.distance,
            yielding: self.yielding,
            assignment: self.assignment,
        }
    }
}

/// Top-k of a softmax in which LoRA experts yield to identity experts far from what was trained on.
///
/// With the nearest of the sliding clusters, `d = max_i |x_i - c_i| / sigma_i - 1`; the logits of
/// LoRA experts become `logit - gamma d`, those of identity experts `logit + gamma d`; then
/// softmax, the `k` largest, and division by their sum. In training the clusters slide after the
/// routing was decided. Without identity experts the distance shifts nothing. Source: SLIM, arXiv
/// 2410.07739; see [`SlidingClusterRouterConfig`] for what it leaves open. Distance
/// and cluster are in the routing's extras.
#[derive(Module, Debug)]
pub struct SlidingCluster {
    /// The clusters: running state.
    pub clusters: Clusters,
    /// How many of the experts, the first ones, are identity experts.
    pub identity_experts: usize,
    /// The number of experts for each token.
    pub k: usize,
    /// How much weight yields.
    pub gamma: f64,
    /// How the deviations of all channels become one distance.
    #[module(skip)]
    pub distance: Distance,
    /// How the distance shifts weight.
    #[module(skip)]
    pub yielding: Yielding,
    /// What is assigned to clusters.
    #[module(skip)]
    pub assignment: Assignment,
}

/// See [`SlidingCluster`].
pub type SlidingClusterRouter = GatedRouter<SlidingCluster>;

/// The points that are assigned to clusters.
struct Points {
    /// `[R, I]`.
    points: Tensor<2>,
    /// `[R, 1]`, 1 for points that count.
    real: Tensor<2>,
    /// How many tokens each point stands for.
    tokens_per_point: usize,
}

/// What became of the logits of tokens.
struct Yielded {
    /// `[T, E]`.
    logits: Tensor<2>,
    /// To the nearest cluster, `[T]`.
    distance: Tensor<1>,
    /// `[T]`.
    cluster: Tensor<1, Int>,
}

impl SlidingCluster {
    /// The smallest `1 + d` that probabilities are multiplied with or divided by.
    const SMALLEST_FACTOR: f64 = 1e-3;

    fn points(&self, tokens: Tensor<2>, context: &BatchContext) -> Points {
        let real = context.real_tokens(&tokens.device());
        match self.assignment {
            Assignment::Token => {
                let real = real.reshape([tokens.dims()[0], 1]);
                Points { points: tokens, real, tokens_per_point: 1 }
            }
            Assignment::Sample => Points {
                points: context.sample_means(tokens),
                real: real.sum_dim(1).greater_elem(0.0).float(),
                tokens_per_point: context.seq_len,
            },
        }
    }

    /// Points `[R, I]` to `[R, 1]`: the distance to the nearest cluster, plus 1.
    fn deviation(&self, points: Tensor<2>, nearest: Tensor<2>) -> Tensor<2> {
        let clusters = &self.clusters;
        match self.distance {
            Distance::Max => clusters.largest_deviation(points, nearest),
            Distance::Mean => clusters.deviations(points, nearest).mean_dim(1),
            // The square root has no finite gradient at 0.
            Distance::Rms => {
                let square = clusters.deviations(points, nearest).powi_scalar(2);
                (square.mean_dim(1) + 1e-12).sqrt()
            }
        }
    }

    /// `[T, 1]`, what is added to the logits of identity experts and taken from those of others.
    fn shift(&self, distance: Tensor<2>) -> Tensor<2> {
        match self.yielding {
            Yielding::Additive => distance * self.gamma,
            // Multiplying probabilities is adding to logits.
            Yielding::Multiplicative => (distance + 1.0).clamp_min(Self::SMALLEST_FACTOR).log(),
        }
    }

    /// What the distances of points make of the logits, of which clusters slide afterwards in training.
    fn yield_composed(&self, logits: Tensor<2>, points: Points, training: bool) -> Yielded {
        let Points { points, real, tokens_per_point } = points;
        let [_, experts] = logits.dims();
        let signs = self.signs(experts, &logits.device());
        let nearest = self.clusters.nearest(points.clone());
        let deviation = self.deviation(points.clone(), nearest.clone());
        let distance = spread(deviation - 1.0, tokens_per_point);
        let [_, clusters] = nearest.dims();
        let index = Tensor::<1, Int>::arange(0..clusters as i64, &nearest.device());
        let cluster = (nearest.clone() * index.float().unsqueeze_dim(0)).sum_dim(1);
        let cluster = spread(cluster, tokens_per_point).squeeze_dim::<1>(1).int();
        if training {
            self.clusters.slide(points, nearest, real);
        }
        let logits = logits + self.shift(distance.clone()) * signs;
        Yielded { logits, distance: distance.squeeze_dim(1), cluster }
    }

    /// [`yield_composed`](Self::yield_composed) by the kernels of a GPU, where it has them.
    fn yield_on_device(&self, logits: &Tensor<2>, of: &Points, training: bool) -> Option<Yielded> {
        if self.distance != Distance::Max {
            return None;
        }
        let assigned = self.clusters.assigned(&of.points)?;
        let shift = ClusterShift {
            identity_experts: self.identity_experts,
            tokens_per_point: of.tokens_per_point,
            gamma: (self.yielding == Yielding::Additive).then_some(self.gamma),
            least_deviation: Self::SMALLEST_FACTOR,
        };
        let logits = assigned.shifted(logits, shift)?;
        if training {
            self.clusters.slide_assigned(&assigned, &of.real);
        }
        let distance = spread(assigned.distance, of.tokens_per_point);
        let cluster = spread(assigned.cluster, of.tokens_per_point);
        Some(Yielded {
            logits,
            distance: distance.squeeze_dim(1),
            cluster: cluster.squeeze_dim::<1>(1).int(),
        })
    }

    /// `[1, E]`, 1 for identity experts and -1 for others.
    fn signs(&self, experts: usize, device: &Device) -> Tensor<2> {
        let index = Tensor::<1, Int>::arange(0..experts as i64, device);
        let identity = index.lower_scalar(self.identity_experts as i64).float();
        (identity * 2.0 - 1.0).unsqueeze_dim(0)
    }
}

impl Strategy for SlidingCluster {
    fn reach(&self) -> Reach {
        match self.assignment {
            Assignment::Token => Reach::Token,
            Assignment::Sample => Reach::Sample,
        }
    }

    fn decide(&self, logits: Tensor<2>, read: Read, context: &BatchContext) -> Routing {
        let points = self.points(read.tokens, context);
        if context.is_training() {
            self.clusters.start(points.points.clone(), points.real.clone());
        }
        let training = context.is_training();
        let Yielded { logits, distance, cluster } = self
            .yield_on_device(&logits, &points, training)
            .unwrap_or_else(|| self.yield_composed(logits, points, training));
        let TopKShares { probabilities, mask, weights } = select::top_k_shares(&logits, self.k);
        let extras = RoutingExtras {
            distance: Some(distance),
            cluster: Some(cluster),
            ..Default::default()
        };
        Routing::dense(logits, probabilities, weights)
            .with_selection(mask, Some(self.k))
            .with_extras(extras)
    }

    fn decide_few(&self, logits: &Tensor<2>, tokens: &Tensor<2>) -> Option<Routing> {
        if self.assignment != Assignment::Token || self.distance != Distance::Max {
            return None;
        }
        let ([_, experts], device) = (logits.dims(), logits.device());
        let nearest = self.clusters.nearest_of_few(&HostRows::of(tokens));
        let mut logits = Vec::from(HostValues::of(logits));
        for (logits, (_, deviation)) in logits.chunks_exact_mut(experts).zip(&nearest) {
            let shift = match self.yielding {
                Yielding::Additive => (deviation - 1.0) * self.gamma as f32,
                Yielding::Multiplicative => deviation.max(Self::SMALLEST_FACTOR as f32).ln(),
            };
            let (identity, others) = logits.split_at_mut(self.identity_experts);
            identity.iter_mut().for_each(|logit| *logit += shift);
            others.iter_mut().for_each(|logit| *logit -= shift);
        }
        let distances: Vec<f32> = nearest.iter().map(|(_, deviation)| deviation - 1.0).collect();
        let clusters: Vec<i32> = nearest.iter().map(|(cluster, _)| *cluster as i32).collect();
        let count = [nearest.len()];
        let extras = RoutingExtras {
            distance: Some(few::of_rows(distances, count, &device)),
            cluster: Some(Tensor::from_data(TensorData::new(clusters, count), &device)),
            ..Default::default()
        };
        let routing = few::top_k(logits, experts, self.k, Weights::Renormalised, &device);
        Some(routing.with_extras(extras))
    }
}
