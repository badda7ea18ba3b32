/// What the routing of a token may depend on, beside the token's own activation.
///
/// Whoever computes samples together that belong apart (scores many requests in one pass) asks
/// for it. What is random in training counts nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Reach {
    /// On nothing else.
    #[default]
    Token,
    /// On the other tokens of its sample.
    Sample,
    /// On all tokens of the batch.
    Batch,
}
