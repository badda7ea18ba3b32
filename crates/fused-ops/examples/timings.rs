//! Times forward and backward of each operation against its composed form, on Flex.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use fused_ops::{
    RotaryTables, linear, linear_add, linear_add_composed, linear_composed, rms_norm,
    rms_norm_composed, rope_heads, rope_heads_composed, silu_mul, silu_mul_composed,
    softmax_masked, softmax_masked_composed,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The median time in milliseconds.
fn time(mut run: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..40)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

type Operation<'a, const N: usize> = &'a dyn Fn([Tensor<4>; N]) -> Tensor<4>;

/// Times `forward`, and a step of training: forward, a product for a gradient, and backward.
fn compare<const N: usize>(
    name: &str,
    shape: [usize; 4],
    fused: Operation<'_, N>,
    composed: Operation<'_, N>,
) {
    let device = Device::flex().autodiff();
    let new = || Tensor::<4>::random(shape, Distribution::Uniform(-4.0, 4.0), &device);
    let values: [Tensor<4>; N] = std::array::from_fn(|_| new());
    let shape = composed(values.clone()).dims();
    let weight = Tensor::<4>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    let forward = |op: Operation<'_, N>| time(|| drop(black_box(op(values.clone()))));
    let step = |op: Operation<'_, N>| {
        time(|| {
            let y = op(values.clone().map(Tensor::require_grad));
            drop(black_box((y * weight.clone()).sum().backward()));
        })
    };
    let empty = time(|| {
        let y = weight.clone().require_grad();
        drop(black_box((y * weight.clone()).sum().backward()));
    });
    println!(
        "{name:9} forward {:6.2} -> {:5.2} ms, forward and backward {:6.2} -> {:5.2} ms",
        forward(composed),
        forward(fused),
        step(composed) - empty,
        step(fused) - empty,
    );
}

fn main() {
    let device = Device::flex().autodiff();
    compare::<2>("silu_mul", [1, 4, 256, 1376], &|[gate, up]| silu_mul(gate, up), &|[gate, up]| {
        silu_mul_composed(gate, up)
    });

    let ahead = Tensor::<2>::ones([256, 256], &device).triu(1) * -1e30;
    let mask = ahead.reshape([1, 1, 256, 256]);
    compare::<1>(
        "softmax",
        [4, 8, 256, 256],
        &|[x]| softmax_masked(x, Some(mask.clone())),
        &|[x]| softmax_masked_composed(x, Some(mask.clone())),
    );

    let weight = Tensor::<1>::ones([512], &device);
    compare::<1>("rms_norm", [1, 4, 256, 512], &|[x]| rms_norm(x, weight.clone(), 1e-5), &|[x]| {
        rms_norm_composed(x, weight.clone(), 1e-5)
    });

    let random = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    let (weight, b) = (random([512, 1376]), random([32, 1376]));
    let op = |[x]: [Tensor<4>; 1]| linear(x, weight.clone(), None);
    compare::<1>("linear", [1, 4, 256, 512], &op, &|[x]| linear_composed(x, weight.clone(), None));

    // A base and its adapter.
    type Add = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, Tensor<2>, Tensor<2>) -> Tensor<2>;
    let adapted = |op: Add| {
        let (weight, b) = (weight.clone(), b.clone());
        move |[x]: [Tensor<4>; 1]| {
            let x = x.reshape([1024, 512]);
            let h = x.clone().narrow(1, 0, 32);
            op(x, weight.clone(), None, h, b.clone()).reshape([1, 4, 256, 1376])
        }
    };
    let (fused, composed) = (adapted(linear_add), adapted(linear_add_composed));
    compare::<1>("adapted", [1, 4, 256, 512], &fused, &composed);

    let angles = Tensor::<2>::random([256, 64], Distribution::Uniform(0.0, 6.0), &device);
    let tables = RotaryTables::new(angles.clone().cos(), angles.sin());
    compare::<1>("rope", [4, 256, 8, 64], &|[x]| rope_heads(x, &tables), &|[x]| {
        rope_heads_composed(x, &tables)
    });
}
