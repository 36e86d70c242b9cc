//! Topics of `sockeye serve --hub`: who hears whom, who is there, and what no topic is.

mod common;

use std::time::{Duration, Instant};

use common::{Listening, Serving, fetch, get, nowhere, program, stderr};
use sockeye::socket::CloseCode;
use sockeye::{Client, WebSocket};

fn serving() -> Serving {
    Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--hub", "local"])
}

async fn open(serving: &Serving, path: &str) -> WebSocket {
    Client::builder().open(&format!("ws://{}{path}", serving.address())).await.unwrap()
}

async fn heard(socket: &mut WebSocket) -> String {
    let message = tokio::time::timeout(Duration::from_secs(20), socket.recv()).await.expect("a message").unwrap();
    message.expect("no end").as_text().unwrap().to_owned()
}

/// The next but how many are there, which may be told at any time.
async fn message(socket: &mut WebSocket) -> String {
    loop {
        let text = heard(socket).await;
        if !text.starts_with("{\"members\":") {
            return text;
        }
    }
}

/// Whether so many sockets are told soon.
fn has_members(serving: &Serving, topic: &str, members: usize) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if get(serving.address(), &format!("/topics/{topic}")).1.contains(&format!("\"members\":{members}")) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_are_there_hear_what_one_says() {
    let serving = serving();
    let mut sockets = [open(&serving, "/topics/lobby").await, open(&serving, "/topics/lobby").await];
    let mut elsewhere = open(&serving, "/topics/a%20b").await;
    assert!(has_members(&serving, "lobby", 2));
    assert!(has_members(&serving, "a%20b", 1));
    sockets[0].send("hello").await.unwrap();
    for socket in &mut sockets {
        assert_eq!(heard(socket).await, "hello");
    }
    elsewhere.send("alone").await.unwrap();
    assert_eq!(heard(&mut elsewhere).await, "alone");
    let stats: serde_json::Value = serde_json::from_str(&get(serving.address(), "/stats").1).unwrap();
    assert_eq!(stats["hub"]["sent"], 2, "{stats}");
    drop(sockets);
    assert!(has_members(&serving, "lobby", 0));
    let (head, told) = get(serving.address(), "/topics/a%20b");
    assert!(head.contains("application/json"), "{head}");
    assert_eq!(told.trim_end(), r#"{"topic":"a b","members":1}"#);
}

/// A socket of the subprotocol is told what it gets first, the number of each message, and how many are there; when it comes back it gets
/// what it missed. One without hears messages as they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_follows_comes_back_where_it_was() {
    let serving = serving();
    let follow = async |query: &str| {
        let url = format!("ws://{}/topics/lobby{query}", serving.address());
        let mut socket = Client::builder().open(&url).protocols(["sockeye-topic.1"]).await.unwrap();
        assert_eq!(socket.protocol(), Some("sockeye-topic.1"));
        let (mut first, mut told) = (Vec::new(), message(&mut socket).await);
        while !told.starts_with("{\"joined\":") {
            first.push(std::mem::replace(&mut told, message(&mut socket).await));
        }
        (socket, first, told)
    };
    let mut plain = open(&serving, "/topics/lobby").await;
    let (mut socket, first, told) = follow("").await;
    assert!(first.is_empty() && told.contains("\"missed\":0,\"replayed\":0"), "{told}");
    plain.send("one").await.unwrap();
    assert_eq!(heard(&mut plain).await, "one");
    let message = message(&mut socket).await;
    let (source, rest) = message.strip_prefix('@').unwrap().split_once(':').unwrap();
    assert_eq!(rest, "0\none");
    drop(socket);
    plain.send("two").await.unwrap();
    assert_eq!(heard(&mut plain).await, "two");
    let (_, first, told) = follow(&format!("?seen={source}:1")).await;
    assert_eq!(first, [format!("@{source}:1\ntwo")]);
    assert!(told.contains(&format!("\"missed\":0,\"replayed\":1,\"seen\":\"{source}:2\"")), "{told}");
    let (_, first, told) = follow("?last=9").await;
    assert_eq!((first.len(), told.contains("\"replayed\":2")), (2, true), "{told}");
    let (head, why) = get(serving.address(), "/topics/lobby?seen=x");
    assert!(head.starts_with("HTTP/1.1 200 "), "it is a question of sockets: {why}");
    let refused = Client::builder().open(&format!("ws://{}/topics/lobby?seen=x", serving.address())).await;
    assert!(refused.unwrap_err().to_string().contains("400"));
}

