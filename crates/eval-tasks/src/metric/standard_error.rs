use rayon::prelude::*;

use super::Aggregation;
use super::aggregation::Items;
use crate::python::Random;

/// `s / sqrt(n)` with the sample's standard deviation `s` (divided by `n - 1`).
pub(super) fn of_mean(values: &[f64]) -> f64 {
    deviation(values) / (values.len() as f64).sqrt()
}

fn deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt()
}

/// The standard deviation of the aggregates of samples with replacement.
///
/// Chunk `i` of up to 1000 samples is drawn by Python's generator with seed `i`.
pub(super) fn bootstrap(aggregation: Aggregation, items: &Items, iterations: usize) -> f64 {
    let chunk = iterations.min(1000);
    let count = items.len();
    let aggregates: Vec<f64> = (0..iterations / chunk)
        .into_par_iter()
        .flat_map_iter(|seed| {
            let mut random = Random::new(seed as u64);
            let mut indices = vec![0; count];
            (0..chunk)
                .map(|_| {
                    random.choices(count, &mut indices);
                    aggregation.compute(items, &indices)
                })
                .collect::<Vec<_>>()
        })
        .collect();
    deviation(&aggregates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::MetricValue;

    fn aggregate(
        aggregation: Aggregation,
        values: &[MetricValue],
        iterations: usize,
    ) -> (f64, Option<f64>) {
        aggregation.aggregate(&values.iter().collect::<Vec<_>>(), iterations).unwrap()
    }

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
    }

    fn labels() -> Vec<MetricValue> {
        (0..40_i64)
            .map(|i| MetricValue::Labels { gold: i * i % 3 % 2, predicted: (i * 7 + 3) % 5 % 2 })
            .collect()
    }

    // References: the functions of the harness's api/metrics.py (0.4.13) with scikit-learn's
    // formulas written out in Python 3.11, bootstrap_iters 3000.

    #[test]
    fn errors_of_means_equal_the_harness() {
        let values: Vec<_> = (0..10).map(|i| MetricValue::Number(f64::from(i % 3 == 0))).collect();
        let (mean, error) = aggregate(Aggregation::Mean, &values, 1);
        assert!((mean - 0.4).abs() < 1e-15);
        close(error, 0.16329931618554522);
        assert_eq!(aggregate(Aggregation::Mean, &values, 0).1, None);
        assert_eq!(aggregate(Aggregation::Mean, &values[..1], 10).1, None);
    }

    #[test]
    fn bootstrapped_errors_equal_the_harness() {
        let numbers: Vec<_> =
            (0..30).map(|i| MetricValue::Number(-f64::from(i * i % 11) / 7.0)).collect();
        let (value, error) = aggregate(Aggregation::Perplexity, &numbers, 3000);
        assert!((value - 1.7540102924228653).abs() < 1e-12);
        close(error, 0.12830140013079291);
        let (value, error) = aggregate(Aggregation::Median, &numbers, 3000);
        assert!((value - -0.5714285714285714).abs() < 1e-12);
        close(error, 0.08825968045247067);
        let (value, error) = aggregate(Aggregation::F1, &labels(), 3000);
        assert!((value - 0.47619047619047616).abs() < 1e-12);
        close(error, 0.09634850943037457);
        let (value, error) = aggregate(Aggregation::MatthewsCorrcoef, &labels(), 3000);
        assert!((value - -0.04279604925109129).abs() < 1e-12);
        close(error, 0.1612797588143707);
    }

    #[test]
    fn weighted_aggregates_have_no_error() {
        let values: Vec<_> = [(-10.0, 4.0), (-6.0, 4.0)]
            .map(|(value, weight)| MetricValue::Weighted { value, weight })
            .into();
        let (perplexity, error) = aggregate(Aggregation::WeightedPerplexity, &values, 100);
        assert!((perplexity - 2.0_f64.exp()).abs() < 1e-12);
        assert_eq!(error, None);
        let (bits, _) = aggregate(Aggregation::BitsPerByte, &values, 100);
        assert!((bits - 2.0 / std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn values_of_another_kind_are_refused() {
        let number = MetricValue::Number(1.0);
        let error = Aggregation::F1.aggregate(&[&number], 10).unwrap_err();
        assert_eq!(error, "aggregation `f1` needs gold and predicted labels");
    }
}
