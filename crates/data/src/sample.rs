/// One tokenised example, or several of one task type in a row ([`Sample::packed`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Token ids `[L]`.
    pub input_ids: Vec<u32>,
    /// `[L]`, true where the token is to be predicted (from the tokens before it). Always false at
    /// position 0, which nothing predicts, and where an example of several begins.
    pub target_mask: Vec<bool>,
    /// Task type, where the data has one.
    pub task_type: Option<u32>,
    /// The numbers of tokens of the examples, where there are several; empty for one.
    pub documents: Vec<usize>,
}

impl Sample {
    /// Examples one after the other, which do not attend to each other. The task type is that of
    /// the first; [`pack`](super::pack) puts together such as have the same.
    pub fn packed<'a>(examples: impl IntoIterator<Item = &'a Sample>) -> Self {
        let mut all = Self::default();
        for (at, example) in examples.into_iter().enumerate() {
            let first = all.target_mask.len();
            all.input_ids.extend(&example.input_ids);
            all.target_mask.extend(&example.target_mask);
            if let Some(starts) = all.target_mask.get_mut(first) {
                *starts = false;
            }
            all.documents.extend(example.lengths());
            if at == 0 {
                all.task_type = example.task_type;
            }
        }
        all
    }

    /// Number of tokens `L`.
    pub fn len(&self) -> usize {
        self.input_ids.len()
    }

    /// The number of tokens of each example in it.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        let whole = self.documents.is_empty().then_some(self.len());
        self.documents.iter().copied().chain(whole)
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.input_ids.is_empty()
    }

    /// Number of targets.
    pub fn target_count(&self) -> usize {
        self.target_mask.iter().filter(|&&target| target).count()
    }
}
