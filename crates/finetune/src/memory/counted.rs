//! Memory as an allocator counts it, which no leftover of other work and no habit of the system
//! disturbs.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);
static ONE: Mutex<()> = Mutex::new(());

/// An allocator that counts what it hands out while a [`PeakCount`] lives, and else only passes on.
///
/// ```
/// use finetune::memory::{Counted, PeakCount};
///
/// #[global_allocator]
/// static ALLOCATOR: Counted<std::alloc::System> = Counted(std::alloc::System);
///
/// let count = PeakCount::begin();
/// drop(vec![0u8; 1000]);
/// assert!(count.bytes().is_some_and(|bytes| bytes >= 1000.0));
/// ```
#[derive(Debug)]
pub struct Counted<A>(pub A);

fn count(bytes: usize, sign: isize) {
    if COUNTS.load(Relaxed) {
        let by = sign * bytes as isize;
        let live = LIVE.fetch_add(by, Relaxed) + by;
        PEAK.fetch_max(live, Relaxed);
    }
}

// SAFETY: every call goes to the inner allocator with the arguments that it came with.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as in `alloc`.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller got `at` from here, and so from the inner allocator.
        unsafe { self.0.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, 1);
        count(layout.size(), -1);
        // SAFETY: as in `dealloc`.
        unsafe { self.0.realloc(at, layout, size) }
    }
}

/// Counts the memory that the whole process takes beyond what it held when the count began; one count
/// goes on at a time.
#[derive(Debug)]
pub struct PeakCount {
    _one: MutexGuard<'static, ()>,
}

impl PeakCount {
    /// Begins to count; waits for another count to end.
    pub fn begin() -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        LIVE.store(0, Relaxed);
        PEAK.store(0, Relaxed);
        COUNTS.store(true, Relaxed);
        Self { _one: one }
    }

    /// The most bytes beyond those at the beginning; `None` where the process has no [`Counted`]
    /// allocator.
    pub fn bytes(&self) -> Option<f64> {
        let peak = PEAK.load(Relaxed);
        (peak > 0).then_some(peak as f64)
    }
}

impl Drop for PeakCount {
    fn drop(&mut self) {
        COUNTS.store(false, Relaxed);
    }
}
