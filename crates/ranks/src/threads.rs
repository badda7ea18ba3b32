use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Ranks, RanksError, sum_pairwise};

/// A rank that is a thread of this process. When one is dropped, by the end of its thread or a panic,
/// the others that wait for it have an error.
#[derive(Debug)]
pub struct ThreadRanks {
    rank: usize,
    size: usize,
    limit: Duration,
    meeting: Arc<Meeting>,
}

#[derive(Debug, Default)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How often all have met.
    round: u64,
    /// What each has brought to the next meeting.
    brought: Vec<Option<Vec<u8>>>,
    /// What was brought to the last one.
    last: Arc<Vec<Vec<u8>>>,
    gone: Option<usize>,
}

impl ThreadRanks {
    /// Ranks for `size` threads. One that does not come within `limit` is an error of the others.
    pub fn new(size: usize, limit: Duration) -> Vec<Self> {
        let state = State { brought: vec![None; size], ..State::default() };
        let meeting = Arc::new(Meeting { state: Mutex::new(state), changed: Condvar::new() });
        (0..size).map(|rank| Self { rank, size, limit, meeting: meeting.clone() }).collect()
    }

    /// Runs `work` on a thread for each rank, and returns what they return in the order of the ranks.
    /// A panic of one goes on here.
    pub fn run<T: Send>(size: usize, limit: Duration, work: impl Fn(Self) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = Self::new(size, limit)
                .into_iter()
                .map(|ranks| scope.spawn(move || work(ranks)))
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, T>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        })
    }

    /// Brings something, and returns what all have brought.
    fn meet(&self, bytes: Vec<u8>) -> Result<Arc<Vec<Vec<u8>>>, RanksError> {
        let mut state = self.meeting.lock();
        let round = state.round;
        state.brought[self.rank] = Some(bytes);
        if state.brought.iter().all(Option::is_some) {
            state.last = Arc::new(state.brought.iter_mut().filter_map(Option::take).collect());
            state.round += 1;
            self.meeting.changed.notify_all();
            return Ok(state.last.clone());
        }
        let until = Instant::now() + self.limit;
        while state.round == round {
            if let Some(rank) = state.gone {
                return Err(RanksError::Lost { rank, size: self.size });
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else {
                let missing = state.brought.iter().enumerate().filter(|(_, of)| of.is_none());
                let ranks = missing.map(|(rank, _)| rank).collect();
                return Err(RanksError::Late { ranks, seconds: self.limit.as_secs() });
            };
            let waited = self.meeting.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // The next meeting needs this rank too, so this is still what was brought to its own.
        Ok(state.last.clone())
    }
}

impl Meeting {
    /// Nothing is left half done that a panic could spoil.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ThreadRanks {
    fn drop(&mut self) {
        self.meeting.lock().gone.get_or_insert(self.rank);
        self.meeting.changed.notify_all();
    }
}

impl Ranks for ThreadRanks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), RanksError> {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let all = self.meet(bytes)?;
        for (rank, bytes) in all.iter().enumerate() {
            if bytes.len() != all[0].len() {
                let number = |bytes: &Vec<u8>| format!("{} numbers", bytes.len() / 4);
                let (found, expected) = (number(bytes), number(&all[0]));
                return Err(RanksError::Sizes { rank, found, expected });
            }
        }
        let row = |bytes: &Vec<u8>| {
            let (chunks, _) = bytes.as_chunks::<4>();
            chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
        };
        let sums = sum_pairwise(all.iter().map(row));
        values.copy_from_slice(&sums);
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        Ok(self.meet(bytes.to_vec())?.to_vec())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError> {
        let own = if self.rank == 0 { bytes.clone() } else { Vec::new() };
        bytes.clone_from(&self.meet(own)?[0]);
        Ok(())
    }

    fn barrier(&self) -> Result<(), RanksError> {
        self.meet(Vec::new()).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn all_ranks_receive_the_same() {
        let found = ThreadRanks::run(4, LIMIT, |ranks| {
            let rank = ranks.rank();
            let mut values = [rank as f32, 0.5];
            ranks.sum(&mut values).expect("all are there");
            let gathered = ranks.gather(&vec![7; rank]).expect("all are there");
            let mut bytes = vec![rank as u8 + 1];
            ranks.broadcast(&mut bytes).expect("all are there");
            ranks.barrier().expect("all are there");
            (rank, values, gathered, bytes)
        });
        for (at, (rank, values, gathered, bytes)) in found.into_iter().enumerate() {
            assert_eq!((rank, values, bytes), (at, [6.0, 2.0], vec![1]));
            assert_eq!(gathered, [vec![], vec![7], vec![7, 7], vec![7, 7, 7]]);
        }
    }

    #[test]
    fn a_rank_that_ends_or_does_not_come_is_named() {
        let found = ThreadRanks::run(3, LIMIT, |ranks| {
            (ranks.rank() != 1).then(|| ranks.barrier().map_err(|error| error.to_string()))
        });
        let error = found[0].clone().expect("rank 0 waited").expect_err("one is gone");
        assert!(error.starts_with("rank 1 of 3 has ended"), "{error}");

        let mut all = ThreadRanks::new(3, Duration::from_millis(20));
        let ranks = all.remove(1);
        let error = ranks.barrier().expect_err("nobody else is there").to_string();
        assert!(error.contains("for ranks 0, 2"), "{error}");
    }

    #[test]
    fn unequal_numbers_are_refused() {
        let errors = ThreadRanks::run(2, LIMIT, |ranks| {
            let mut values = vec![0.0; 3 + ranks.rank()];
            ranks.sum(&mut values).expect_err("they differ").to_string()
        });
        assert!(errors[0].contains("rank 1 brought 4 numbers"), "{}", errors[0]);
    }
}
