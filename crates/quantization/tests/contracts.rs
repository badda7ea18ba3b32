//! What is quantised comes back as the formats promise.

#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Distribution, Tensor, Tolerance};
use quantization::{Quantization, QuantizedMatrix, QuantizedParts};

fn random(dims: [usize; 2]) -> Tensor<2> {
    Tensor::random(dims, Distribution::Normal(0.0, 0.02), &Device::flex())
}

fn floats(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

#[test]
fn errors_stay_within_half_a_step() {
    let weight = random([128, 96]);
    for (quantization, step) in [
        (Quantization::Int8, 0.5 / 127.0),
        (Quantization::Nf4, 0.152),
        // Double quantisation moves each scale as well.
        (Quantization::Nf4Double, 0.17),
        (Quantization::Fp4, 0.1667),
    ] {
        let back = QuantizedMatrix::quantize(weight.clone(), quantization).dequantize_composed();
        assert_eq!(back.dims(), [128, 96]);
        let largest = weight.clone().abs().max().into_scalar::<f32>();
        let error = (back - weight.clone()).abs().max().into_scalar::<f32>();
        assert!(error <= step * largest, "{quantization}: {error} of {largest}");
    }
}

#[test]
fn what_was_quantised_is_quantised_to_itself() {
    for quantization in [Quantization::Int8, Quantization::Nf4, Quantization::Fp4] {
        let first =
            QuantizedMatrix::quantize(random([192, 64]), quantization).dequantize_composed();
        let again = QuantizedMatrix::quantize(first.clone(), quantization).dequantize_composed();
        let close = Tolerance::<f32>::relative(1e-6);
        again.into_data().assert_approx_eq(&first.into_data(), close);
    }
}

#[test]
fn blocks_of_zeros_stay_zeros() {
    for quantization in Quantization::ALL {
        let matrix =
            QuantizedMatrix::quantize(Tensor::zeros([64, 4], &Device::flex()), quantization);
        assert!(floats(matrix.dequantize_composed()).iter().all(|value| *value == 0.0));
    }
}

#[test]
fn threads_code_what_one_would() {
    // More than is left to one thread, of rows that are no whole blocks.
    let weight = random([1000, 700]);
    let whole =
        floats(QuantizedMatrix::quantize(weight.clone(), Quantization::Nf4).dequantize_composed());
    let values = floats(weight.transpose());
    let rows = 320;
    let part = QuantizedParts::of_rows(&values[..rows * 1000], [rows, 1000], Quantization::Nf4);
    let part = QuantizedMatrix::from_parts(part, &Device::flex()).unwrap();
    let part = floats(part.dequantize_composed());
    for input in 0..1000 {
        assert_eq!(part[input * rows..][..rows], whole[input * 700..][..rows]);
    }
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let good = QuantizedParts {
        bytes: vec![0; 64],
        table: Some(vec![0.0; 16]),
        scales: vec![1.0; 2],
        nested: None,
        offsets: None,
        block_size: 64,
        dims: [16, 8],
        order: None,
        quantization: None,
    };
    assert!(good.check().is_ok());
    assert!(
        QuantizedParts { order: Some((0..16).rev().collect()), ..good.clone() }.check().is_ok()
    );
    let cases: [(&str, QuantizedParts); 8] = [
        ("bytes", QuantizedParts { bytes: vec![0; 63], ..good.clone() }),
        ("values", QuantizedParts { table: Some(vec![0.0; 15]), ..good.clone() }),
        ("scales", QuantizedParts { scales: vec![1.0; 3], ..good.clone() }),
        ("offsets", QuantizedParts { offsets: Some(vec![]), ..good.clone() }),
        ("places", QuantizedParts { order: Some((0..15).collect()), ..good.clone() }),
        ("inputs", QuantizedParts { order: Some(vec![7; 16]), ..good.clone() }),
        ("inputs", QuantizedParts { order: Some((1..17).collect()), ..good.clone() }),
        ("block", QuantizedParts { block_size: 0, ..good.clone() }),
    ];
    for (name, parts) in cases {
        let error = QuantizedMatrix::from_parts(parts, &Device::flex()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_memory_of_a_matrix_follows_from_its_dimensions() {
    for quantization in Quantization::ALL {
        for dims in [[128, 96], [33, 7], [64, 300]] {
            let matrix = QuantizedMatrix::quantize(random(dims), quantization);
            assert_eq!(matrix.bytes(), quantization.bytes(dims), "{quantization} {dims:?}");
        }
    }
}

#[test]
fn inputs_in_an_order_of_their_own_come_back_in_that_of_the_matrix() {
    let order = [2u32, 0, 3, 1];
    let parts = QuantizedParts {
        bytes: (0..8).collect(),
        table: None,
        scales: vec![1.0, 10.0, 100.0, 1000.0],
        nested: None,
        offsets: None,
        block_size: 2,
        dims: [4, 2],
        order: Some(order.to_vec()),
        quantization: None,
    };
    let matrix = QuantizedMatrix::from_parts(parts, &Device::flex()).unwrap();
    let stored = [[0.0, 1.0, 20.0, 30.0], [400.0, 500.0, 6000.0, 7000.0]];
    let weight = floats(matrix.dequantize_composed());
    for (place, input) in order.into_iter().enumerate() {
        let expected = stored.map(|row| row[place]);
        assert_eq!(weight[2 * input as usize..][..2], expected, "input {input}");
    }
    // Eight codes, four scales, and four places.
    assert_eq!(matrix.bytes(), 8 + 4 * 4 + 4 * 4);
}
