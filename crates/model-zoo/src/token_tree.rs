/// Token sequences, of which those that begin alike share the tokens of their beginning.
///
/// As a row of a batch (see [`TokenInput::from_trees`](crate::TokenInput::from_trees)) it computes
/// every shared token once, and each token attends only to those of its own sequence.
///
/// ```
/// use model_zoo::TokenTree;
///
/// let mut tree = TokenTree::default();
/// assert_eq!(tree.insert(&[5, 6, 7]), [0, 1, 2]);
/// assert_eq!(tree.insert(&[5, 6, 9, 9]), [0, 1, 3, 4]);
/// assert_eq!(tree.tokens(), [5, 6, 7, 9, 9]);
/// ```
#[derive(Debug, Clone, Default)]
pub struct TokenTree {
    tokens: Vec<u32>,
    /// The index of the token that each one follows; `None` for those that start a sequence.
    parents: Vec<Option<usize>>,
    /// The indices of the tokens of the sequence that was inserted last.
    path: Vec<usize>,
}

impl TokenTree {
    /// Adds a sequence, and returns the index of each of its tokens in the tree.
    ///
    /// It shares what it has in common with the sequence that was inserted before it, so sequences
    /// in sorted order share all that they can.
    pub fn insert(&mut self, sequence: &[u32]) -> &[usize] {
        let shared = self.path.iter().zip(sequence);
        let shared = shared.take_while(|(index, token)| self.tokens[**index] == **token).count();
        self.path.truncate(shared);
        for token in &sequence[shared..] {
            self.parents.push(self.path.last().copied());
            self.path.push(self.tokens.len());
            self.tokens.push(*token);
        }
        &self.path
    }

    /// The tokens, each after the one that it follows.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// The index of the token that each one follows; `None` for those that start a sequence.
    pub fn parents(&self) -> &[Option<usize>] {
        &self.parents
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_share_their_beginnings() {
        let mut tree = TokenTree::default();
        assert_eq!(tree.insert(&[1, 2]), [0, 1]);
        assert_eq!(tree.insert(&[1, 2]), [0, 1]);
        assert_eq!(tree.insert(&[1, 2, 3]), [0, 1, 2]);
        assert_eq!(tree.insert(&[1, 4]), [0, 3]);
        assert_eq!(tree.insert(&[4]), [4]);
        assert!(tree.insert(&[]).is_empty());
        assert_eq!(tree.tokens(), [1, 2, 3, 4, 4]);
        assert_eq!(tree.parents(), [None, Some(0), Some(1), Some(0), None]);
    }
}
