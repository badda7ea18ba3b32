//! The precision of products with matrices of few bits. Alone in its process, whose precision it changes.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use burn::tensor::{DType, Device, Distribution, Tensor};
use fused_ops::{Precision, linear, set_precision};

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The largest difference, of the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let apart = a.iter().zip(b).fold(0.0f32, |max, (a, b)| max.max((a - b).abs()));
    apart / largest
}

#[test]
fn bf16_rounds_the_rows_that_meet_a_matrix_of_few_bits() {
    if cfg!(not(target_arch = "x86_64")) {
        println!("skipped: only kernels of x86 round");
        return;
    }
    let device = Device::flex();
    let random =
        |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Uniform(-1.0, 1.0), &device);
    // Few rows with a large matrix, and many.
    for [m, k, n] in [[3, 256, 512], [70, 100, 96]] {
        let (x, wide) = (random([m, k]), random([k, n]));
        let half = wide.clone().cast(DType::BF16);
        let rounded = x.clone().cast(DType::BF16).cast(DType::F32);
        let of = |x: &Tensor<2>, w: &Tensor<2>| values(linear(x.clone(), w.clone(), None));
        let (plain, expected) = (of(&x, &half), of(&rounded, &half));
        let in_f32 = of(&x, &wide);
        set_precision(Precision::Bf16);
        let (found, still_f32) = (of(&x, &half), of(&x, &wide));
        set_precision(Precision::F32);
        assert!(difference(&found, &expected) < 5e-6, "{m}: not the rounded rows");
        assert!(difference(&found, &plain) > 1e-4, "{m}: nothing was rounded");
        assert_eq!(still_f32, in_f32, "{m}: matrices in f32 are multiplied in f32");
    }
}
