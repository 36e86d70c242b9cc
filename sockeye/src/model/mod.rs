//! A model of what crosses tasks: each test here is a rule, and runs the crate's own code in every schedule that there is.
//!
//! `just model` builds the crate with the locks, atomics and thread-locals of [`loom`], which runs a test again and again
//! until each order of them was tried that makes a difference, and each older value that a relaxed load may still see. What
//! is run is the [driver](crate::engine::driver) with a transport in memory, over the cell, the connection's ready list and the port.
//!
//! Schedules in which threads are interrupted more often than `PREEMPTIONS` times are left out, as they would be too many, and
//! few faults need as much. `LOOM_MAX_PREEMPTIONS` sets another limit for all of them.
//!
//! All threads of a model are one of the system's. So no lock of the standard library may be held where they can change, which
//! is why what is shared is made of [`crate::engine::sync`]; nor may they change while a panic unwinds. The order in which
//! references to a cell are dropped is not varied by itself: the checker knows nothing of the standard library's `Arc`.

mod ends;
mod groups;
mod halves;
mod order;
mod rig;
mod visits;
mod wakes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often the threads of one run are interrupted at most, besides where they wait.
const PREEMPTIONS: usize = 2;
/// Steps of one run, at most: one that takes more goes round in circles.
const STEPS: usize = 2_000;

/// Runs `run` in every schedule. A deadlock is a failure, as any panic is: of threads that wait for each other, or for a wake-up
/// that was lost.
fn check(run: impl Fn() + Send + Sync + 'static) {
    check_to(PREEMPTIONS, run);
}

/// [`check`] with other bounds, for what has few schedules or very many.
fn check_to(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound.get_or_insert(preemptions);
    model.max_branches = model.max_branches.max(STEPS);
    // The clock stands still: every run of a schedule goes the same way.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        run();
    });
    println!("{} schedules", runs.load(Ordering::Relaxed));
}
