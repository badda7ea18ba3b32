/// How far the preparation of a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preparation {
    /// So many records are read and encoded into the cache.
    Records(usize),
    /// So many of the decompositions of the adapter's start are done.
    Decompositions {
        /// Those done.
        done: usize,
        /// All.
        total: usize,
    },
}
