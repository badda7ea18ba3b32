//! Processes that compute together: what a training loop needs to know of the others.
//!
//! ```text
//! Ranks: rank, size, sum, gather, broadcast, barrier
//!   Alone          one process, at no cost
//!   ThreadRanks    threads of one process
//!   MpiRanks       processes that mpirun or srun started (feature `mpi`)
//! ```
//!
//! Every rank makes the same calls in the same order. [`agree`] refuses ranks that do not do the
//! same work.

mod agree;
mod alone;
mod error;
#[cfg(feature = "mpi")]
mod mpi;
mod pairwise;
mod share;
mod threads;

pub use agree::agree;
pub use alone::Alone;
pub use error::RanksError;
#[cfg(feature = "mpi")]
pub use mpi::MpiRanks;
pub use pairwise::{PairwiseSum, sum_pairwise};
pub use share::share_of;
pub use threads::ThreadRanks;

/// One of several ranks that compute together, numbered from 0. Each call is made by all of them,
/// and returns when all have made it. Any thread may make it, but one after the other.
pub trait Ranks: Sync {
    /// The number of this rank.
    fn rank(&self) -> usize;

    /// How many ranks there are.
    fn size(&self) -> usize;

    /// Replaces the values by their sums over all ranks, of which each has as many. All ranks
    /// receive the same bits: they are added in pairs, as [`sum_pairwise`] does.
    ///
    /// # Errors
    ///
    /// [`RanksError`] when a rank is gone, does not come, or has another number of values.
    fn sum(&self, values: &mut [f32]) -> Result<(), RanksError>;

    /// The bytes of all ranks, in their order, on every rank.
    ///
    /// # Errors
    ///
    /// [`RanksError`] when a rank is gone or does not come.
    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError>;

    /// Replaces the bytes by those of rank 0.
    ///
    /// # Errors
    ///
    /// [`RanksError`] when a rank is gone or does not come.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError>;

    /// Waits for all.
    ///
    /// # Errors
    ///
    /// [`RanksError`] when a rank is gone or does not come.
    fn barrier(&self) -> Result<(), RanksError>;

    /// Whether this is rank 0, which writes files.
    fn is_first(&self) -> bool {
        self.rank() == 0
    }
}
