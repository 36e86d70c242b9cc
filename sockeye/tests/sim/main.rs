//! A simulation of the tokio layer: servers, clients, handlers and halves that do whatever comes to their mind, over transports
//! that behave as badly as a network may, in virtual time. A seed says all, so that a failure can be replayed:
//!
//! ```sh
//! SOCKEYE_SIM_SEEDS=17 cargo test --profile simulation -p sockeye --test sim -- --nocapture
//! ```

#![cfg(all(feature = "http2", feature = "web-socket", feature = "deflate"))]

mod actor;
mod caller;
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
use crate::trace::{Telling, Told};

/// Seeds of a plain `cargo test`.
const FEW: u64 = 100;
/// Seeds that fail, after which no more are tried.
const ENOUGH: u64 = 20;

thread_local! {
    /// The panics that nobody meant, in the run that is under way on this thread.
    static PANIC: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
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

/// Writes down the panics of a run that nobody meant, and prints none of it.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANIC.with_borrow_mut(|panics| match panics {
                Some(_) if info.payload().is::<Deliberate>() => {}
                Some(panics) => panics.push(info.to_string()),
                None => print(info),
            });
        }));
    });
}

/// Runs a seed on a thread of its own: the buffers that the library keeps for each thread then are as in any other run.
fn run(seed: u64, telling: Telling) -> Told {
    watch_panics();
    let running = std::thread::spawn(move || run_here(seed, telling));
    running.join().unwrap_or_default()
}

/// Runs a seed; no panic of it is missed, in whatever task it was.
fn run_here(seed: u64, telling: Telling) -> Told {
    PANIC.set(Some(Vec::new()));
    let told = panic::catch_unwind(|| run::run(seed, telling));
    let panics = PANIC.take().unwrap_or_default();
    let mut told = told.unwrap_or_default();
    if let Some(panic) = panics.into_iter().next() {
        told.failure = Some(panic);
    }
    told
}

/// Every seed comes to its end by the rules of `oracle.rs`.
#[test]
fn whatever_happens_every_life_ends_by_the_rules() {
    let seeds = seeds();
    let telling = if seeds.end - seeds.start == 1 { Telling::Printed } else { Telling::Nothing };
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let start = Instant::now();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end || failed.load(Ordering::Relaxed) >= ENOUGH {
                return;
            }
            let told = run(seed, telling);
            if let Some(why) = told.failure {
                failed.fetch_add(1, Ordering::Relaxed);
                eprintln!(
                    "seed {seed}: {why}\n  SOCKEYE_SIM_SEEDS={seed} cargo test --profile simulation -p sockeye --test sim rules -- --nocapture"
                );
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
        let [first, second] = [run(seed, Telling::Nothing), run(seed, Telling::Nothing)];
        if (first.hash, first.notes) != (second.hash, second.notes) {
            let [first, second] = [run(seed, Telling::Kept), run(seed, Telling::Kept)];
            let differing = first.lines.iter().zip(&second.lines).position(|(one, other)| one != other);
            let at = differing.unwrap_or(first.lines.len().min(second.lines.len()));
            let near = |told: &Told| told.lines[at.saturating_sub(5)..(at + 3).min(told.lines.len())].join("\n");
            panic!("seed {seed} does this:\n{}\nor this:\n{}", near(&first), near(&second));
        }
    }
}
