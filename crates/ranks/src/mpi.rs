use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::collective::{CommunicatorCollectives, Root};
use mpi::datatype::PartitionMut;
use mpi::environment::Universe;
use mpi::point_to_point::{Destination, Source};
use mpi::topology::{Communicator, SimpleCommunicator};

use crate::pairwise::sum_in_place;
use crate::{Ranks, RanksError};

/// The rank of a process that `mpirun` or `srun` started. MPI ends with the value.
///
/// Before each call the ranks meet, so that one that does not come within the time limit is named;
/// MPI itself would wait for ever. When a process dies, `mpirun` ends the others.
pub struct MpiRanks {
    rank: usize,
    size: usize,
    local: usize,
    limit: Duration,
    started: Instant,
    /// When the call of MPI began that this rank is in, in milliseconds; 0 where it is in none.
    inside: Arc<AtomicU64>,
    world: Mutex<World>,
    // Last, because it ends MPI.
    _universe: Universe,
}

/// All ranks. MPI was begun such that any thread may call it, one at a time, which the lock sees to.
struct World(SimpleCommunicator);

#[allow(unsafe_code)]
// SAFETY: a handle, which MPI takes from any thread, as long as no other one calls it at that time.
unsafe impl Send for World {}

impl World {
    /// Whether a token of a rank has come.
    fn received(&self, rank: usize, tag: i32) -> bool {
        let process = self.0.process_at_rank(integer(rank));
        let come = process.immediate_probe_with_tag(tag).is_some();
        if come {
            let mut token = [0_u8];
            process.receive_into_with_tag(&mut token[..], tag);
        }
        come
    }
}

/// The tags of the messages by which ranks meet.
const COME: i32 = 7001;
const GO: i32 = 7002;

/// What the other ranks wait longer than rank 0, which knows who is missing.
const MORE: Duration = Duration::from_secs(10);

impl MpiRanks {
    /// Begins MPI. A rank that does not come within `limit` is an error of the others. One that hangs
    /// within a call keeps the others there, for MPI's calls do not return; `stuck` is then told on
    /// another thread, and is to end the process.
    ///
    /// # Errors
    ///
    /// [`RanksError::Unavailable`] when MPI was begun before.
    pub fn init(
        limit: Duration,
        stuck: impl FnOnce(RanksError) + Send + 'static,
    ) -> Result<Self, RanksError> {
        // The thread that trains calls MPI, and in its backward pass another.
        let Some((universe, allowed)) = mpi::initialize_with_threading(Threading::Serialized)
        else {
            return Err(RanksError::Unavailable("MPI was initialised before".into()));
        };
        if allowed < Threading::Serialized {
            let message = "this MPI was built without MPI_THREAD_SERIALIZED";
            return Err(RanksError::Unavailable(message.into()));
        }
        let world = universe.world();
        let local = number(world.split_shared(world.rank()).rank());
        let (rank, size) = (number(world.rank()), number(world.size()));
        let (started, inside) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let watched = inside.clone();
        std::thread::Builder::new()
            .name("ranks".into())
            .spawn(move || watch(&watched, started, limit, stuck))
            .map_err(|error| RanksError::Unavailable(error.to_string()))?;
        let world = Mutex::new(World(world));
        Ok(Self { rank, size, local, limit, started, inside, world, _universe: universe })
    }

    /// MPI, for this thread alone.
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call under watch.
    fn watched<T>(&self, call: impl FnOnce() -> T) -> T {
        self.inside.store(milliseconds(self.started), Ordering::Relaxed);
        let result = call();
        self.inside.store(0, Ordering::Relaxed);
        result
    }

    /// The number of this rank among those of its machine, for the choice of a GPU.
    pub fn local_rank(&self) -> usize {
        self.local
    }

    /// Ends all ranks at once, with an exit code. What this process has to say must have been said.
    pub fn abort(&self, code: u8) -> ! {
        match self.world.try_lock() {
            Ok(world) => world.0.abort(code.into()),
            // Another thread waits within a call. Who started the ranks ends the others.
            Err(_) => std::process::exit(code.into()),
        }
    }

    /// Waits until all ranks are here.
    fn meet(&self, world: &World) -> Result<(), RanksError> {
        let token = [0_u8];
        if self.rank == 0 {
            let mut missing: Vec<usize> = (1..self.size).collect();
            self.wait(self.limit, || {
                missing.retain(|rank| !world.received(*rank, COME));
                missing.clone()
            })?;
            for rank in 1..self.size {
                world.0.process_at_rank(integer(rank)).send_with_tag(&token[..], GO);
            }
            return Ok(());
        }
        world.0.process_at_rank(0).send_with_tag(&token[..], COME);
        self.wait(self.limit + MORE, || match world.received(0, GO) {
            true => Vec::new(),
            false => vec![0],
        })
    }

