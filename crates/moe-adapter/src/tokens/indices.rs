use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::AdapterError;

/// The most rows that train by themselves: for more, a whole module is trained in less memory.
const MAX_TOKENS: usize = 1 << 16;

/// Which tokens have rows that are trained by themselves, as PEFT's `trainable_token_indices`: a list,
/// which means the embeddings (and a head that is tied to them), or lists by module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIndices {
    /// Rows of the embeddings.
    Embeddings(Vec<usize>),
    /// Rows of modules, as in `{ embed_tokens = [5], lm_head = [5] }`.
    ByModule(BTreeMap<String, Vec<usize>>),
}

impl TokenIndices {
    /// The name of the embeddings.
    pub const EMBEDDINGS: &str = "embed_tokens";

    /// The modules, as they are named, with their tokens.
    pub fn by_module(&self) -> Vec<(&str, &[usize])> {
        match self {
            Self::Embeddings(tokens) => vec![(Self::EMBEDDINGS, tokens)],
            Self::ByModule(modules) => {
                modules.iter().map(|(name, tokens)| (name.as_str(), tokens.as_slice())).collect()
            }
        }
    }

    /// How many tokens a vocabulary has at least that holds them, as far as rows beyond `count` may be
    /// missing: those are all among the trained ones.
    pub(crate) fn needed(&self, count: usize) -> usize {
        let needed = self.by_module().into_iter().map(|(_, tokens)| {
            let most = tokens.iter().max().map_or(0, |index| index.saturating_add(1));
            if most <= count.saturating_add(tokens.len()) { most } else { 0 }
        });
        needed.max().unwrap_or(0)
    }

    /// Whether each list names tokens, and each token once.
    pub(crate) fn check(&self) -> Result<(), AdapterError> {
        let modules = self.by_module();
        if modules.is_empty() {
            return Err(AdapterError::NoTokens { module: Self::EMBEDDINGS.into() });
        }
        for (module, tokens) in modules {
            if tokens.is_empty() {
                return Err(AdapterError::NoTokens { module: module.into() });
            }
            if tokens.len() > MAX_TOKENS {
                let (key, value) = ("the number of trainable_token_indices", tokens.len());
                return Err(AdapterError::TooLarge { key, value, most: MAX_TOKENS });
            }
            let mut sorted = tokens.to_vec();
            sorted.sort_unstable();
            if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(AdapterError::TokenTwice { module: module.into(), index: pair[0] });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_means_the_embeddings() {
        let list: TokenIndices = serde_json::from_str("[3, 1]").unwrap();
        assert_eq!(list.by_module(), [("embed_tokens", &[3, 1][..])]);
        let table: TokenIndices = serde_json::from_str(r#"{"lm_head": [2]}"#).unwrap();
        assert_eq!(table.by_module(), [("lm_head", &[2][..])]);
    }

    #[test]
    fn each_bad_list_is_refused() {
        let check = |json: &str| serde_json::from_str::<TokenIndices>(json).unwrap().check();
        assert!(check("[3, 1]").is_ok());
        assert!(matches!(check("[]"), Err(AdapterError::NoTokens { .. })));
        assert!(matches!(check("{}"), Err(AdapterError::NoTokens { .. })));
        assert!(matches!(check("[3, 1, 3]"), Err(AdapterError::TokenTwice { index: 3, .. })));
        let many = TokenIndices::Embeddings((0..=MAX_TOKENS).collect());
        assert!(matches!(many.check(), Err(AdapterError::TooLarge { .. })));
        assert!(TokenIndices::Embeddings((0..MAX_TOKENS).collect()).check().is_ok());
    }

    #[test]
    fn a_vocabulary_grows_only_by_rows_that_are_trained() {
        let needed = |tokens: &[usize]| TokenIndices::Embeddings(tokens.to_vec()).needed(10);
        assert_eq!(needed(&[3]), 4);
        assert_eq!(needed(&[3, 10, 11]), 12);
        assert_eq!(needed(&[usize::MAX]), 0);
    }
}
