use std::time::Duration;

/// Which of a study's runs a process makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StudyPart {
    /// All that are not there yet; nobody else works in the folder.
    #[default]
    All,
    /// Every `of`-th run from the `number`-th on, from 1. Others make the rest, at the same time or
    /// not. A method whose learning rate is searched for is run when its whole search is there.
    Only {
        /// Which part.
        number: usize,
        /// Of how many.
        of: usize,
    },
    /// Whatever nobody else makes, until all is there: runs are claimed by files in the folder, and
    /// what a process has claimed that died is taken up again after the lease.
    Claim {
        /// After how long without a sign of life a claim ends.
        lease: Duration,
    },
    /// None: what is there is read.
    Nothing,
}