    /// Asks for who is missing until nobody is. Ranks may share a processor, so it is left to others
    /// after a while.
    fn wait(
        &self,
        limit: Duration,
        mut missing: impl FnMut() -> Vec<usize>,
    ) -> Result<(), RanksError> {
        let started = Instant::now();
        loop {
            let ranks = missing();
            if ranks.is_empty() {
                return Ok(());
            }
            let waited = started.elapsed();
            if waited > limit {
                return Err(RanksError::Late { ranks, seconds: limit.as_secs() });
            }
            match waited < Duration::from_millis(1) {
                true => std::thread::yield_now(),
                false => std::thread::sleep((waited / 20).min(Duration::from_millis(1))),
            }
        }
    }

    /// A number of each rank.
    fn numbers(&self, world: &World, own: u64) -> Vec<u64> {
        let mut all = vec![0; self.size];
        self.watched(|| world.0.all_gather_into(&own, &mut all[..]));
        all
    }
}

impl Drop for MpiRanks {
    /// MPI ends together, which the others would wait for.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.abort(101);
        }
    }
}

impl Ranks for MpiRanks {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    /// Each rank adds up a part for all, so that 2 (n - 1) / n times the bytes pass through each.
    fn sum(&self, values: &mut [f32]) -> Result<(), RanksError> {
        let world = self.world();
        self.meet(&world)?;
        let counts = self.numbers(&world, values.len() as u64);
        if let Some(rank) = counts.iter().position(|count| *count != counts[0]) {
            let (found, expected) =
                (format!("{} numbers", counts[rank]), format!("{} numbers", counts[0]));
            return Err(RanksError::Sizes { rank, found, expected });
        }
        if values.is_empty() {
            return Ok(());
        }
        let part = values.len().div_ceil(self.size);
        let mut mine = values.to_vec();
        mine.resize(part * self.size, 0.0);
        let mut parts = vec![0.0_f32; part * self.size];
        self.watched(|| world.0.all_to_all_into(&mine[..], &mut parts[..]));
        sum_in_place(&mut parts, part);
        self.watched(|| world.0.all_gather_into(&parts[..part], &mut mine[..]));
        values.copy_from_slice(&mine[..values.len()]);
        Ok(())
    }

    fn gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, RanksError> {
        let world = self.world();
        self.meet(&world)?;
        let lengths = self.numbers(&world, bytes.len() as u64);
        let counts: Vec<i32> = lengths.iter().map(|length| integer(*length as usize)).collect();
        let starts: Vec<i32> = counts
            .iter()
            .scan(0, |at, count| {
                let start = *at;
                *at += count;
                Some(start)
            })
            .collect();
        let mut all = vec![0_u8; lengths.iter().sum::<u64>() as usize];
        let mut partition = PartitionMut::new(&mut all[..], &counts[..], &starts[..]);
        self.watched(|| world.0.all_gather_varcount_into(bytes, &mut partition));
        let mut rest = all.as_slice();
        Ok(lengths
            .iter()
            .map(|length| {
                let (own, after) = rest.split_at(*length as usize);
                rest = after;
                own.to_vec()
            })
            .collect())
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), RanksError> {
        let world = self.world();
        self.meet(&world)?;
        let mut length = bytes.len() as u64;
        self.watched(|| world.0.process_at_rank(0).broadcast_into(&mut length));
        bytes.resize(length as usize, 0);
        self.watched(|| world.0.process_at_rank(0).broadcast_into(&mut bytes[..]));
        Ok(())
    }

    fn barrier(&self) -> Result<(), RanksError> {
        self.meet(&self.world())
    }
}

/// Watches for a call that does not end, as long as there is somebody who calls.
fn watch(
    inside: &Arc<AtomicU64>,
    started: Instant,
    limit: Duration,
    stuck: impl FnOnce(RanksError),
) {
    let every = (limit / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
    while Arc::strong_count(inside) > 1 {
        std::thread::sleep(every);
        let since = inside.load(Ordering::Relaxed);
        let waited = milliseconds(started).saturating_sub(since);
        if since > 0 && u128::from(waited) > limit.as_millis() {
            return stuck(RanksError::Stuck { seconds: limit.as_secs() });
        }
    }
}

/// The time since then, never 0.
fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Numbers of ranks and counts of MPI are C's int.
fn integer(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn number(integer: i32) -> usize {
    usize::try_from(integer).unwrap_or(0)
}
