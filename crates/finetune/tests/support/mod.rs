use ranks::{Ranks, RanksError, ThreadRanks};

/// Ranks of threads, with something to do before each sum of so many bytes.
pub struct BeforeSums<F> {
    pub inner: ThreadRanks,
    pub before: F,
}

impl<F: Fn(usize) + Sync> Ranks for BeforeSums<F> {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), RanksError> {
        (self.before)(size_of_val(values));
        self.inner.sum(values)
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        self.inner.gather(bytes)
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError> {
        self.inner.broadcast(bytes)
    }

    fn barrier(&self) -> Result<(), RanksError> {
        self.inner.barrier()
    }
}
