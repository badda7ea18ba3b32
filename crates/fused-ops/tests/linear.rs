//! Linear maps equal their composed forms, in values and gradients.

#![allow(clippy::unwrap_used)]

use burn::tensor::{DType, Device, Distribution, Tensor, Tolerance};
use fused_ops::{linear, linear_add, linear_add_composed, linear_composed};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &device)
}

fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    let tolerance = Tolerance::<f32>::rel_abs(1e-5, 6e-5);
    found.into_data().assert_approx_eq(&expected.into_data(), tolerance);
}

fn close_where_any<const D: usize>(found: Option<Tensor<D>>, expected: Option<Tensor<D>>) {
    assert_eq!(found.is_some(), expected.is_some());
    if let Some((found, expected)) = found.zip(expected) {
        close(found, expected);
    }
}

/// A leaf with the memory of `x`, whatever its order.
fn leaf<const D: usize>(x: &Tensor<D>, tracked: bool) -> Tensor<D> {
    let x = x.clone().detach();
    if tracked { x.require_grad() } else { x }
}

/// Every choice of which inputs are tracked.
fn choices(inputs: u32) -> impl Iterator<Item = Vec<bool>> {
    (0..1u32 << inputs).map(move |bits| (0..inputs).map(|i| bits >> i & 1 == 1).collect())
}

fn check_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) {
    let gradient = random(linear_composed(x.clone(), weight.clone(), bias.clone()).dims());
    for tracked in choices(3) {
        let run = |op: fn(Tensor<D>, Tensor<2>, Option<Tensor<1>>) -> Tensor<D>| {
            let (x, weight) = (leaf(&x, tracked[0]), leaf(&weight, tracked[1]));
            let bias = bias.as_ref().map(|bias| leaf(bias, tracked[2]));
            let y = op(x.clone(), weight.clone(), bias.clone());
            if !tracked.contains(&true) {
                return (y, None, None, None);
            }
            let grads = (y.clone() * gradient.clone()).sum().backward();
            let bias = bias.and_then(|bias| bias.grad(&grads));
            (y, x.grad(&grads), weight.grad(&grads), bias)
        };
        if tracked == [false, false, true] && bias.is_none() {
            continue;
        }
        let (found, expected) = (run(linear), run(linear_composed));
        close(found.0, expected.0);
        close_where_any(found.1, expected.1);
        close_where_any(found.2, expected.2);
        close_where_any(found.3, expected.3);
    }
}

#[test]
fn linear_is_the_composed_formula() {
    // The last is shared by threads.
    for (t, i, o) in [(1, 1, 1), (1, 40, 33), (5, 7, 1), (6, 1, 9), (50, 33, 70), (210, 200, 190)] {
        for bias in [None, Some(random([o]))] {
            check_linear(random([t, i]), random([i, o]), bias.clone());
            check_linear(random([1, t, i]), random([i, o]), bias.clone());
            check_linear(random([2, t, i]), random([i, o]), bias.clone());
            check_linear(random([2, 1, t, i]), random([i, o]), bias);
        }
    }
}

#[test]
fn linear_takes_any_order_of_memory() {
    let (weight, bias) = (random([7, 9]), Some(random([9])));
    // Weights: transposed, part of a larger one, one row for all.
    check_linear(random([5, 7]), random([9, 7]).transpose(), bias.clone());
    check_linear(random([2, 5, 7]), random([9, 7]).transpose(), None);
    check_linear(random([5, 7]), random([20, 30]).narrow(0, 3, 7).narrow(1, 11, 9), None);
    check_linear(random([5, 7]), random([1, 9]).expand([7, 9]), bias.clone());
    // Inputs: transposed, part of a larger one, one row for all, in reverse order.
    check_linear(random([7, 5]).transpose(), weight.clone(), bias.clone());
    check_linear(random([3, 7, 5]).swap_dims(1, 2), weight.clone(), bias.clone());
    check_linear(random([5, 3, 7]).swap_dims(0, 1), weight.clone(), None);
    check_linear(random([4, 6, 7]).narrow(1, 2, 3), weight.clone(), None);
    check_linear(random([1, 7]).expand([5, 7]), weight.clone(), bias);
    check_linear(random([5, 7]).flip([0, 1]), weight.flip([0]), None);
}

#[test]
fn linear_add_is_the_composed_formula() {
    for (t, i, k, o) in
        [(1, 1, 1, 1), (1, 40, 8, 33), (6, 5, 2, 9), (50, 33, 16, 70), (210, 200, 40, 190)]
    {
        check_linear_add([random([t, i]), random([i, o]), random([t, k]), random([k, o])], None);
        let transposed = [random([i, t]), random([o, i]), random([k, t]), random([o, k])];
        check_linear_add(transposed.map(Tensor::transpose), Some(random([o])));
    }
}

