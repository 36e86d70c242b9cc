//! What a server counts, as Prometheus reads it.

use std::collections::HashMap;

use sockeye::{Counter, Handle, Server, websocket};

use crate::common::{Carrier, Client, Socket, echo, handshake, start};
use crate::counters::counted;

/// The samples, by their names and labels.
fn samples(handle: &Handle) -> HashMap<String, u64> {
    let text = handle.prometheus();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
        .collect()
}

#[tokio::test]
async fn what_is_open_is_told_and_what_was_counted() {
    let server = start(Server::new().max_connections(77), websocket(echo)).await;
    let http1 = Socket::open(Carrier::Http1, server.addr).await;
    let client = Client::connect(server.addr).await;
    let mut first = Socket::on(&client, &handshake("/")).await.unwrap();
    let _second = Socket::on(&client, &handshake("/")).await.unwrap();
    let _arriving = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    while samples(&server.handle)["sockeye_arriving_connections"] < 1 {
        tokio::task::yield_now().await;
    }
    let now = samples(&server.handle);
    for (name, expected) in [
        ("sockeye_connections_total", 2),
        ("sockeye_web_sockets_total", 3),
        ("sockeye_web_sockets_closed_total", 0),
        ("sockeye_open_connections{version=\"1.1\"}", 1),
        ("sockeye_open_connections{version=\"2\"}", 1),
        ("sockeye_max_connections", 77),
        ("sockeye_open_web_sockets", 3),
        ("sockeye_reset_floods_total", 0),
    ] {
        assert_eq!(now[name], expected, "{name}");
    }
    for counter in Counter::ALL {
        assert_eq!(now[&format!("sockeye_{}_total", counter.name())], server.handle.counter(*counter));
        assert!(!counter.help().is_empty());
    }

    first.close(1000.into(), "").await;
    assert_eq!(first.close_code().await, 1000);
    first.end().await;
    http1.disconnect();
    counted(&server.handle, Counter::WebSocketsClosed, 2).await;
    while samples(&server.handle)["sockeye_open_connections{version=\"1.1\"}"] > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(samples(&server.handle)["sockeye_open_web_sockets"], 1);
}

/// A client has the same words for its connections, but no limit on them.
#[tokio::test]
async fn a_client_tells_too() {
    let server = start(Server::new(), websocket(echo)).await;
    let client = sockeye::Client::builder().http2_only().connect(&format!("ws://{}", server.addr)).await.unwrap();
    let socket = client.open("/").await.unwrap();
    let now = samples(&client.handle());
    assert_eq!((now["sockeye_open_connections{version=\"2\"}"], now["sockeye_open_web_sockets"]), (1, 1));
    assert!(!now.contains_key("sockeye_max_connections"));
    drop(socket);
}

/// The alerts of the documentation ask for nothing that is not told.
#[tokio::test]
async fn the_alerts_know_what_is_told() {
    let alerts = include_str!("../../../docs/alerts.yml");
    let told = Server::new().max_connections(1);
    drop(told.serve_connection(tokio::io::duplex(1).0, websocket(echo)));
    let told = told.handle().prometheus();
    let is_of_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let asked: Vec<_> =
        alerts.split(|letter| !is_of_name(letter)).filter(|word| word.starts_with("sockeye_")).collect();
    assert!(asked.len() > 20, "{asked:?}");
    for name in asked {
        assert!(told.contains(&format!("# TYPE {name} ")), "{name}");
    }
}

/// Each counter stands in the table of SECURITY.md, or counts no limit.
#[test]
fn every_limit_is_documented() {
    let table = include_str!("../../../SECURITY.md");
    let none: Vec<_> = Counter::ALL.iter().map(|counter| counter.name()).filter(|name| !table.contains(name)).collect();
    let no_limits = [
        "connections",
        "requests",
        "web_sockets",
        "web_sockets_closed",
        "tls_failures",
        "handshakes_refused",
        "web_socket_violations",
        "panics",
        "resets_received",
        "resets_for_faults",
        "settings_changes",
        "connection_errors",
        "unfinished_messages_given_up",
    ];
    assert!(none.iter().all(|name| no_limits.contains(name)), "{none:?}");
}
