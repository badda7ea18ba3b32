use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// So much memory a file of at most 64 KiB may have at a time.
const LIMIT: usize = 512 << 20;

static USED: AtomicUsize = AtomicUsize::new(0);

/// The system's memory; more than [`LIMIT`] ends the process, as a finding.
struct Bounded;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

fn count(more: usize) {
    let used = USED.fetch_add(more, Relaxed).saturating_add(more);
    if used > LIMIT {
        USED.fetch_sub(more, Relaxed);
        eprintln!("asked for {more} bytes, {used} in all");
        std::process::abort();
    }
}

// SAFETY: everything is passed on to the system as it came; only sizes are counted.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
