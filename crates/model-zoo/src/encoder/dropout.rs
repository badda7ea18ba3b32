use burn::tensor::{Bool, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use router::{RoutingTape, Site};

/// The probabilities with which an encoder drops activations in training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DropoutRates {
    /// Of the outputs of embeddings, attention and feed-forward blocks.
    pub(crate) hidden: f64,
    /// Of attention weights.
    pub(crate) attention: f64,
}

/// In training, zeroes entries with probability `p` and scales the others by `1 / (1 - p)`;
/// otherwise gives `x` as it is.
///
/// The mask is drawn on the host, from the seed of the pass and `site`, so that it is the same on
/// every device.
pub(crate) fn dropout<const D: usize>(
    x: Tensor<D>,
    p: f64,
    site: Site,
    tape: &RoutingTape,
) -> Tensor<D> {
    let threshold = ((p * 65_536.0).round() as u32).min(65_535);
    let Some(pass) = tape.context().training_seed.filter(|_| threshold > 0) else {
        return x;
    };
    let shape = x.dims();
    let count = shape.iter().product::<usize>();
    let mut bytes = vec![0; 2 * count];
    ChaCha8Rng::seed_from_u64(site.seed(pass)).fill_bytes(&mut bytes);
    let (draws, _) = bytes.as_chunks::<2>();
    let dropped: Vec<bool> =
        draws.iter().map(|draw| u32::from(u16::from_le_bytes(*draw)) < threshold).collect();
    let dropped: Tensor<D, Bool> = Tensor::from_data(TensorData::new(dropped, shape), &x.device());
    x.mask_fill(dropped, 0.0) * (65_536.0 / f64::from(65_536 - threshold))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use router::BatchContext;

    const SITE: Site = Site::new(1, "output");

    fn dropped(p: f64, context: BatchContext) -> Vec<f32> {
        let x = Tensor::<2>::ones([100, 200], &Device::flex());
        dropout(x, p, SITE, &RoutingTape::new(context)).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_share_is_zeroed_and_the_rest_is_scaled() {
        let values = dropped(0.2, BatchContext::new(100, 1).with_training(3));
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        assert!((3700..4300).contains(&zeros), "{zeros} of 20000");
        assert!(values.iter().all(|value| *value == 0.0 || (value - 1.25).abs() < 1e-4));
    }

    #[test]
    fn the_seed_decides_and_nothing_is_dropped_outside_of_training() {
        let training = |seed| dropped(0.2, BatchContext::new(100, 1).with_training(seed));
        assert_eq!(training(3), training(3));
        assert_ne!(training(3), training(4));
        assert!(dropped(0.2, BatchContext::new(100, 1)).iter().all(|value| *value == 1.0));
        let nothing = dropped(0.0, BatchContext::new(100, 1).with_training(3));
        assert!(nothing.iter().all(|value| *value == 1.0));
    }
}
