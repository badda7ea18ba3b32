/// A sequence to read, and the tokens to predict after each of its last positions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// What the model reads.
    pub(super) tokens: Vec<u32>,
    /// What is predicted: the last one after all of `tokens`. At most as many as these.
    pub(super) targets: Vec<u32>,
}

impl Span {
    /// A continuation after the end of a context that the model can read with it: the last
    /// `max_length` tokens before the last one.
    pub(super) fn new(context: &[u32], continuation: &[u32], max_length: usize) -> Self {
        let mut tokens = [context, continuation].concat();
        tokens.pop();
        tokens.drain(..tokens.len().saturating_sub(max_length));
        Self { tokens, targets: continuation.to_vec() }
    }

    /// Windows in which each of `tokens` is predicted once: of `max_length` tokens, which follow
    /// the one before them; the last window is as long, but predicts only what is left.
    pub(super) fn windows(prefix: u32, tokens: &[u32], max_length: usize) -> Vec<Self> {
        let all = [&[prefix], tokens].concat();
        let ends = (0..tokens.len()).step_by(max_length.max(1));
        let windows = ends.map(|start| {
            let end = tokens.len().min(start + max_length);
            // `all` is one token ahead of `tokens`.
            let from = if start == 0 { 0 } else { end - max_length };
            Self { tokens: all[from..end].to_vec(), targets: tokens[start..end].to_vec() }
        });
        windows.collect()
    }

    /// The first position after which a token is predicted.
    pub(super) fn first(&self) -> usize {
        self.tokens.len() - self.targets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_cut_from_the_left() {
        let span = |max_length| Span::new(&[1, 2, 3], &[4, 5], max_length);
        assert_eq!(span(9), Span { tokens: vec![1, 2, 3, 4], targets: vec![4, 5] });
        assert_eq!(span(3), Span { tokens: vec![2, 3, 4], targets: vec![4, 5] });
        assert_eq!(span(2).first(), 0);
    }

    #[test]
    fn windows_predict_each_token_once() {
        let window = |tokens: &[u32], targets: &[u32]| Span {
            tokens: tokens.to_vec(),
            targets: targets.to_vec(),
        };
        assert_eq!(Span::windows(0, &[], 4), []);
        assert_eq!(Span::windows(0, &[1, 2], 4), [window(&[0, 1], &[1, 2])]);
        let ten: Vec<u32> = (1..=10).collect();
        assert_eq!(
            Span::windows(0, &ten, 4),
            [
                window(&[0, 1, 2, 3], &[1, 2, 3, 4]),
                window(&[4, 5, 6, 7], &[5, 6, 7, 8]),
                window(&[6, 7, 8, 9], &[9, 10]),
            ]
        );
    }
}
