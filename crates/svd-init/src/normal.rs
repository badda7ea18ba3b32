use rand::{Rng, RngExt};

/// Fills `values` with draws from `N(0, std^2)`, by the method of Box and Muller.
pub(crate) fn fill_normal<R: Rng + ?Sized>(values: &mut [f32], std: f64, rng: &mut R) {
    for pair in values.chunks_mut(2) {
        // In (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        for (value, part) in pair.iter_mut().zip([cos, sin]) {
            *value = (radius * part) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn mean_variance_and_fourth_moment_are_those_of_a_normal() {
        let mut values = vec![0.0; 200_001];
        fill_normal(&mut values, 3.0, &mut SmallRng::seed_from_u64(0));
        let moment = |power: i32| {
            values.iter().map(|v| f64::from(*v).powi(power)).sum::<f64>() / values.len() as f64
        };
        assert!(moment(1).abs() < 0.03, "{}", moment(1));
        assert!((moment(2) - 9.0).abs() < 0.1, "{}", moment(2));
        assert!((moment(4) - 243.0).abs() < 8.0, "{}", moment(4));
    }
}
