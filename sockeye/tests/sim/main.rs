//! A simulation of the tokio layer: servers, clients, handlers and halves that do whatever comes to their mind, over transports
//! that behave as badly as a network may, in virtual time. A seed says all, so that a failure can be replayed:
//!
//! ```sh
//! SOCKEYE_SIM_SEEDS=17 cargo test --profile simulation -p sockeye --test sim -- --nocapture
//! ```

#![cfg(all(feature = "http2", feature = "web-socket", feature = "deflate"))]

mod actor;
mod content;
mod executor;
mod groups;
mod halves;
mod low_level;
mod oracle;
mod program;
mod random;
mod run;
mod scheduler;
mod site;
mod stranger;
mod trace;
mod transport;
mod wire;
mod world;

use std::cell::RefCell;
use std::ops::Range;
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::actor::Deliberate;
use crate::trace::Told;

/// Seeds of a plain `cargo test`.
const FEW: u64 = 300;

thread_local! {
    /// The first panic of this thread that nobody meant, in the run that is under way.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Which seeds to run: `SOCKEYE_SIM_SEEDS` says `17` or `0..10000`.
fn seeds() -> Range<u64> {
    let Ok(chosen) = std::env::var("SOCKEYE_SIM_SEEDS") else { return 0..FEW };
    let number = |text: &str| text.trim().parse::<u64>().expect("SOCKEYE_SIM_SEEDS: a number or a range of them");
    match chosen.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&chosen)..number(&chosen) + 1,
    }
}

/// Writes panics down that nobody meant, and does not print the others.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| {
            if !info.payload().is::<Deliberate>() {
                PANIC.with_borrow_mut(|panic| {
                    panic.get_or_insert(info.to_string());
                });
            }
        }));
    });
}

/// Runs a seed; no panic of it is missed, in whatever task it was.
fn run(seed: u64, is_told: bool) -> Told {
    watch_panics();
    PANIC.take();
    let mut told = panic::catch_unwind(|| run::run(seed, is_told)).unwrap_or_else(|_| Told {
        hash: 0,
        notes: 0,
        failure: Some("the run panicked".to_owned()),
    });
    if let Some(panic) = PANIC.take() {
        told.failure = Some(panic);
    }
    told
}

/// Every seed comes to its end by the rules of `oracle.rs`.
#[test]
fn whatever_happens_every_life_ends_by_the_rules() {
    let seeds = seeds();
    let is_told = seeds.end - seeds.start == 1;
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let start = Instant::now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.load(Ordering::Relaxed) >= 10 {
                return;
            }
            let told = run(seed, is_told);
            if let Some(why) = told.failure {
                failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("seed {seed}: {why}\n  SOCKEYE_SIM_SEEDS={seed} cargo test --profile simulation -p sockeye --test sim rules -- --nocapture");
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    eprintln!("{} seeds in {:.1} s", seeds.end - seeds.start, start.elapsed().as_secs_f64());
    let failed = failed.into_inner();
    assert!(failed == 0, "{failed} seeds failed: see above");
}

/// A seed says all: what it does the second time is what it did the first time.
#[test]
fn the_same_seed_does_the_same_again() {
    let seeds = seeds();
    for seed in seeds.clone().step_by(((seeds.end - seeds.start) / 50).max(1) as usize) {
        let [first, second] = [run(seed, false), run(seed, false)];
        assert_eq!((first.hash, first.notes), (second.hash, second.notes), "seed {seed}");
    }
}
