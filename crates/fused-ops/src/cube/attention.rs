use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::{CubeCount, CubeDim};

use super::kernel;
use super::launch::{ALONG, beside};
use crate::ops::{Attended, AttentionGradients, AttentionKind, AttentionOps};

/// The most numbers of a row that a unit holds.
pub(crate) const DEEPEST: usize = 128;

/// Numbers of keys, and as many of values, that a cube shares: with both what every device has.
const SHARED: usize = 2048;

/// What kernels of an attention are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// The size of a head.
    pub(super) depth: usize,
    /// The rows that a cube shares.
    pub(super) tile: usize,
    pub(super) causal: bool,
    pub(super) windowed: bool,
    pub(super) padded: bool,
    pub(super) documents: bool,
    pub(super) capped: bool,
}

/// An attention's tensors as kernels take them.
struct Inputs {
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    padding: CubeTensor,
    starts: CubeTensor,
    sizes: [usize; 6],
    soft_cap: f32,
    form: Form,
}

/// Rows that lie whole, whatever the order of rows.
fn in_rows(tensor: CubeTensor) -> CubeTensor {
    let whole = tensor.meta.strides().last() == Some(&1);
    if whole { tensor } else { into_contiguous(tensor) }
}

impl Inputs {
    fn new([q, k, v]: [CubeTensor; 3], padding: Option<CubeTensor>, kind: AttentionKind) -> Self {
        let [q, k, v] = [q, k, v].map(in_rows);
        let (of_q, of_k) = (q.shape(), k.shape());
        let (depth, queries, keys) = (of_q[3], of_q[2], of_k[2]);
        let starts = kind.starts.and_then(|starts| starts.try_into_primitive::<CubeBackend>().ok());
        let window = kind.causal.and_then(|causal| causal.window);
        let form = Form {
            depth,
            tile: (SHARED / depth).clamp(4, 32) / 4 * 4,
            causal: kind.causal.is_some(),
            windowed: window.is_some(),
            padded: padding.is_some(),
            documents: starts.is_some(),
            capped: kind.soft_cap.is_some(),
        };
        let offset = kind.causal.map_or(0, |causal| causal.offset);
        let window = window.unwrap_or(0);
        Self {
            // What is not read is any tensor.
            padding: padding.map_or_else(|| q.clone(), into_contiguous),
            starts: starts.map_or_else(|| q.clone(), into_contiguous),
            sizes: [of_q[1], of_k[1], queries, keys, offset, window],
            soft_cap: kind.soft_cap.unwrap_or(1.0) as f32,
            form,
            q,
            k,
            v,
        }
    }

    fn batch(&self) -> usize {
        self.q.shape()[0]
    }

    fn sizes(&self) -> kernel::SizesLaunch {
        let [heads, groups, queries, keys, offset, window] = self.sizes;
        kernel::SizesLaunch::new(heads, groups, queries, keys, offset, window, self.soft_cap)
    }

    /// Cubes for each so many rows of each of `matrices`.
    fn cubes(&self, rows: usize, matrices: usize) -> (CubeCount, CubeDim) {
        let cubes = (rows.div_ceil(kernel::ATTENTION_UNITS) * self.batch() * matrices) as u32;
        let along = cubes.clamp(1, ALONG);
        let count = CubeCount::Static(along, cubes.div_ceil(along), 1);
        (count, CubeDim::new_1d(kernel::ATTENTION_UNITS as u32))
    }
}

impl AttentionOps for CubeBackend {
    fn attention(q: CubeTensor, k: CubeTensor, v: CubeTensor, kind: AttentionKind) -> CubeTensor {
        Self::attention_forward([q, k, v], None, kind).0
    }

    fn attention_padded(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        padding: CubeTensor,
        kind: AttentionKind,
    ) -> CubeTensor {
        Self::attention_forward([q, k, v], Some(padding), kind).0
    }
}

impl AttentionGradients for CubeBackend {
    fn attention_forward(
        inputs: [CubeTensor; 3],
        padding: Option<CubeTensor>,
        kind: AttentionKind,
    ) -> (CubeTensor, CubeTensor) {
        let inputs = Inputs::new(inputs, padding, kind);
        let [heads, _, queries, ..] = inputs.sizes;
        let rows = [inputs.batch(), queries, heads];
        let out = beside(&inputs.q, Shape::from([rows[0], rows[1], rows[2], inputs.form.depth]));
        let sums = beside(&inputs.q, Shape::from(rows));
        let (count, dim) = inputs.cubes(queries, heads);
        let (client, sizes, form) = (out.client.clone(), inputs.sizes(), inputs.form);
        let Inputs { q, k, v, padding, starts, .. } = inputs;
        let [q, k, v, padding, starts] =
            [q, k, v, padding, starts].map(CubeTensor::into_tensor_arg);
        let results = [out.clone(), sums.clone()].map(CubeTensor::into_tensor_arg);
        let [result, result_sums] = results;
        kernel::attend::launch(
            &client,
            count,
            dim,
            q,
            k,
            v,
            padding,
            starts,
            result,
            result_sums,
            sizes,
            form,
        );
        (out, sums)
    }

    fn attention_backward(attended: Attended<CubeTensor>, grad: CubeTensor) -> [CubeTensor; 3] {
        let Attended { q, k, v, padding, out, log_sums, kind } = attended;
        let inputs = Inputs::new([q, k, v], padding, kind);
        let [out, grad] = [out, grad].map(into_contiguous);
        let [heads, groups, queries, keys, ..] = inputs.sizes;
        let (batch, depth) = (inputs.batch(), inputs.form.depth);
        let q_grad = beside(&inputs.q, Shape::from([batch, heads, queries, depth]));
        let k_grad = beside(&inputs.q, Shape::from([batch, groups, keys, depth]));
        let v_grad = beside(&inputs.q, Shape::from([batch, keys, groups, depth]));
        let along = beside(&inputs.q, Shape::from([batch, queries, heads]));
        let (client, form) = (along.client.clone(), inputs.form);
        let sizes = [inputs.sizes(), inputs.sizes()];
        let cubes = [inputs.cubes(queries, heads), inputs.cubes(keys, groups)];
        let Inputs { q, k, v, padding, starts, .. } = inputs;
        let read = [q, k, v, padding, starts];
        let [of_queries, of_keys] = sizes;
        let [(count, dim), (key_count, key_dim)] = cubes;
        let [q, k, v, padding, starts] = read.clone().map(CubeTensor::into_tensor_arg);
        kernel::attend_query_grad::launch(
            &client,
            count,
            dim,
            q,
            k,
            v,
            padding,
            starts,
            out.into_tensor_arg(),
            log_sums.clone().into_tensor_arg(),
            grad.clone().into_tensor_arg(),
            q_grad.clone().into_tensor_arg(),
            along.clone().into_tensor_arg(),
            of_queries,
            form,
        );
        let [q, k, v, padding, starts] = read.map(CubeTensor::into_tensor_arg);
        kernel::attend_key_grad::launch(
            &client,
            key_count,
            key_dim,
            q,
            k,
            v,
            padding,
            starts,
            log_sums.into_tensor_arg(),
            grad.into_tensor_arg(),
            along.into_tensor_arg(),
            k_grad.clone().into_tensor_arg(),
            v_grad.clone().into_tensor_arg(),
            of_keys,
            form,
        );
        // Values come as heads of positions, and so their gradient goes back.
        [q_grad, k_grad, Self::float_swap_dims(v_grad, 1, 2)]
    }
}
