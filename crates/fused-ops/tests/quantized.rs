//! Products with quantised matrices are those with the matrices that they stand for.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor};
use fused_ops::{dequantize, linear, linear_add, linear_add_composed, linear_composed};
use quantization::{Quantization, QuantizedMatrix, QuantizedParts};

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), device)
}

fn same<const D: usize>(what: &str, found: Tensor<D>, expected: Tensor<D>) {
    let [found, expected] = [found, expected].map(|x| x.into_data().try_to_vec::<f32>().unwrap());
    let largest = expected.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        assert!((a - b).abs() <= 5e-6 * largest, "{what}[{i}]: {a}, expected {b}");
    }
}

/// One row, few, and many; sizes below and above those that are widened at once, and rows that do not
/// end with a block.
const SIZES: [[usize; 3]; 6] =
    [[1, 256, 512], [7, 300, 1040], [32, 64, 48], [40, 96, 80], [33, 2048, 600], [5, 30, 17]];

#[test]
fn whole_matrices_are_those_of_burns_operations() {
    for quantization in Quantization::ALL {
        for [_, k, n] in SIZES {
            let matrix = QuantizedMatrix::quantize(random([k, n], &Device::flex()), quantization);
            let what = format!("{quantization} {k} x {n}");
            same(&what, dequantize(&matrix), matrix.dequantize_composed());
        }
    }
}

#[test]
fn products_are_those_of_the_widened_matrix() {
    let device = Device::flex();
    for quantization in Quantization::ALL {
        for [m, k, n] in SIZES {
            let x = random([m, k], &device);
            let matrix = QuantizedMatrix::quantize(random([k, n], &device), quantization);
            let wide = dequantize(&matrix);
            let bias = random([1, n], &device).reshape([n]);
            let what = format!("{quantization} {m} x {k} x {n}");
            let expected = linear_composed(x.clone(), wide.clone(), None);
            same(&what, linear(x.clone(), &matrix, None), expected.clone());
            let batch = linear(x.clone().reshape([1, m, k]), &matrix, Some(bias.clone()));
            same(&what, batch.reshape([m, n]), expected + bias.clone().unsqueeze());

            let (h, b) = (random([m, 4], &device), random([4, n], &device));
            let expected =
                linear_add_composed(x.clone(), wide, Some(bias.clone()), h.clone(), b.clone());
            same(&what, linear_add(x, &matrix, Some(bias), h, b), expected);
        }
    }
}

#[test]
fn gradients_are_those_of_the_widened_matrix() {
    let device = Device::flex().autodiff();
    for [m, k, n] in SIZES {
        let matrix = QuantizedMatrix::quantize(random([k, n], &device), Quantization::Nf4Double);
        let wide = dequantize(&matrix);
        let inputs = [[m, k], [m, 4], [4, n]].map(|shape| random(shape, &device));
        let weight = random([m, n], &device);
        let run = |quantized: bool| {
            let [x, h, b] = inputs.clone().map(Tensor::require_grad);
            let factors = (x.clone(), h.clone(), b.clone());
            let y = match quantized {
                true => linear_add(factors.0, &matrix, None, factors.1, factors.2),
                false => linear_add_composed(factors.0, wide.clone(), None, factors.1, factors.2),
            };
            let grads = (y * weight.clone()).sum().backward();
            [x, h, b].map(|input| input.grad(&grads).unwrap())
        };
        for (found, expected) in run(true).into_iter().zip(run(false)) {
            same(&format!("{m} x {k} x {n}"), found, expected);
        }
    }
}

#[test]
fn constants_need_no_gradient_of_the_rest() {
    let device = Device::flex().autodiff();
    let matrix = QuantizedMatrix::quantize(random([64, 48], &device), Quantization::Int8);
    let (x, h) = (random([9, 64], &device), random([9, 4], &device));
    let b = random([4, 48], &device).require_grad();
    let grads = linear_add(x, &matrix, None, h.clone(), b.clone()).sum().backward();
    let ones = Tensor::<2>::ones([9, 48], &Device::flex());
    same("b", b.grad(&grads).unwrap(), h.inner().transpose().matmul(ones));
}

#[test]
fn blocks_may_have_offsets() {
    // As in GPTQ and AWQ: unsigned codes, a zero and a scale for each group of a row.
    let device = Device::flex();
    let parts = QuantizedParts {
        bytes: (0..64u32 * 3 / 2).map(|i| (i * 29 + 3) as u8).collect(),
        table: Some((0..16).map(|code| code as f32).collect()),
        scales: (1..=6).map(|i| i as f32 / 10.0).collect(),
        nested: None,
        offsets: Some((0..6).map(|i| 1.0 - i as f32).collect()),
        block_size: 32,
        dims: [64, 3],
        quantization: None,
    };
    let matrix = QuantizedMatrix::from_parts(parts, &device).unwrap();
    let x = random([40, 64], &device);
    let expected = linear_composed(x.clone(), matrix.dequantize_composed(), None);
    same("offsets", linear(x, &matrix, None), expected);
}
