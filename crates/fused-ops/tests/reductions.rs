//! Reductions equal their composed forms, in values and gradients, and do not depend on threads.

#![allow(clippy::unwrap_used)]

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Distribution, Tensor};
use fused_ops::{
    abs_sum, abs_sum_composed, entropy, entropy_composed, gram, gram_composed, log_sum_exp,
    log_sum_exp_composed, mean_squared_cosine, mean_squared_cosine_composed, with_gradient,
    with_gradient_composed,
};

/// That which `LORA_MOE_DEVICE` names, by default `flex`.
fn device() -> Device {
    lora_moe::device::device_from_environment().unwrap().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 2.0), &device())
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The result of `op` and the gradient of `x`, for given gradients of the result.
fn run<const R: usize>(
    x: &Tensor<2>,
    slopes: &Tensor<R>,
    op: impl Fn(Tensor<2>) -> Tensor<R>,
) -> [Vec<f32>; 2] {
    let x = x.clone().detach().require_grad();
    let y = op(x.clone());
    let grads = (y.clone() * slopes.clone()).sum().backward();
    [floats(y), floats(x.grad(&grads).unwrap())]
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, x| most.max(x.abs()))
}

fn same<const R: usize>(
    x: &Tensor<2>,
    fused: impl Fn(Tensor<2>) -> Tensor<R>,
    composed: impl Fn(Tensor<2>) -> Tensor<R>,
) {
    let slopes = random(composed(x.clone()).dims());
    let (found, want) = (run(x, &slopes, fused), run(x, &slopes, composed));
    // A logarithm is rounded, and its exponential is off by so much.
    let relative = 3e-6 + f32::EPSILON * largest(&floats(x.clone()));
    for (what, (found, want)) in ["value", "gradient"].iter().zip(found.iter().zip(&want)) {
        assert_eq!(found.len(), want.len(), "{what}");
        let largest = largest(want);
        for (i, (found, want)) in found.iter().zip(want).enumerate() {
            let off = (found - want).abs();
            assert!(
                off <= relative * largest,
                "{what}[{i}] of {:?}: {found}, not {want}",
                x.dims()
            );
        }
    }
}

const SHAPES: [[usize; 2]; 6] = [[1, 1], [3, 4], [50, 8], [700, 64], [5, 333], [64, 2_050]];

#[test]
fn log_sums_of_exponentials_are_the_composed_formula() {
    for shape in SHAPES {
        same(&random(shape), log_sum_exp, log_sum_exp_composed);
        same(&(random(shape) * 40.0), log_sum_exp, log_sum_exp_composed);
    }
    same(&random([64, 30]).transpose(), log_sum_exp, log_sum_exp_composed);
}

#[test]
fn entropies_are_the_composed_formula() {
    for shape in SHAPES {
        same(&softmax(random(shape), 1), entropy, entropy_composed);
    }
    // Softmax of far apart logits: zeros, and powers far below the least that counts.
    same(&softmax(random([40, 20]) * 30.0, 1), entropy, entropy_composed);
    same(&softmax(random([64, 30]), 1).transpose(), entropy, entropy_composed);
}

#[test]
fn products_of_rows_are_the_composed_formula() {
    for shape in SHAPES {
        same(&random(shape), gram, gram_composed);
    }
    same(&random([300, 7]).transpose(), gram, gram_composed);
}

#[test]
fn mean_squared_cosines_are_the_composed_formula() {
    let of = |x: Tensor<2>| mean_squared_cosine(gram(x));
    let composed = |x: Tensor<2>| mean_squared_cosine_composed(gram_composed(x));
    for shape in SHAPES {
        same(&random(shape), of, composed);
    }
    // Of vectors of zeros neither the value nor the gradient is anything but zero.
    let some = random([6, 1]).greater_elem(0.0).float();
    same(&(random([6, 40]) * some), of, composed);
    assert_eq!(floats(mean_squared_cosine(random([1, 1]))), [0.0]);
}

#[test]
fn sums_of_absolute_values_are_the_composed_formula() {
    for shape in SHAPES {
        let x = random(shape);
        same(&(x.clone() * x.clone().greater_elem(-1.0).float()), abs_sum, abs_sum_composed);
    }
    same(&random([300, 70]).transpose(), abs_sum, abs_sum_composed);
}

#[test]
fn what_is_no_number_stays_none() {
    let x = Tensor::<2>::from_data([[0.3, f32::NAN, 0.7], [0.2, 0.5, 0.3]], &device());
    for values in [floats(log_sum_exp(x.clone())), floats(entropy(x.clone()))] {
        assert!(values[0].is_nan() && values[1].is_finite(), "{values:?}");
    }
    assert!(floats(abs_sum(x.clone()))[0].is_nan());
    assert!(floats(gram(x))[0].is_nan());
}

#[test]
fn without_elements_there_is_nothing_to_sum() {
    if device() != Device::flex() {
        println!("skipped: Burn's own reductions of nothing overflow on GPUs, in debug builds");
        return;
    }
    let none = || Tensor::<2>::zeros([0, 4], &device());
    assert_eq!(log_sum_exp(none()).dims(), [0]);
    assert_eq!(entropy(none()).dims(), [0]);
    assert_eq!(floats(abs_sum(none())), [0.0]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let x = random([64, 5_504]);
    let slopes = random([64, 64]);
    let all = || {
        let [products, gradient] = run(&x, &slopes, gram);
        let [sum, _] = run(&x, &random([1]), abs_sum);
        let [logs, _] = run(&x, &random([64]), log_sum_exp);
        [products, gradient, sum, logs]
    };
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    assert_eq!(pool(1).install(all), pool(4).install(all));
}

#[test]
fn a_known_gradient_is_that_of_the_sum_of_products() {
    let x = random([5, 7]);
    let slopes = random([5, 7]).inner();
    for factor in [1.0, -2.5] {
        let gradient = |begin: fn(Tensor<2>, Tensor<2>) -> Tensor<1>| {
            let x = x.clone().detach().require_grad();
            let objective = begin(x.clone(), Tensor::from_inner(slopes.clone())) * factor;
            floats(x.grad(&objective.backward()).unwrap())
        };
        assert_eq!(gradient(with_gradient), gradient(with_gradient_composed), "{factor}");
    }
    assert_eq!(floats(with_gradient(x.clone().inner(), slopes.clone())), [0.0]);
}
