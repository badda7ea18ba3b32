use std::collections::BTreeMap;

use moe_adapter::AdapterConfig;

/// Gives a configuration the rank and the alpha of each linear: the most frequent ones as `r` and
/// `lora_alpha`, the others in `rank_pattern` and `alpha_pattern`.
pub(crate) fn set_sizes(config: &mut AdapterConfig, sizes: &BTreeMap<String, (usize, f64)>) {
    let ranks: BTreeMap<_, _> = sizes.iter().map(|(path, (r, _))| (path, *r)).collect();
    let alphas: BTreeMap<_, _> = sizes.iter().map(|(path, (_, alpha))| (path, *alpha)).collect();
    config.r = most_frequent(ranks.values().copied()).unwrap_or(config.r);
    config.lora_alpha = most_frequent(alphas.values().copied()).unwrap_or(config.lora_alpha);
    let (r, alpha) = (config.r, config.lora_alpha);
    let others = |(path, value): (&String, usize)| (value != r).then(|| (path.clone(), value));
    config.rank_pattern = ranks.into_iter().filter_map(others).collect();
    let others = |(path, value): (&String, f64)| (value != alpha).then(|| (path.clone(), value));
    config.alpha_pattern = alphas.into_iter().filter_map(others).collect();
}

/// The value that occurs most often, the first of those.
fn most_frequent<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for value in values {
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use moe_adapter::TargetModules;

    use super::*;

    #[test]
    fn what_differs_from_the_most_frequent_goes_to_the_patterns() {
        let mut config = AdapterConfig::lora(1, 1.0, TargetModules::all_linear());
        let sizes = [("a", (2, 4.0)), ("b", (2, 8.0)), ("c", (3, 8.0))];
        let sizes = sizes.map(|(path, sizes)| (path.to_owned(), sizes)).into();
        set_sizes(&mut config, &sizes);
        assert_eq!((config.r, config.lora_alpha), (2, 8.0));
        assert_eq!(config.rank_pattern, [("c".to_owned(), 3)].into());
        assert_eq!(config.alpha_pattern, [("a".to_owned(), 4.0)].into());
    }
}
