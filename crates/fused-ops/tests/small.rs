//! Every operation with kernels of its own on a few numbers, so that Miri ends (`scripts/miri.sh`): each
//! equals its composed form, in values and gradients. Larger ones are in the files beside this one.

#![allow(clippy::unwrap_used)]

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fused_ops::{
    AttentionMask, BLOCK, Causal, PagedPass, PagedRow, RotaryTables, abs_sum, abs_sum_composed,
    add_low_rank, add_low_rank_composed, attention, attention_composed, cross_entropy,
    cross_entropy_composed, dequantize, dropout, dropout_linear, entropy, entropy_composed, gram,
    gram_composed, linear, linear_add, linear_add_composed, linear_composed, linear_routed,
    linear_routed_composed, log_sum_exp, log_sum_exp_composed, matmul_few_rows,
    mean_squared_cosine, mean_squared_cosine_composed, paged_attention, paged_attention_composed,
    rms_norm, rms_norm_composed, rope_heads, rope_heads_composed, silu_mul, silu_mul_composed,
    softmax_masked, softmax_masked_composed,
};
use quantization::{Quantization, QuantizedMatrix};

/// Numbers between -1 and 1, others for each `seed`.
fn numbers(shape: [usize; 2], seed: usize) -> Tensor<2> {
    let number = |i: usize| ((i * 7 + seed * 31 + 3) as f32 * 0.37).sin();
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(number).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn close(what: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{what}[{i}]: {a}, expected {b}");
    }
}

/// Compares values and the gradients of all inputs.
fn same<const N: usize, const E: usize>(
    what: &str,
    shapes: [[usize; 2]; N],
    fused: impl Fn([Tensor<2>; N]) -> Tensor<E>,
    composed: impl Fn([Tensor<2>; N]) -> Tensor<E>,
) {
    let run = |op: &dyn Fn([Tensor<2>; N]) -> Tensor<E>| {
        let inputs: [_; N] = std::array::from_fn(|i| numbers(shapes[i], i + 1).require_grad());
        let y = op(inputs.clone());
        let slopes = numbers([1, y.dims().iter().product()], 9).reshape(y.dims());
        let grads = (y.clone() * slopes).sum().backward();
        let mut all = vec![floats(y)];
        all.extend(inputs.iter().map(|x| floats(x.grad(&grads).unwrap())));
        all
    };
    for (i, (found, expected)) in run(&fused).iter().zip(&run(&composed)).enumerate() {
        close(&format!("{what}, {i}"), found, expected);
    }
}

#[test]
fn elementwise() {
    same("silu", [[3, 19]; 2], |[g, u]| silu_mul(g, u), |[g, u]| silu_mul_composed(g, u));
    same(
        "norm",
        [[3, 19], [1, 19]],
        |[x, w]| rms_norm(x, w.reshape([19]), 1e-6),
        |[x, w]| rms_norm_composed(x, w.reshape([19]), 1e-6),
    );
    let mask = dropout(numbers([3, 19], 1).ones_like(), 0.4, 7);
    same("dropout", [[3, 19]], |[x]| dropout(x, 0.4, 7), |[x]| x * mask.clone());
    let tables = RotaryTables::new(numbers([3, 6], 1), numbers([3, 6], 2));
    let heads = |x: Tensor<2>| x.reshape([2, 3, 2, 6]);
    same(
        "rope",
        [[12, 6]],
        |[x]| rope_heads(heads(x), &tables),
        |[x]| rope_heads_composed(heads(x), &tables),
    );
    let scores = |x: Tensor<2>| x.reshape([1, 2, 3, 19]);
    same(
        "softmax",
        [[6, 19]],
        |[x]| softmax_masked(scores(x), None),
        |[x]| softmax_masked_composed(scores(x), None),
    );
}

#[test]
fn reductions() {
    same("log sums", [[3, 19]], |[x]| log_sum_exp(x), |[x]| log_sum_exp_composed(x));
    let shares = |x: Tensor<2>| softmax(x, 1);
    same("entropies", [[3, 19]], |[x]| entropy(shares(x)), |[x]| entropy_composed(shares(x)));
    same("products", [[3, 19]], |[x]| gram(x), |[x]| gram_composed(x));
    same(
        "cosines",
        [[3, 19]],
        |[x]| mean_squared_cosine(gram(x)),
        |[x]| mean_squared_cosine_composed(gram_composed(x)),
    );
    same("sums", [[3, 19]], |[x]| abs_sum(x), |[x]| abs_sum_composed(x));
    let (logits, flex) = (numbers([3, 19], 1).inner(), Device::flex());
    let targets = || Tensor::<1, Int>::from_data([2i64, 18, 0], &flex);
    let (losses, gradient) = cross_entropy(logits.clone(), targets());
    let expected = cross_entropy_composed(logits, targets());
    close("losses", &floats(losses), &floats(expected.0));
    close("gradient of losses", &floats(gradient), &floats(expected.1));
}

