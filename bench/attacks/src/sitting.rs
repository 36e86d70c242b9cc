//! All rows, one after the other; those that wait for a time limit beside one another.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use serde::Serialize;

use crate::attack::{Attack, Pace};
use crate::families::{ATTACKS, Family, HONEST};
use crate::hostile::{self, Hostile, Report};
use crate::measure::{Measured, measure};
use crate::options::Options;
use crate::server::Programs;
use crate::target::Whose;

/// Hostile servers at once: most of them wait.
const HOSTILE_AT_ONCE: usize = 6;
/// Rows that wait for a time limit, at once.
const PATIENT_AT_ONCE: usize = 40;

#[derive(Serialize)]
pub struct Row {
    pub family: &'static str,
    pub name: &'static str,
    pub why: &'static str,
    pub limit: &'static str,
    pub ours: Measured,
    pub axum: Option<Measured>,
}

#[derive(Serialize)]
pub struct HostileRow {
    pub name: &'static str,
    pub why: &'static str,
    pub within: f64,
    pub client: Report,
}

#[derive(Default, Serialize)]
pub struct Sitting {
    pub attacks: Vec<Row>,
    pub honest: Vec<Row>,
    pub hostile: Vec<HostileRow>,
    pub minutes: f64,
}

impl Sitting {
    pub fn run(programs: &Programs, victim: &Path, options: &Options) -> Self {
        let clock = Instant::now();
        let mut sitting = Self {
            attacks: run(ATTACKS, programs, options),
            honest: run(HONEST, programs, options),
            hostile: run_hostile(victim, options),
            minutes: 0.0,
        };
        sitting.minutes = clock.elapsed().as_secs_f64() / 60.0;
        sitting
    }

    /// Rows of which no time of ours says anything.
    pub fn disturbed(&self) -> usize {
        self.attacks.iter().chain(&self.honest).filter(|row| row.ours.is_disturbed).count()
    }

    /// Rows that keep the rules, and rows that break one.
    pub fn verdict(&self) -> (usize, usize) {
        let rows = self.attacks.iter().chain(&self.honest).map(|row| &row.ours.failures);
        let failed = |failures: &Vec<String>| !failures.is_empty();
        let all: Vec<bool> = rows.chain(self.hostile.iter().map(|row| &row.client.failures)).map(failed).collect();
        let count = all.iter().filter(|failed| **failed).count();
        (all.len() - count, count)
    }
}

/// The rows by name.
pub fn list(options: &Options) {
    for family in ATTACKS.iter().chain(HONEST) {
        for row in family.rows.iter().filter(|row| options.wants(family.name, row.name)) {
            println!("{}: {} ({}; {})", family.name, row.name, row.why, row.limit);
        }
    }
    for row in hostile::rows().filter(|row| options.wants("hostile", row.name)) {
        println!("hostile: {} ({})", row.name, row.why);
    }
}

fn run(families: &'static [Family], programs: &Programs, options: &Options) -> Vec<Row> {
    let rows: Vec<(&'static str, &'static Attack)> = families
        .iter()
        .flat_map(|family| family.rows.iter().map(|row| (family.name, row)))
        .filter(|(family, row)| options.wants(family, row.name))
        .filter(|(_, row)| !options.quick || row.setting.pace == Pace::Busy)
        .collect();
    let (busy, patient): (Vec<_>, Vec<_>) = rows.iter().partition(|(_, row)| row.setting.pace == Pace::Busy);
    let mut measured: Vec<Row> = busy.into_iter().map(|(family, row)| both(family, row, programs, options)).collect();
    measured.extend(at_once(PATIENT_AT_ONCE, &patient, |(family, row)| both(family, row, programs, options)));
    // As they stand in the table.
    measured.sort_by_key(|done| rows.iter().position(|(_, row)| row.name == done.name));
    measured
}

fn both(family: &'static str, attack: &'static Attack, programs: &Programs, options: &Options) -> Row {
    let wants_axum = programs.axum.is_some() && attack.setting.axum;
    let (ours, axum) = if attack.setting.pace == Pace::Patient {
        thread::scope(|scope| {
            let axum = wants_axum.then(|| scope.spawn(|| measure(attack, Whose::Axum, programs, options)));
            (measure(attack, Whose::Ours, programs, options), axum.and_then(|axum| axum.join().ok()))
        })
    } else {
        let ours = measure(attack, Whose::Ours, programs, options);
        (ours, wants_axum.then(|| measure(attack, Whose::Axum, programs, options)))
    };
    let verdict =
        if ours.failures.is_empty() { "pass".to_owned() } else { format!("FAIL {}", ours.failures.join("; ")) };
    let disturbed = if ours.is_disturbed { " (the host disturbed its times)" } else { "" };
    eprintln!("{family}: {}: {}: {verdict}{disturbed}", attack.name, ours.seen);
    Row { family, name: attack.name, why: attack.why, limit: attack.limit, ours, axum }
}

fn run_hostile(victim: &Path, options: &Options) -> Vec<HostileRow> {
    let rows: Vec<&'static Hostile> = hostile::rows().filter(|row| options.wants("hostile", row.name)).collect();
    let mut measured = at_once(HOSTILE_AT_ONCE, &rows, |row| {
        let client = hostile::measure(row, victim);
        let verdict =
            if client.failures.is_empty() { "pass".to_owned() } else { format!("FAIL {}", client.failures.join("; ")) };
        eprintln!("hostile: {}: {} after {:.1} s: {verdict}", row.name, client.outcome, client.seconds);
        HostileRow { name: row.name, why: row.why, within: row.within, client }
    });
    measured.sort_by_key(|done| rows.iter().position(|row| row.name == done.name));
    measured
}

/// Each of them, so many at a time; what comes of them stands in the order in which they end.
fn at_once<T: Sync, R: Send>(most: usize, items: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..most.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = act(item);
                    done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
