/// `sklearn.metrics.f1_score` of class 1 over pairs of gold and predicted label; 0 where neither
/// is ever 1.
pub(super) fn f1(pairs: impl Iterator<Item = (i64, i64)>) -> f64 {
    let (mut both, mut gold_only, mut predicted_only) = (0.0, 0.0, 0.0);
    for (gold, predicted) in pairs {
        match (gold == 1, predicted == 1) {
            (true, true) => both += 1.0,
            (true, false) => gold_only += 1.0,
            (false, true) => predicted_only += 1.0,
            (false, false) => {}
        }
    }
    let denominator = 2.0 * both + gold_only + predicted_only;
    if denominator == 0.0 { 0.0 } else { 2.0 * both / denominator }
}

/// Matthews' correlation of `classes` labels counted from 0, as
/// `sklearn.metrics.matthews_corrcoef`; 0 where it is undefined.
///
/// With `s` pairs, `c` of them right, and `t_k`, `p_k` how often class `k` is gold and predicted:
/// `(c s - Σ t_k p_k) / sqrt((s² - Σ p_k²)(s² - Σ t_k²))` (Gorodkin 2004).
pub(super) fn matthews(pairs: impl Iterator<Item = (usize, usize)>, classes: usize) -> f64 {
    let mut gold_counts = vec![0.0; classes];
    let mut predicted_counts = vec![0.0; classes];
    let (mut total, mut right) = (0.0, 0.0);
    for (gold, predicted) in pairs {
        gold_counts[gold] += 1.0;
        predicted_counts[predicted] += 1.0;
        total += 1.0;
        right += f64::from(gold == predicted);
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let covariance = right * total - dot(&gold_counts, &predicted_counts);
    let gold_variance = total * total - dot(&gold_counts, &gold_counts);
    let predicted_variance = total * total - dot(&predicted_counts, &predicted_counts);
    let product = gold_variance * predicted_variance;
    if product == 0.0 { 0.0 } else { covariance / product.sqrt() }
}
