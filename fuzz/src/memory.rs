//! Counts the memory that is in use, and ends the process where some bytes take more than any may.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one input may take at a time: what a decoder may, a block's content, and again as much.
const MAX: usize = 160 << 20;

struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

fn count(layout: Layout) {
    let before = IN_USE.fetch_add(layout.size(), Relaxed);
    if before.saturating_add(layout.size()) > LIMIT.load(Relaxed) {
        LIMIT.store(usize::MAX, Relaxed);
        eprintln!("more than {} MiB are in use, and {} bytes are asked for", MAX >> 20, layout.size());
        std::process::abort();
    }
}

// SAFETY: all is handed on to the system's allocator; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, bytes: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(bytes, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Calls `work`, with a limit on what it may have in use beyond what is already.
pub(crate) fn bounded(work: impl FnOnce()) {
    LIMIT.store(IN_USE.load(Relaxed).saturating_add(MAX), Relaxed);
    work();
    LIMIT.store(usize::MAX, Relaxed);
}
