use std::cmp::Ordering;

use super::TokenScore;

/// The log-probability of `token`, and the `top` most probable tokens; of equal ones the first.
pub(super) fn score(logits: &[f32], token: u32, top: usize) -> TokenScore {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from((logit - highest).exp())).sum();
    let total = f64::from(highest) + sum.ln();
    let logprob = |token: u32| {
        let logit = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        (f64::from(logit) - total) as f32
    };
    let by_logit = |a: &u32, b: &u32| {
        let [x, y] = [a, b].map(|token| logits[*token as usize]);
        y.partial_cmp(&x).unwrap_or(Ordering::Equal).then(a.cmp(b))
    };
    let mut best: Vec<u32> = match top {
        0 => Vec::new(),
        _ => (0..logits.len() as u32).collect(),
    };
    if top < best.len() {
        best.select_nth_unstable_by(top - 1, by_logit);
        best.truncate(top);
    }
    best.sort_unstable_by(by_logit);
    let top = best.into_iter().map(|token| (token, logprob(token))).collect();
    TokenScore { token, logprob: logprob(token), top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_softmax() {
        let TokenScore { logprob, top, .. } = score(&[1.0, 3.0, 3.0, -200.0], 0, 3);
        let total = (2.0 + (-2.0f64).exp()).ln();
        assert!((f64::from(logprob) - (-2.0 - total)).abs() < 1e-6);
        assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 2, 0]);
        assert!((f64::from(top[1].1) + total).abs() < 1e-6);
        assert!(score(&[0.0], 0, 0).top.is_empty());
        assert_eq!(score(&[0.0, 1.0], 1, 9).top.len(), 2);
    }
}
