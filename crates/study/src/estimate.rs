use serde::{Deserialize, Serialize};

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

/// The 97.5 % quantile of Student's t by degrees of freedom, from 1.
const TABLE: [f64; 30] = [
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157,
    2.228139, 2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922,
    2.093024, 2.085963, 2.079614, 2.073873, 2.068658, 2.063899, 2.059539, 2.055529, 2.051831,
    2.048407, 2.045230, 2.042272,
];

/// The 97.5 % quantile of Student's t; beyond the table by its expansion around the normal
/// distribution (Abramowitz and Stegun 26.7.5), right to six digits there.
fn student_t(degrees: usize) -> f64 {
    if let Some(value) = degrees.checked_sub(1).and_then(|at| TABLE.get(at)) {
        return *value;
    }
    let (z, v): (f64, f64) = (1.959_963_984_540_054, degrees as f64);
    let powers = [z, z.powi(3), z.powi(5), z.powi(7), z.powi(9)];
    let terms = [
        (powers[1] + powers[0]) / 4.0,
        (5.0 * powers[2] + 16.0 * powers[1] + 3.0 * powers[0]) / 96.0,
        (3.0 * powers[3] + 19.0 * powers[2] + 17.0 * powers[1] - 15.0 * powers[0]) / 384.0,
        (79.0 * powers[4] + 776.0 * powers[3] + 1482.0 * powers[2]
            - 1920.0 * powers[1]
            - 945.0 * powers[0])
            / 92160.0,
    ];
    z + terms.iter().zip(1..).map(|(term, power)| term / v.powi(power)).sum::<f64>()
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
    fn quantiles_agree_with_published_tables() {
        for (degrees, value) in [
            (1, 12.7062),
            (2, 4.3027),
            (9, 2.2622),
            (30, 2.0423),
            (31, 2.0395),
            (40, 2.0211),
            (60, 2.0003),
            (120, 1.9799),
            (100_000, 1.9600),
        ] {
            near(student_t(degrees), value, 6e-5);
        }
        // Where the table ends the expansion goes on.
        assert!(student_t(31) < student_t(30) && student_t(30) - student_t(31) < 0.003);
    }
}
