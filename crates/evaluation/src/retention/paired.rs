use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

/// A two-sided test that paired scores do not differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "snake_case")]
pub enum PairedTest {
    /// McNemar's exact test, for scores of 0 and 1.
    McNemar {
        /// The probability of a difference at least as large if there is none.
        p_value: f64,
        /// Documents wrong before and right after.
        gained: u64,
        /// Documents right before and wrong after.
        lost: u64,
    },
    /// Student's t of the differences.
    StudentT {
        /// The probability of a difference at least as large if there is none.
        p_value: f64,
        /// The mean difference over its standard error.
        t: f64,
    },
}

impl PairedTest {
    /// The probability of a difference at least as large if there is none.
    pub fn p_value(&self) -> f64 {
        match self {
            Self::McNemar { p_value, .. } | Self::StudentT { p_value, .. } => *p_value,
        }
    }
}

/// McNemar's exact test: of the `gained + lost` documents that changed, either way is as likely,
/// `p = min(1, 2 P(X <= min(gained, lost)))`, `X ~ Binomial(gained + lost, 1/2)`.
pub fn exact_mcnemar(gained: u64, lost: u64) -> PairedTest {
    let p_value = Binomial::new(0.5, gained + lost)
        .map_or(1.0, |changes| (2.0 * changes.cdf(gained.min(lost))).min(1.0));
    PairedTest::McNemar { p_value, gained, lost }
}

/// Student's test of a mean difference with its standard error, over `samples` documents.
///
/// Absent with fewer than two documents. A standard error of 0 leaves no doubt: `p` is 1 without
/// a difference and 0 with one.
pub fn paired_t(difference: f64, stderr: f64, samples: usize) -> Option<PairedTest> {
    let freedom = samples.checked_sub(1).filter(|freedom| *freedom > 0)?;
    let t = if difference == 0.0 { 0.0 } else { difference / stderr };
    let students = StudentsT::new(0.0, 1.0, freedom as f64).ok()?;
    let p_value = if t.is_infinite() { 0.0 } else { 2.0 * students.cdf(-t.abs()) };
    Some(PairedTest::StudentT { p_value, t })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `scipy.stats.binomtest(min(b, c), b + c).pvalue`.
    #[test]
    fn mcnemar_is_the_exact_binomial() {
        for (gained, lost, expected) in
            [(0, 0, 1.0), (3, 3, 1.0), (1, 8, 0.0390625), (10, 24, 0.024306510109454393)]
        {
            let p_value = exact_mcnemar(gained, lost).p_value();
            assert!((p_value - expected).abs() < 1e-12, "{gained} {lost}: {p_value}");
        }
    }

    /// As `2 * scipy.stats.t.sf(t, n - 1)`.
    #[test]
    fn t_has_the_tails_of_student() {
        for (t, samples, expected) in [
            (2.0, 11, 0.07338803477074039),
            (0.5, 3, 0.6666666666666667),
            (4.0, 500, 7.29362222859026e-5),
        ] {
            let p_value = paired_t(t * 0.1, 0.1, samples).unwrap().p_value();
            assert!((p_value / expected - 1.0).abs() < 1e-6, "{t} {samples}: {p_value}");
        }
        assert_eq!(paired_t(0.1, 0.1, 1), None);
        assert_eq!(paired_t(0.0, 0.0, 5).map(|test| test.p_value()), Some(1.0));
        assert_eq!(paired_t(0.1, 0.0, 5).map(|test| test.p_value()), Some(0.0));
    }
}
