//! Clusters of activations: which is nearest, what that does to the choice of experts, and how they move.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::NoCheckpointing};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::{Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{beside, by_row, each, like};
use super::{kernel, plain, rows, tensor};
use crate::{ClusterShift, ClusterState};

type Tracked = Autodiff<CubeBackend>;

fn primitives(clusters: &ClusterState) -> Option<[CubeTensor; 2]> {
    Some([plain(&clusters.centres)?, plain(&clusters.variance)?])
}

/// See [`Assigned::of`](crate::Assigned::of).
pub(crate) fn assign(points: &Tensor<2>, clusters: &ClusterState) -> Option<[Tensor<2>; 3]> {
    let points = plain(points)?;
    let [centres, variance] = primitives(clusters)?;
    let count = centres.shape()[0];
    let (rows, width) = rows(&points);
    let out = beside(&points, Shape::from([rows, kernel::ASSIGNED]));
    let [places, distances] = [(); 2].map(|()| beside(&points, Shape::from([rows, 1])));
    let (cubes, dim, units) = by_row(&out, rows, width);
    let client = out.client.clone();
    let [points, centres, variance] = [points, centres, variance].map(CubeTensor::into_tensor_arg);
    let results = [out, places, distances];
    let [found, places, distances] = results.clone().map(CubeTensor::into_tensor_arg);
    let least = clusters.least_variance as f32;
    kernel::assign::launch(
        &client, cubes, dim, points, centres, variance, found, places, distances, rows, count,
        least, width, units,
    );
    Some(results.map(tensor))
}

/// What [`shift`] needs again for its gradient.
#[derive(Debug, Clone)]
struct Shift {
    points: CubeTensor,
    found: CubeTensor,
    clusters: [CubeTensor; 2],
    least_variance: f32,
    how: ClusterShift,
}

impl Shift {
    fn forward(&self, logits: CubeTensor) -> CubeTensor {
        let logits = into_contiguous(logits);
        let out = like(&logits);
        let (_, experts) = rows(&logits);
        let (cubes, dim) = each(&out, out.shape().num_elements());
        let client = out.client.clone();
        kernel::yielded::launch(
            &client,
            cubes,
            dim,
            logits.into_tensor_arg(),
            self.found.clone().into_tensor_arg(),
            out.clone().into_tensor_arg(),
            self.how.identity_experts,
            self.how.tokens_per_point,
            experts,
            self.gamma(),
            self.how.least_deviation as f32,
            self.how.gamma.is_some(),
        );
        out
    }

    /// The gradient of the points.
    fn backward(self, grad: CubeTensor) -> CubeTensor {
        let grad = into_contiguous(grad);
        let out = like(&self.points);
        let ((_, width), (_, experts)) = (rows(&self.points), rows(&grad));
        let (cubes, dim) = each(&out, out.shape().num_elements());
        let (client, gamma) = (out.client.clone(), self.gamma());
        let [centres, variance] = self.clusters.map(CubeTensor::into_tensor_arg);
        kernel::yielded_points_grad::launch(
            &client,
            cubes,
            dim,
            self.points.into_tensor_arg(),
            centres,
            variance,
            self.found.into_tensor_arg(),
            grad.into_tensor_arg(),
            out.clone().into_tensor_arg(),
            self.how.identity_experts,
            self.how.tokens_per_point,
            experts,
            gamma,
            self.how.least_deviation as f32,
            self.least_variance,
            self.how.gamma.is_some(),
            width,
        );
        out
    }

    fn gamma(&self) -> f32 {
        self.how.gamma.unwrap_or_default() as f32
    }
}

/// Its parents are the logits and the points.
#[derive(Debug)]
struct Shifted;

impl Backward<CubeBackend, 2> for Shifted {
    type State = Shift;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<CubeBackend>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|parent| parent.id));
        let [logits, points]: [Option<NodeId>; 2] = parents;
        if let Some(points) = points {
            grads.register::<CubeBackend>(points, ops.state.backward(grad.clone()));
        }
        if let Some(logits) = logits {
            grads.register::<CubeBackend>(logits, grad);
        }
    }
}

/// See [`Assigned::shifted`](crate::Assigned::shifted).
pub(crate) fn shift(
    logits: &Tensor<2>,
    points: &Tensor<2>,
    found: &Tensor<2>,
    clusters: &ClusterState,
    how: ClusterShift,
) -> Option<Tensor<2>> {
    let shift = Shift {
        points: plain(points)?,
        found: plain(found)?,
        clusters: primitives(clusters)?,
        least_variance: clusters.least_variance as f32,
        how,
    };
    plain(logits)?;
    if !logits.is_autodiff() && !points.is_autodiff() {
        return Some(tensor(shift.forward(plain(logits)?)));
    }
    let tracked = |tensor: &Tensor<2>| tensor.clone().try_into_primitive::<Tracked>().ok();
    let (logits, points) = (tracked(logits)?, tracked(points)?);
    let shifted = shift.forward(logits.primitive().clone());
    let nodes = [logits.node(), points.node()];
    let shifted = match Shifted.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(shift, shifted),
        OpsKind::UnTracked(prep) => prep.finish(shifted),
    };
    Some(Tensor::from_primitive::<Tracked>(shifted))
}

/// See [`Assigned::slid`](crate::Assigned::slid).
pub(crate) fn slide(
    points: &Tensor<2>,
    found: &Tensor<2>,
    real: &Tensor<2>,
    clusters: &ClusterState,
    rate: f64,
    bound: Option<(&Tensor<1>, usize)>,
) -> Option<[Tensor<2>; 2]> {
    let [points, found, real] = [plain(points)?, plain(found)?, plain(real)?];
    let [centres, variance] = primitives(clusters)?;
    let results = [like(&centres), like(&variance)];
    let (rows, width) = rows(&points);
    let (cubes, dim) = each(&centres, centres.shape().num_elements());
    let (steps, last) = match bound {
        Some((steps, last)) => (plain(steps)?, last as f32),
        // Is not read.
        None => (real.clone(), 0.0),
    };
    let client = centres.client.clone();
    let [to_centres, to_variance] = results.clone().map(CubeTensor::into_tensor_arg);
    kernel::slide::launch(
        &client,
        cubes,
        dim,
        points.into_tensor_arg(),
        real.into_tensor_arg(),
        found.into_tensor_arg(),
        steps.into_tensor_arg(),
        centres.into_tensor_arg(),
        variance.into_tensor_arg(),
        to_centres,
        to_variance,
        rows,
        rate as f32,
        last,
        bound.is_some(),
        width,
    );
    Some(results.map(tensor))
}

/// See [`begun_clusters`](crate::begun_clusters).
pub(crate) fn begin(
    points: &Tensor<2>,
    real: &Tensor<2>,
    steps: &Tensor<1>,
    clusters: &ClusterState,
) -> Option<[Tensor<2>; 2]> {
    let [points, real, steps] = [plain(points)?, plain(real)?, plain(steps)?];
    let [centres, variance] = primitives(clusters)?;
    let results = [like(&centres), like(&variance)];
    let (rows, width) = rows(&points);
    let (cubes, dim) = each(&centres, centres.shape().num_elements());
    let client = centres.client.clone();
    let [to_centres, to_variance] = results.clone().map(CubeTensor::into_tensor_arg);
    kernel::begin::launch(
        &client,
        cubes,
        dim,
        points.into_tensor_arg(),
        real.into_tensor_arg(),
        steps.into_tensor_arg(),
        centres.into_tensor_arg(),
        variance.into_tensor_arg(),
        to_centres,
        to_variance,
        rows,
        width,
    );
    Some(results.map(tensor))
}
