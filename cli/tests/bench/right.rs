//! Loads on `sockeye serve`, which does right: what they report adds up.

use std::net::TcpListener;

use serde_json::Value;

use super::common::Serving;
use super::{NOTHING_OPENED, OK, WRONG_ARGUMENTS, report, run};

/// A server, and the URL of its echo.
fn serving(tls: bool) -> (Serving, String) {
    let server = Serving::start(&[&["--listen", "127.0.0.1:0"][..], if tls { &[] } else { &["--cleartext"] }].concat());
    let url = if tls { server.url().replace("ws://", "wss://") } else { server.url() };
    (server, url)
}

/// Every socket is opened, messages are exchanged and none is wrong, and their latencies are in order.
fn is_right(url: &str, arguments: &str, connections: u64, sockets: u64) -> Value {
    let (status, report) = report(url, arguments);
    assert_eq!((status, &report["verdict"]), (OK, &"ok".into()), "{arguments}: {report}");
    assert_eq!(report["failures"], Value::Array(vec![]), "{arguments}: {report}");
    let (opening, load) = (&report["opening"], &report["load"]);
    assert_eq!(opening["connections"], connections, "{arguments}: {report}");
    assert_eq!(opening["sockets"], sockets, "{arguments}: {report}");
    let messages = load["messages"].as_u64().unwrap();
    assert!(messages > 0, "{arguments}: {report}");
    let latency = ["p50", "p90", "p99", "p99_9", "max"].map(|name| load["latency_us"][name].as_f64().unwrap());
    assert!(latency.is_sorted(), "{arguments}: {report}");
    let histogram = load["histogram"].as_array().unwrap().iter();
    let counted: u64 = histogram.map(|bucket| bucket["messages"].as_u64().unwrap()).sum();
    assert_eq!(counted, messages, "{arguments}: {report}");
    report
}

#[test]
fn sockets_and_connections_are_as_many_as_asked_for() {
    let (_server, url) = serving(false);
    for (arguments, connections, sockets) in [
        ("", 1, 1),
        ("-m 1000", 1, 1000),
        ("-c 10 -m 20", 10, 200),
        ("-c 5 -m 10 --threads 2", 5, 50),
        ("-m 3 --depth 64", 1, 3),
        ("-s echo", 1, 1),
        // Each socket is a connection of its own.
        ("--http1.1 -c 5 -m 4", 20, 20),
    ] {
        is_right(&url, arguments, connections, sockets);
    }
}

#[test]
fn messages_of_any_size_and_kind_come_back() {
    let (_server, url) = serving(false);
    is_right(&url, "-m 10 --text", 1, 10);
    is_right(&url, "-m 10 --size 0", 1, 10);
    // Beyond every window of HTTP/2.
    is_right(&url, "-m 3 --size 1Mi -d 1s", 1, 3);
    is_right(&url, "--http1.1 --size 200k --depth 8", 1, 1);
}

#[test]
fn sizes_are_drawn_by_weight() {
    let (_server, url) = serving(false);
    let report = is_right(&url, "-m 10 --size 100..300:9,5k", 1, 10);
    let load = &report["load"];
    let mean = load["octets_per_second"].as_f64().unwrap() / load["messages_per_second"].as_f64().unwrap();
    // 0.9 × 200 + 0.1 × 5000
    assert!(mean > 400.0 && mean < 1000.0, "{report}");
}

#[test]
fn a_load_goes_over_tls() {
    let (_server, url) = serving(true);
    is_right(&url, "-k -m 10", 1, 10);
    is_right(&url, "-k --http1.1 -c 5", 5, 5);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    let (_server, url) = serving(false);
    for (arguments, sockets, rate) in
        [("-c 2 -m 5 --rate 200 -d 1s", 10, 200.0), ("--http1.1 -c 2 --rate 100 -d 1s", 2, 100.0)]
    {
        let report = is_right(&url, arguments, 2, sockets);
        let load = &report["load"];
        let expected = rate * load["seconds"].as_f64().unwrap();
        let messages = load["messages"].as_f64().unwrap();
        // Fewer come back on a machine that is busy, and never more.
        assert!(messages > expected / 2.0 && messages < expected * 1.1 + 1.0, "{report}");
        let median = |name: &str| load[name]["p50"].as_f64().unwrap();
        assert!(median("latency_us") >= median("lateness_us"), "lateness is a part of latency: {report}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn idle_sockets_are_held_and_weighed() {
    let (server, url) = serving(false);
    let (status, report) = report(&url, &format!("-c 2 -m 500 --idle --pid {}", server.pid()));
    let (idle, memory) = (&report["idle"], &report["memory"]);
    assert_eq!((status, &report["load"]), (OK, &Value::Null), "{report}");
    assert_eq!((&idle["answered"], &idle["answered_after"]), (&1000.into(), &1000.into()), "{report}");
    assert!(memory["after"].as_u64().unwrap() >= memory["before"].as_u64().unwrap(), "{report}");
    assert!(memory["per_socket"].as_f64().unwrap() >= 1.0, "{report}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_servers_processor_time_is_measured() {
    let (server, url) = serving(false);
    let report = is_right(&url, &format!("-m 10 --pid {}", server.pid()), 1, 10);
    for name in ["server_us_per_message", "server_cores", "own_us_per_message", "own_cores"] {
        assert!(report["cpu"][name].as_f64().unwrap() >= 0.001, "{name}: {report}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn the_report_is_for_people() {
    let (server, url) = serving(false);
    let (status, text, errors) = run(&url, &format!("-m 10 --pid {}", server.pid()));
    assert_eq!((status, &*errors), (OK, ""), "{text}");
    for part in
        ["HTTP/2, 1 connection × 10 sockets", "messages/s", "server: ", "p99.9 ", "█", "every message came back"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert!(!text.contains('\x1b'), "colours in a pipe: {text}");
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, status, part) in [
        ("--pid 4294967295", 1, "no process"),
        ("-c 4000000000", 1, "ulimit"),
        ("--size big", WRONG_ARGUMENTS, "16k"),
        ("--rate fast", WRONG_ARGUMENTS, "20k"),
    ] {
        let (actual, text, errors) = run("ws://127.0.0.1:1/", arguments);
        assert_eq!((actual, &*text), (status, ""), "{arguments}: {errors}");
        assert!(errors.contains(part), "{arguments}: {errors}");
    }
}

#[test]
fn nothing_opens_where_nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (status, report) = report(&format!("ws://{address}/"), "-c 3 -m 2");
    assert_eq!((status, &report["verdict"]), (NOTHING_OPENED, &"nothing_opened".into()), "{report}");
    let [failure] = &report["failures"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&failure["kind"], &failure["sockets"]), (&"connect".into(), &6.into()), "{report}");
}
