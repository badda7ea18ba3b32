use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// So much memory a file of at most 64 KiB may have at a time.
const LIMIT: usize = 512 << 20;

static USED: AtomicUsize = AtomicUsize::new(0);

/// The system's memory; beyond [`LIMIT`] there is none. Whoever does not ask whether there was ends
/// the process, which is a finding.
struct Bounded;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

/// Whether there is so much more.
fn has(more: usize) -> bool {
    let used = USED.fetch_add(more, Relaxed).saturating_add(more);
    if used > LIMIT {
        USED.fetch_sub(more, Relaxed);
    }
    used <= LIMIT
}

// SAFETY: everything is passed on to the system as it came; only sizes are counted.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !has(layout.size()) {
            return null_mut();
        }
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if !has(layout.size()) {
            return null_mut();
        }
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !has(size) {
            return null_mut();
        }
        USED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
