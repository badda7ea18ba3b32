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
        order: None,
        quantization: None,
    };
    let matrix = QuantizedMatrix::from_parts(parts, &device).unwrap();
    let x = random([40, 64], &device);
    let expected = linear_composed(x.clone(), matrix.dequantize_composed(), None);
    same("offsets", linear(x, &matrix, None), expected);
}

/// The groups of GPTQ with `desc_act`, and the matrix by its formula, `(code - zero) * scale`.
fn reordered([inputs, outputs]: [usize; 2], device: &Device) -> (QuantizedMatrix, Tensor<2>) {
    const GROUP: usize = 32;
    let groups = inputs / GROUP;
    // 7 divides no number of inputs here, so each comes once.
    let order: Vec<u32> = (0..inputs).map(|place| (place * 7 + 5) as u32 % inputs as u32).collect();
    let code = |place: usize, output: usize| (place * 5 + output * 3) as u8 % 16;
    let scale = |group: usize, output: usize| 0.01 * (1 + group + 2 * output) as f32;
    let zero = |group: usize, output: usize| ((3 * group + output) % 16) as f32;
    let (mut bytes, mut scales, mut offsets) = (Vec::new(), Vec::new(), Vec::new());
    let mut weight = vec![0.0; inputs * outputs];
    for output in 0..outputs {
        bytes.extend((0..inputs).step_by(2).map(|i| code(i, output) << 4 | code(i + 1, output)));
        for group in 0..groups {
            scales.push(scale(group, output));
            offsets.push(-zero(group, output) * scale(group, output));
        }
        for (place, input) in order.iter().enumerate() {
            let group = place / GROUP;
            let code = f32::from(code(place, output));
            weight[*input as usize * outputs + output] =
                (code - zero(group, output)) * scale(group, output);
        }
    }
    let parts = QuantizedParts {
        bytes,
        table: Some((0..16).map(|code| code as f32).collect()),
        scales,
        nested: None,
        offsets: Some(offsets),
        block_size: GROUP,
        dims: [inputs, outputs],
        order: Some(order),
        quantization: None,
    };
    let weight = Tensor::<1>::from_floats(weight.as_slice(), device).reshape([inputs, outputs]);
    (QuantizedMatrix::from_parts(parts, device).unwrap(), weight)
}

#[test]
fn inputs_may_have_an_order_of_their_own() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        for [m, k, n] in [[1, 64, 24], [5, 96, 17], [40, 256, 80]] {
            let (matrix, weight) = reordered([k, n], &device);
            let what = format!("{m} x {k} x {n}");
            same(&what, dequantize(&matrix), weight.clone());
            same(&what, matrix.dequantize_composed(), weight.clone());
            let x = random([m, k], &device);
            let bias = random([1, n], &device).reshape([n]);
            let expected = linear_composed(x.clone(), weight.clone(), Some(bias.clone()));
            let batch = linear(x.clone().reshape([1, m, k]), &matrix, Some(bias.clone()));
            same(&what, batch.reshape([m, n]), expected);
            let (h, b) = (random([m, 4], &device), random([4, n], &device));
            let expected = linear_add_composed(x.clone(), weight, None, h.clone(), b.clone());
            same(&what, linear_add(x, &matrix, None, h, b), expected);
        }
    }
}

#[test]
fn gradients_of_reordered_inputs_are_those_of_the_inputs() {
    let device = Device::flex().autodiff();
    for [m, k, n] in [[1, 64, 24], [5, 96, 17], [40, 256, 80]] {
        // A matrix may be loaded without a tape, as a frozen model is.
        for of_matrix in [&device, &Device::flex()] {
            let (matrix, weight) = reordered([k, n], of_matrix);
            let (x, g) = (random([m, k], &device).require_grad(), random([m, n], &device));
            let grads = (linear(x.clone(), &matrix, None) * g.clone()).sum().backward();
            let expected = g.inner().matmul(weight.inner().transpose());
            same(&format!("{m} x {k} x {n}"), x.grad(&grads).unwrap(), expected);
        }
    }
}
