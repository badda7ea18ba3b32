use std::collections::BTreeMap;

use regex::Regex;

use crate::{AdapterConfig, AdapterError, LayerSizes};

/// Values of the linears whose path matches a regular expression, or ends in `.` and a match.
struct Patterns<T> {
    key: &'static str,
    entries: Vec<(String, Regex, T)>,
}

impl<T: Copy + PartialEq> Patterns<T> {
    fn new(key: &'static str, values: &BTreeMap<String, T>) -> Result<Self, AdapterError> {
        let entries = values.iter().map(|(pattern, value)| {
            let regex = Regex::new(&format!("^(?:.*\\.)?(?:{pattern})$"));
            let refused =
                |source| AdapterError::SizePattern { key, pattern: pattern.clone(), source };
            Ok((pattern.clone(), regex.map_err(refused)?, *value))
        });
        Ok(Self { key, entries: entries.collect::<Result<_, AdapterError>>()? })
    }

    /// The value for a path. PEFT takes the first pattern of the file that matches; here the order
    /// does not count, so patterns that match the same path have to agree.
    fn value(&self, path: &str) -> Result<Option<T>, AdapterError> {
        let mut found: Option<&(String, Regex, T)> = None;
        for entry in self.entries.iter().filter(|(_, regex, _)| regex.is_match(path)) {
            match found {
                Some((first, _, value)) if *value != entry.2 => {
                    return Err(AdapterError::PatternsOverlap {
                        key: self.key,
                        path: path.into(),
                        first: first.clone(),
                        second: entry.0.clone(),
                    });
                }
                _ => found = Some(entry),
            }
        }
        Ok(found.map(|(_, _, value)| *value))
    }
}

/// What `rank_pattern` and `alpha_pattern` say, ready to be matched against the paths of linears.
pub struct SizePatterns {
    rank: Patterns<usize>,
    alpha: Patterns<f64>,
}

impl AdapterConfig {
    /// The patterns of sizes.
    ///
    /// # Errors
    ///
    /// [`AdapterError::SizePattern`] for what is no regular expression.
    pub fn size_patterns(&self) -> Result<SizePatterns, AdapterError> {
        Ok(SizePatterns {
            rank: Patterns::new("rank_pattern", &self.rank_pattern)?,
            alpha: Patterns::new("alpha_pattern", &self.alpha_pattern)?,
        })
    }

    /// The sizes of one linear: those of its layer, but for what the patterns say of its path.
    ///
    /// # Errors
    ///
    /// [`AdapterError::PatternsOverlap`] for patterns that disagree on it, and
    /// [`AdapterError::SplitRank`] for a rank that its experts cannot share.
    pub fn sizes_of(
        &self,
        path: &str,
        layer: usize,
        num_layers: usize,
        patterns: &SizePatterns,
    ) -> Result<LayerSizes, AdapterError> {
        let mut sizes = self.sizes(layer, num_layers);
        if let Some(r) = patterns.rank.value(path)? {
            if self.split_rank && !r.is_multiple_of(sizes.num_experts) {
                return Err(AdapterError::SplitRank { r, num_experts: sizes.num_experts });
            }
            sizes.total_rank = r;
            sizes.rank = if self.split_rank { r / sizes.num_experts } else { r };
        }
        sizes.lora_alpha = patterns.alpha.value(path)?.unwrap_or(sizes.lora_alpha);
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TargetModules;

    fn config(patterns: &[(&str, usize)]) -> AdapterConfig {
        let mut config = AdapterConfig::lora(2, 4.0, TargetModules::all_linear());
        config.rank_pattern = patterns.iter().map(|(key, r)| ((*key).to_owned(), *r)).collect();
        config
    }

    fn rank(config: &AdapterConfig, path: &str) -> Result<usize, AdapterError> {
        let patterns = config.size_patterns()?;
        config.sizes_of(path, 0, 1, &patterns).map(|sizes| sizes.rank)
    }

    #[test]
    fn patterns_match_whole_segments_at_the_end() {
        let mut config = config(&[("q_proj", 4), (r"layers\.1\..*", 8)]);
        config.alpha_pattern.insert("q_proj".into(), 16.0);
        assert_eq!(rank(&config, "model.layers.0.self_attn.q_proj").unwrap(), 4);
        assert_eq!(rank(&config, "model.layers.1.self_attn.k_proj").unwrap(), 8);
        assert_eq!(rank(&config, "model.layers.0.self_attn.xq_proj").unwrap(), 2);
        let patterns = config.size_patterns().unwrap();
        let sizes = config.sizes_of("model.layers.0.self_attn.q_proj", 0, 2, &patterns).unwrap();
        assert_eq!(config.bank_shape(&sizes, [8, 8]).scaling, 4.0);
    }

    #[test]
    fn patterns_that_disagree_are_refused_by_name() {
        let config = config(&[("q_proj", 4), (r"layers\.1\..*", 8)]);
        let error = rank(&config, "model.layers.1.self_attn.q_proj").unwrap_err().to_string();
        assert!(error.contains("`rank_pattern`") && error.contains("q_proj"), "{error}");
    }

    #[test]
    fn bad_patterns_are_refused_with_the_configuration() {
        let error = config(&[("(", 4)]).check().unwrap_err();
        assert!(matches!(error, AdapterError::SizePattern { key: "rank_pattern", .. }));
        let error = config(&[("q_proj", 0)]).check().unwrap_err();
        assert!(matches!(error, AdapterError::Zero { key: "rank_pattern" }));
    }
}