/// Of few rows and of more than are few.
#[test]
fn products() {
    for rows in [3, 34] {
        same(
            "linear",
            [[rows, 5], [5, 7], [1, 7]],
            |[x, w, b]| linear(x, w, Some(b.reshape([7]))),
            |[x, w, b]| linear_composed(x, w, Some(b.reshape([7]))),
        );
        same(
            "linear_add",
            [[rows, 5], [7, 5], [rows, 2], [2, 7]],
            |[x, w, h, b]| linear_add(x, w.transpose(), None, h, b),
            |[x, w, h, b]| linear_add_composed(x, w.transpose(), None, h, b),
        );
        let held = |x: Tensor<2>, dtype| x.inner().cast(dtype);
        for dtype in [DType::BF16, DType::F16] {
            for turned in [false, true] {
                let half = match turned {
                    true => held(numbers([7, 5], 2), dtype).transpose(),
                    false => held(numbers([5, 7], 2), dtype),
                };
                let constant = Tensor::from_inner(half.clone());
                let wide: Tensor<2> = Tensor::from_inner(half.cast(DType::F32));
                same(
                    &format!("{dtype:?}"),
                    [[rows, 5]],
                    |[x]| linear(x, constant.clone(), None),
                    |[x]| linear_composed(x, wide.clone(), None),
                );
            }
        }
    }
    let product = |[a, b]: [Tensor<2>; 2]| (a.reshape([1, 2, 3, 16]), b.reshape([1, 2, 16, 16]));
    same(
        "batched",
        [[6, 16], [32, 16]],
        |inputs| {
            let (a, b) = product(inputs);
            matmul_few_rows(a, b)
        },
        |inputs| {
            let (a, b) = product(inputs);
            a.matmul(b)
        },
    );
    let mask = dropout_linear(
        Tensor::ones([3, 5], &Device::flex()),
        Tensor::eye(5, &Device::flex()),
        0.4,
        7,
    );
    let mask = Tensor::from_inner(mask);
    same(
        "dropout_linear",
        [[3, 5], [7, 5]],
        |[x, w]| dropout_linear(x, w, 0.4, 7),
        |[x, w]| (x * mask.clone()).matmul(w.transpose()),
    );
}

#[test]
fn products_with_codes() {
    for quantization in Quantization::ALL {
        let weight = numbers([64, 3], 2).inner();
        let matrix = QuantizedMatrix::quantize(weight, quantization);
        let wide = dequantize(&matrix);
        close("widened", &floats(wide.clone()), &floats(matrix.dequantize_composed()));
        let wide = Tensor::from_inner(wide);
        for rows in [3, 34] {
            same(
                &format!("{quantization}"),
                [[rows, 64]],
                |[x]| linear(x, &matrix, None),
                |[x]| linear_composed(x, wide.clone(), None),
            );
        }
    }
}

#[test]
fn experts() {
    let chosen: Vec<f32> = (0..4 * 3).map(|i| f32::from(u8::from(i % 5 < 2))).collect();
    let chosen = TensorData::new(chosen, [4, 3]);
    let chosen = Tensor::<2>::from_data(chosen, &Device::flex().autodiff());
    let factors = |a: Tensor<2>, up: Tensor<2>| (a.reshape([3, 2, 5]), up.reshape([3, 2, 7]));
    same(
        "routed",
        [[4, 7], [4, 5], [6, 5], [6, 7], [4, 3]],
        |[y, x, a, up, w]| {
            let (a, up) = factors(a, up);
            linear_routed(y, x, a, up, w, chosen.clone())
        },
        |[y, x, a, up, w]| {
            let (a, up) = factors(a, up);
            linear_routed_composed(y, x, a, up, w, chosen.clone())
        },
    );
    let [y, x, a, b, w] = [[3, 9], [3, 5], [8, 5], [18, 4], [3, 2]];
    let [y, x, a, b, w] = [y, x, a, b, w].map(|shape| numbers(shape, shape[0]).inner());
    let run = |op: fn(_, _, _, _, _) -> Tensor<2>| {
        let factors: [Tensor<3>; 2] = [a.clone().reshape([2, 4, 5]), b.clone().reshape([2, 9, 4])];
        floats(op(y.clone(), x.clone(), factors, Some(w.clone()), 0.5))
    };
    close("low rank", &run(add_low_rank), &run(add_low_rank_composed));
}

#[test]
fn attentions() {
    let mask = AttentionMask::new(Some(Causal { offset: 0, window: Some(3) }), None);
    let split = |[q, k, v]: [Tensor<2>; 3]| {
        (q.reshape([1, 2, 5, 4]), k.reshape([1, 1, 5, 4]), v.reshape([1, 1, 5, 4]))
    };
    same(
        "attention",
        [[10, 4], [5, 4], [5, 4]],
        |inputs| {
            let (q, k, v) = split(inputs);
            attention(q, k, v, &mask, Some(3.0))
        },
        |inputs| {
            let (q, k, v) = split(inputs);
            attention_composed(q, k, v, &mask, Some(3.0))
        },
    );
    // Two rows that begin, one of them over two blocks.
    let (heads, depth) = (2, 16);
    let rows = [(3, vec![1]), (BLOCK + 1, vec![2, 0])];
    let tokens: usize = rows.iter().map(|(new, _)| new).sum();
    let rows = rows.map(|(new, blocks)| PagedRow { past: 0, new, blocks });
    let pass = PagedPass { rows: rows.into(), window: None, soft_cap: None };
    let run = |op: fn(_, _, _, &PagedPass) -> (Tensor<3>, [Tensor<4>; 2])| {
        let [q, k, v]: [Tensor<3>; 3] =
            [(1, heads), (2, 1), (3, 1)].map(|(seed, heads): (usize, usize)| {
                numbers([tokens, heads * depth], seed).inner().reshape([tokens, heads, depth])
            });
        let pool = |shape: [usize; 4]| Tensor::<4>::zeros(shape, &Device::flex());
        let pools = [pool([3, 1, depth, BLOCK]), pool([3, 1, BLOCK, depth])];
        let (found, [keys, values]) = op(q, [k, v], pools, &pass);
        [floats(found), floats(keys), floats(values)]
    };
    for (found, expected) in run(paged_attention).iter().zip(&run(paged_attention_composed)) {
        close("paged attention", found, expected);
    }
}