fn check_linear_add(inputs: [Tensor<2>; 4], bias: Option<Tensor<1>>) {
    type Operation = fn(Tensor<2>, Tensor<2>, Option<Tensor<1>>, Tensor<2>, Tensor<2>) -> Tensor<2>;
    let gradient = random([inputs[0].dims()[0], inputs[1].dims()[1]]);
    for tracked in choices(5).filter(|tracked| tracked[..4].contains(&true)) {
        let run = |op: Operation| {
            let inputs: [_; 4] = std::array::from_fn(|i| leaf(&inputs[i], tracked[i]));
            let [x, weight, h, b] = inputs.clone();
            let bias = bias.as_ref().map(|bias| leaf(bias, tracked[4]));
            let y = op(x, weight, bias.clone(), h, b);
            let grads = (y.clone() * gradient.clone()).sum().backward();
            let bias = bias.and_then(|bias| bias.grad(&grads));
            (y, inputs.map(|input| input.grad(&grads)), bias)
        };
        let (found, expected) = (run(linear_add), run(linear_add_composed));
        close(found.0, expected.0);
        for (found, expected) in found.1.into_iter().zip(expected.1) {
            close_where_any(found, expected);
        }
        close_where_any(found.2, expected.2);
    }
}

#[test]
fn one_tensor_can_be_every_factor() {
    let gradients = |fused: bool| {
        let x = leaf(&Tensor::from_inner(Tensor::<2>::eye(6, &Device::flex()) * 1.5), true) + 0.1;
        let x = x.detach().require_grad();
        let y = match fused {
            true => linear_add(x.clone(), x.clone(), None, x.clone(), x.clone()),
            false => linear_add_composed(x.clone(), x.clone(), None, x.clone(), x.clone()),
        };
        let grads = (y.clone() * y * x.clone()).sum().backward();
        x.grad(&grads).unwrap()
    };
    close(gradients(true), gradients(false));
}

#[test]
fn recomputed_inputs_give_the_same_gradients() {
    let gradients = |fused: bool, device: &Device| {
        let values = |rows: usize, columns: usize| {
            let range = 0..(rows * columns) as i64;
            Tensor::<1, burn::tensor::Int>::arange(range, device)
                .float()
                .sin()
                .reshape([rows, columns])
        };
        let x: Tensor<2> = values(5, 6).detach().require_grad();
        let (weight, b) = (values(6, 4) * 0.5, values(3, 4).detach().require_grad());
        let h = x.clone().narrow(1, 0, 3) * 2.0 + 1.0;
        let y = match fused {
            true => linear_add(x.clone() * 0.5, weight, None, h, b.clone()),
            false => linear_add_composed(x.clone() * 0.5, weight, None, h, b.clone()),
        };
        let grads = (y.clone() * y).sum().backward();
        (x.grad(&grads).unwrap(), b.grad(&grads).unwrap())
    };
    let plain = Device::flex().autodiff();
    let expected = gradients(false, &plain);
    let found = gradients(true, &plain.gradient_checkpointing());
    close(found.0, expected.0);
    close(found.1, expected.1);
}

#[test]
fn other_element_types_take_the_composed_formula() {
    let [x, weight] = [random([3, 4]), random([4, 5])];
    let y = linear(x.clone().cast(DType::F64), weight.clone().cast(DType::F64), None);
    assert_eq!(y.dtype(), DType::F64);
    close(y.cast(DType::F32), linear(x.clone(), weight.clone(), None));
    let [x, weight] = [x, weight].map(|x| x.cast(DType::F64));
    let y = linear_add(x.clone(), weight.clone(), None, x.clone(), weight.clone());
    assert_eq!(y.dtype(), DType::F64);
    close(y.cast(DType::F32), linear(x, weight, None).cast(DType::F32) * 2.0);
}

#[test]
fn nothing_has_no_rows() {
    let [x, weight] = [random([0, 4]), random([4, 5])];
    assert_eq!(linear(x.clone(), weight.clone(), Some(random([5]))).dims(), [0, 5]);
    assert_eq!(linear_add(x.clone(), weight.clone(), None, x, weight).dims(), [0, 5]);
    // Sums of no terms.
    let bias = random([5]);
    let y = linear(random([3, 0]), random([0, 5]), Some(bias.clone()));
    close(y, bias.unsqueeze::<2>().expand([3, 5]));
    close(linear(random([3, 0]), random([0, 5]), None), random([3, 5]) * 0.0);
}

#[test]
#[should_panic]
fn factors_that_do_not_fit_are_refused() {
    linear(random([3, 4]), random([5, 6]), None);
}

/// Products of few rows with large weights have kernels of their own.
#[test]
fn few_rows_are_multiplied_as_many_are() {
    for rows in [1, 3, 4, 7, 32, 33] {
        for (inputs, outputs) in [(130, 560), (256, 272), (300, 301)] {
            let x = random([rows, inputs]).inner();
            let row_major = random([inputs, outputs]).inner();
            let transposed = random([outputs, inputs]).inner().transpose();
            for weight in [row_major, transposed] {
                let bias = Some(random([outputs]).inner());
                close(linear(x.clone(), weight.clone(), None), x.clone().matmul(weight.clone()));
                let expected = linear_composed(x.clone(), weight.clone(), bias.clone());
                close(linear(x.clone(), weight, bias), expected);
            }
        }
    }
}
