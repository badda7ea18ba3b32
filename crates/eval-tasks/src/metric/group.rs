use serde::{Deserialize, Serialize};

/// The mean of a metric over the tasks of a group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GroupScore {
    /// The mean.
    pub value: f64,
    /// Its standard error, if all tasks have one.
    pub stderr: Option<f64>,
}

/// The mean over tasks, each given as value, standard error and number of documents.
///
/// Weighted by size it is `Σ n_i v_i / Σ n_i`, with the pooled error
/// `sqrt(Σ (n_i - 1) n_i e_i² / (Σ n_i - k) / Σ n_i)`; otherwise `Σ v_i / k` with
/// `sqrt(Σ e_i²) / k`.
pub fn group_score(tasks: &[(f64, Option<f64>, usize)], weight_by_size: bool) -> GroupScore {
    let count = tasks.len() as f64;
    let weight = |size: usize| if weight_by_size { size as f64 } else { 1.0 };
    let total: f64 = tasks.iter().map(|(_, _, size)| weight(*size)).sum();
    let value = tasks.iter().map(|(value, _, size)| value * weight(*size)).sum::<f64>() / total;
    let errors: Option<Vec<(f64, f64)>> =
        tasks.iter().map(|(_, error, size)| error.map(|error| (error, *size as f64))).collect();
    let stderr = errors.map(|errors| {
        if weight_by_size {
            let squares: f64 = errors.iter().map(|(error, n)| (n - 1.0) * error * error * n).sum();
            (squares / (total - count) / total).sqrt()
        } else {
            errors.iter().map(|(error, _)| error * error).sum::<f64>().sqrt() / count
        }
    });
    GroupScore { value, stderr }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Reference: aggregate_subtask_metrics, pooled_sample_stderr and unweighted_mean_stderr of the
    // harness's api/metrics.py, Python 3.11.
    #[test]
    fn groups_equal_the_harness() {
        let tasks = [(0.5, Some(0.05), 100), (0.25, Some(0.1), 20)];
        let weighted = group_score(&tasks, true);
        assert!((weighted.value - 0.4583333333333333).abs() < 1e-15);
        assert!((weighted.stderr.unwrap() - 0.044902593887804605).abs() < 1e-12);
        let plain = group_score(&tasks, false);
        assert!((plain.value - 0.375).abs() < 1e-15);
        assert!((plain.stderr.unwrap() - 0.05590169943749475).abs() < 1e-12);
        assert_eq!(group_score(&[(0.5, None, 10)], true).stderr, None);
    }
}
