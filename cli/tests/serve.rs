//! `sockeye serve` as an operator sees it: what it takes, and what it tells.

mod common;

use std::process::Command;
use std::time::Duration;

use common::{Listening, connect, fetch};

#[test]
fn metrics_have_a_listener_of_their_own() {
    let mut serving = Listening::start("serve", &["--metrics", "127.0.0.1:0", "--max-connections", "1000"]);
    let site = serving.address("listening on ");
    let metrics = serving.address("metrics at ");
    assert!(fetch(&site, "/").unwrap().starts_with("HTTP/1.1 200 "));
    assert!(fetch(&site, "/metrics").unwrap().starts_with("HTTP/1.1 404 "), "the public sees nothing of it");

    let response = fetch(&metrics, "/metrics").unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let (head, text) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    for line in ["# TYPE sockeye_requests_total counter", "sockeye_requests_total 2", "sockeye_max_connections 1000"] {
        assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
    }
    assert!(fetch(&metrics, "/").unwrap().starts_with("HTTP/1.1 404 "));
}

#[test]
fn connections_past_the_limit_are_refused() {
    let mut serving =
        Listening::start("serve", &["--max-connections", "3", "--keep-places", "0", "--metrics", "127.0.0.1:0"]);
    let site = serving.address("listening on ");
    let metrics = serving.address("metrics at ");
    let held = [connect(&site).unwrap(), connect(&site).unwrap(), connect(&site).unwrap()];
    assert!(fetch(&site, "/").is_err());
    // Who looks after it is not the public.
    assert!(fetch(&metrics, "/metrics").unwrap().contains("\nsockeye_connections_refused_total 1\n"));
    drop(held);
    let served = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        fetch(&site, "/").is_ok()
    });
    assert!(served, "there is room again");
}

/// By default a few places are kept for whoever looks after the server on its own machine.
#[test]
fn a_full_server_answers_its_health_check() {
    let mut serving = Listening::start("serve", &["--max-connections", "64"]);
    let site = serving.address("listening on ");
    let _held: Vec<_> = (0..200).filter_map(|_| connect(&site).ok()).collect();
    for _ in 0..10 {
        assert!(fetch(&site, "/").unwrap().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_wrong_network_is_a_mistake() {
    let done =
        Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["serve", "--keep-for", "10.0.0.0/33"]).output().unwrap();
    assert!(!done.status.success() && done.stdout.is_empty());
    assert!(String::from_utf8_lossy(&done.stderr).contains("10.0.0.0/8"));
}