#[test]
fn the_chat_and_its_client_are_there() {
    let serving = serving();
    let (head, page) = get(serving.address(), "/topics");
    assert!(head.contains("text/html; charset=utf-8") && page.contains("from \"/topics.js\""), "{head}");
    let (head, client) = get(serving.address(), "/topics.js");
    assert!(head.contains("text/javascript; charset=utf-8") && client.contains("export class Topic"), "{head}");
}

/// Names that no topic has are refused before there is a socket.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_is_not_found() {
    let serving = serving();
    for name in ["", "a%0Ab", "%FF", &"x".repeat(256)] {
        let path = format!("/topics/{name}");
        let (head, why) = get(serving.address(), &path);
        assert!(head.starts_with("HTTP/1.1 404 ") && why.contains("no topic is called so"), "{name}: {head} {why}");
        let refused = Client::builder().open(&format!("ws://{}{path}", serving.address())).await;
        assert!(refused.unwrap_err().to_string().contains("404"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hub_there_are_no_topics() {
    let serving = Serving::cleartext();
    assert!(get(serving.address(), "/topics/lobby").0.starts_with("HTTP/1.1 404 "));
    assert!(get(serving.address(), "/topics").0.starts_with("HTTP/1.1 404 "));
    assert!(get(serving.address(), "/topics.js").0.starts_with("HTTP/1.1 404 "));
    assert!(Client::builder().open(&format!("ws://{}/topics/lobby", serving.address())).await.is_err());
}

/// While there is no NATS server a socket is told to come again; nothing waits for it without an end.
#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_not_reached_closes_sockets() {
    let (url, _reserved) = nowhere();
    let hub = url.replace("http://", "nats://");
    let serving = Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--hub", &hub]);
    let mut socket = open(&serving, "/topics/lobby").await;
    assert!(tokio::time::timeout(Duration::from_secs(20), socket.recv()).await.expect("an end").unwrap().is_none());
    assert_eq!(socket.close_frame().unwrap().code, CloseCode::TRY_AGAIN_LATER);
}

#[test]
fn what_is_no_hub_is_a_mistake() {
    for (arguments, says) in [
        (&["--hub", "redis://127.0.0.1"][..], "nats://127.0.0.1:4222"),
        (&["--hub", "nats://127.0.0.1:4222", "--hub-prefix", "a.*"], "dots between"),
        (&["--hub-prefix", "shop"], "--hub"),
        (&["--history", "5"], "--hub"),
        (&["--hub", "local", "--jetstream"], "--hub nats://HOST:PORT"),
        (&["--hub", "nats://127.0.0.1:4222", "--hub-credentials", "/nowhere/at.all"], "/nowhere/at.all"),
        (&["--hub", "nats://127.0.0.1:4222", "--hub-credentials", "/dev/null"], "USER:PASSWORD"),
    ] {
        let output = program(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(says), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn what_the_hub_counts_is_among_the_metrics() {
    let mut serving = Listening::start("serve", &["--hub", "local", "--metrics", "127.0.0.1:0"]);
    serving.address("listening on ");
    let metrics = serving.address("metrics at ");
    let text = fetch(&metrics, "/metrics").unwrap();
    assert!(text.contains("\nsockeye_hub_sent_total 0\n") && text.contains("\nsockeye_requests_total "), "{text}");
}
