//! What a program has of the heap, by an allocator that counts. Each test that counts is a program of its own.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Octets that were given out and are not back.
pub(crate) fn live() -> usize {
    let stats = ALLOCATOR.stats();
    // Another thread may give some back between the two readings.
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
