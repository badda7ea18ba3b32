use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over seeds and how far it can be trusted.
///
/// `mean ± half_width` is the two-sided 95 % confidence interval of the mean of a normal
/// distribution, `half_width = t(0.975; n − 1) · s / √n` with the sample standard deviation `s`
/// (`n − 1` in the denominator) and Student's t.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The number of values.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Half of the interval; absent for a single value, which says nothing of its spread.
    pub half_width: Option<f64>,
    /// The smallest value.
    pub smallest: f64,
    /// The largest value.
    pub largest: f64,
}

impl Estimate {
    /// The estimate from the values that are finite; `None` where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        if values.is_empty() {
            return None;
        }
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let half_width = (n > 1).then(|| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            let deviation = (squares / (n - 1) as f64).sqrt();
            student_t(n - 1) * deviation / (n as f64).sqrt()
        });
        Some(Self {
            n,
            mean,
            half_width,
            smallest: values.iter().copied().fold(f64::INFINITY, f64::min),
            largest: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }

    /// The ends of the interval; absent for a single value.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.half_width.map(|half| (self.mean - half, self.mean + half))
    }

    /// The sign of a difference whose interval leaves out 0: `Some(true)` above, `Some(false)`
    /// below, and `None` where the two cannot be told apart.
    pub fn sign(&self) -> Option<bool> {
        let (low, high) = self.interval()?;
        // A difference that is a rounding error in all seeds is none.
        match (low > 1e-12, high < -1e-12) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        }
    }
}

/// The 97.5 % quantile of Student's t.
fn student_t(degrees: usize) -> f64 {
    // With a location of 0, a scale of 1 and at least one degree of freedom there is always one.
    StudentsT::new(0.0, 1.0, degrees as f64).map_or(f64::NAN, |t| t.inverse_cdf(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64, by: f64) {
        assert!((a - b).abs() < by, "{a} {b}");
    }

    #[test]
    fn interval_of_three_values_is_as_by_hand() {
        // Mean 0.8, squares 0.01 + 0 + 0.01, s = 0.1, half = 4.302653 · 0.1 / √3.
        let estimate = Estimate::of([0.7, 0.8, 0.9]).unwrap();
        assert_eq!(estimate.n, 3);
        near(estimate.mean, 0.8, 1e-12);
        near(estimate.half_width.unwrap(), 0.248_413_8, 1e-6);
        let (low, high) = estimate.interval().unwrap();
        near(low, 0.551_586_2, 1e-6);
        near(high, 1.048_413_8, 1e-6);
        assert_eq!((estimate.smallest, estimate.largest), (0.7, 0.9));
        assert_eq!(estimate.sign(), Some(true));
    }

    #[test]
    fn one_value_has_no_interval_and_none_no_estimate() {
        let one = Estimate::of([0.4]).unwrap();
        assert_eq!((one.n, one.mean, one.half_width, one.sign()), (1, 0.4, None, None));
        assert_eq!(Estimate::of([]), None);
        assert_eq!(Estimate::of([f64::NAN]), None);
        assert_eq!(Estimate::of([f64::NAN, 1.0, 3.0]).unwrap().n, 2);
    }

    #[test]
    fn a_difference_has_a_sign_only_where_its_interval_leaves_out_zero() {
        assert_eq!(Estimate::of([-0.2, -0.21, -0.19]).unwrap().sign(), Some(false));
        assert_eq!(Estimate::of([-0.2, 0.3, 0.1]).unwrap().sign(), None);
        assert_eq!(Estimate::of([0.0, 0.0, 0.0]).unwrap().sign(), None);
    }

    #[test]
    fn quantiles_are_those_of_scipy() {
        // scipy.stats.t.ppf(0.975, degrees), SciPy 1.17.1.
        for (degrees, value) in [
            (1, 12.706204736174694),
            (2, 4.302652729749462),
            (4, 2.7764451051977934),
            (9, 2.262157162798205),
            (30, 2.0422724563012378),
            (31, 2.039513446396408),
            (120, 1.9799304050824402),
            (1000, 1.9623390808264083),
        ] {
            near(student_t(degrees), value, 1e-9 * value);
        }
    }
}
