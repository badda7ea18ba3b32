use burn::tensor::{Device, Tensor, TensorData};
use fused_ops::Draw;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt, SeedableRng};

use crate::stable_hash;

/// The host's random numbers for one purpose of a training pass.
pub(crate) fn stream(seed: u64, purpose: &str) -> Xoshiro256PlusPlus {
    let bytes = purpose.bytes().chain(seed.to_le_bytes());
    Xoshiro256PlusPlus::seed_from_u64(stable_hash(bytes))
}

/// Numbers of `U[low, high)`.
pub(crate) fn uniform<const D: usize, R: Rng + ?Sized>(
    shape: [usize; D],
    low: f32,
    high: f32,
    rng: &mut R,
    device: &Device,
) -> Tensor<D> {
    tensor(shape, device, || low + (high - low) * rng.random::<f32>())
}

/// Numbers of `N(0, std^2)`, by Box and Muller's method.
pub(crate) fn normal<const D: usize, R: Rng + ?Sized>(
    shape: [usize; D],
    std: f64,
    rng: &mut R,
    device: &Device,
) -> Tensor<D> {
    let mut second = None;
    tensor(shape, device, || {
        if let Some(value) = second.take() {
            return value;
        }
        // In (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        second = Some((radius * sin) as f32);
        (radius * cos) as f32
    })
}

/// What a training pass draws for a purpose: a GPU makes it itself where it can, the host elsewhere.
pub(crate) fn drawn<const D: usize>(
    like: &Tensor<D>,
    draw: Draw,
    seed: u64,
    purpose: &str,
) -> Tensor<D> {
    let mut rng = stream(seed, purpose);
    if let Some(drawn) = fused_ops::draw(like.dims(), draw, rng.random(), like) {
        return drawn;
    }
    let (shape, rng, device) = (like.dims(), &mut stream(seed, purpose), &like.device());
    match draw {
        Draw::Uniform { low, high } => uniform(shape, low as f32, high as f32, rng, device),
        Draw::Normal { std } => normal(shape, std, rng, device),
        Draw::Kept { p, value } => {
            tensor(shape, device, || if rng.random::<f64>() < p { 0.0 } else { value as f32 })
        }
    }
}

/// `1 / (1 - probability)` where a value is kept, 0 where it is dropped.
pub(crate) fn dropout(probability: f64) -> Draw {
    Draw::Kept { p: probability, value: 1.0 / (1.0 - probability) }
}

fn tensor<const D: usize>(
    shape: [usize; D],
    device: &Device,
    mut next: impl FnMut() -> f32,
) -> Tensor<D> {
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: Tensor<1>) -> (f64, f64) {
        let values: Vec<f64> = values.into_data().iter::<f64>().collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        (mean, square.sqrt())
    }

    #[test]
    fn normal_numbers_have_mean_zero_and_the_standard_deviation_asked_for() {
        let device = Device::flex();
        let (mean, std) = moments(normal([40_001], 0.5, &mut stream(1, "test"), &device));
        assert!(mean.abs() < 0.01 && (std - 0.5).abs() < 0.01, "{mean} {std}");
    }

    #[test]
    fn dropout_keeps_the_mean() {
        let device = Device::flex();
        let like = Tensor::zeros([40_000], &device);
        let (mean, _) = moments(drawn(&like, dropout(0.3), 1, "test"));
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn streams_differ_by_seed_and_by_purpose() {
        let first = |seed, purpose| stream(seed, purpose).random::<u64>();
        assert_eq!(first(1, "noise"), first(1, "noise"));
        assert_ne!(first(1, "noise"), first(2, "noise"));
        assert_ne!(first(1, "noise"), first(1, "jitter"));
    }
}
