//! `sockeye probe` against servers that each do one thing otherwise: it tells what a page would notice, and nothing else.

#[path = "../common/mod.rs"]
mod common;
mod ours;
mod verdicts;
mod words;

use std::process::{Command, Output};

use serde_json::Value;

use self::common::peer::Peer;

/// The exit statuses of `sockeye probe --help`.
const WORKS: i32 = 0;
const UNREACHABLE: i32 = 1;
const WRONG_ARGUMENTS: i32 = 2;
const HTTP_1_ALONE: i32 = 3;
const FAULTY: i32 = 4;
const WORKS_NOT: i32 = 5;

fn run(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_sockeye")).arg("probe").args(arguments).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
    output
}

/// The exit status, and the report.
fn found(peer: Peer, arguments: &[&str]) -> (i32, Value) {
    let url = peer.listen();
    let output = run(&[&[&*url, "--json", "--timeout", "1.5"], arguments].concat());
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

/// The exit status, and what is printed for people.
fn printed(peer: Peer, arguments: &[&str]) -> (i32, String) {
    let url = peer.listen();
    let output = run(&[&[&*url, "--timeout", "1.5"], arguments].concat());
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// Holds a probe of this server to a verdict: its kind, the exit status, and parts of all that it says.
#[track_caller]
fn verdict(peer: Peer, kind: &str, status: i32, parts: &[&str]) {
    let (actual, report) = found(peer, &[]);
    let verdict = &report["verdict"];
    assert_eq!((verdict["kind"].as_str().unwrap(), actual), (kind, status), "{verdict:#}");
    let said = format!("{} {} {}", verdict["text"], verdict["notes"], verdict["next_step"]);
    for part in parts {
        assert!(said.contains(part), "no {part:?} in {verdict:#}");
    }
    // Whoever is told of a fault is told what to do.
    assert!(verdict["next_step"].is_string() || matches!(kind, "works" | "unreachable"), "{verdict:#}");
}
