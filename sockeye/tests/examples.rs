//! Each example runs as its head says, and prints what it promises.

#![cfg(all(feature = "http2", feature = "web-socket"))]

#[allow(unused_imports, reason = "other tests name more of it")]
mod common;

use std::path::PathBuf;
use std::process::Stdio;

use common::within;
use sockeye::{Client, ClientBuilder, WebSocket};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// An example that runs. It is killed when this is dropped.
struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(program(name))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    async fn line(&mut self) -> String {
        within(self.output.next_line()).await.unwrap().expect("the example ended")
    }

    /// What else it prints, to its end, which is a good one.
    async fn rest(mut self) -> Vec<String> {
        drop(self.input.take());
        let mut lines = Vec::new();
        while let Some(line) = within(self.output.next_line()).await.unwrap() {
            lines.push(line);
        }
        let status = within(self.child.wait()).await.unwrap();
        assert!(status.success(), "{status}: {lines:#?}");
        lines
    }
}

/// The program of an example, which cargo builds with the tests.
fn program(name: &str) -> PathBuf {
    check_head(name);
    let tests = std::env::current_exe().unwrap();
    let program =
        tests.ancestors().nth(2).unwrap().join("examples").join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(program.exists(), "cargo build -p sockeye --all-features --examples makes {}", program.display());
    program
}

/// The head of an example says how it is run, with the features that its manifest asks for beyond those that are on by default.
fn check_head(name: &str) {
    let source = std::fs::read_to_string(format!("examples/{name}.rs")).unwrap();
    let manifest = std::fs::read_to_string("Cargo.toml").unwrap();
    let (_, entry) = manifest.split_once(&format!("[[example]]\nname = \"{name}\"\n")).expect(name);
    let features = if entry.lines().next().unwrap().contains("\"axum\"") { "--features axum " } else { "" };
    let command = format!("//! cargo run {features}--example {name}");
    assert!(source.lines().any(|line| line.starts_with(&command)), "{name} does not say: {command}");
}

/// Runs an example that ends by itself.
async fn run(name: &str, arguments: &[&str]) -> Vec<String> {
    Running::start(name, arguments).rest().await
}

/// Starts an example that serves; with what it prints first, its URL.
async fn serve(name: &str) -> (Running, String) {
    let mut running = Running::start(name, &["127.0.0.1:0"]);
    let url = running.line().await;
    (running, url)
}

fn versions() -> [ClientBuilder; 2] {
    [Client::builder().http1_only(), Client::builder().http2_only()]
}

async fn text(socket: &mut WebSocket) -> String {
    let message = within(socket.recv()).await.unwrap().expect("the socket was closed");
    message.as_text().unwrap().to_owned()
}

#[tokio::test]
async fn echo() {
    let (_server, url) = serve("echo").await;
    for builder in versions() {
        let mut socket = within(builder.open(&url).into_future()).await.unwrap();
        socket.send("hello").await.unwrap();
        assert_eq!(text(&mut socket).await, "hello");
        within(socket.close()).await.unwrap();
    }
}

#[tokio::test]
async fn chat() {
    let (_server, url) = serve("chat").await;
    let [http1, http2] = versions();
    let mut first = within(http1.open(&url).into_future()).await.unwrap();
    let mut second = within(http2.open(&url).into_future()).await.unwrap();
    // Who has come in is known once a round trip is over.
    within(first.ping()).await.unwrap();
    within(second.ping()).await.unwrap();
    first.send("hello").await.unwrap();
    assert_eq!(text(&mut second).await, "hello");
    second.send("well met").await.unwrap();
    assert_eq!(text(&mut first).await, "well met", "nobody reads what they said themselves");
    let mut late = within(http2.open(&url).into_future()).await.unwrap();
    assert_eq!([text(&mut late).await, text(&mut late).await], ["hello", "well met"]);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_app() {
    let (mut server, url) = serve("axum_app").await;
    let address = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let guests = [(http::Version::HTTP_11, "ann", 0), (http::Version::HTTP_2, "ben", 1)];
    for (builder, (version, name, visitors)) in versions().into_iter().zip(guests) {
        let page = common::http::Http::connect(version, address).await.get("/").await;
        let page = String::from_utf8(page.content.to_vec()).unwrap();
        assert!(page.contains(&format!("Visitors so far: {visitors}<")), "{page}");
        let mut socket = within(builder.open(&format!("{url}room/{name}")).into_future()).await.unwrap();
        assert_eq!(text(&mut socket).await, format!("{name} came in"));
        socket.send("hello").await.unwrap();
        assert_eq!(text(&mut socket).await, format!("{name}: hello"));
        within(socket.close()).await.unwrap();
        assert_eq!(server.line().await, format!("{name} comes from 127.0.0.1"));
    }
}

#[tokio::test]
async fn reconnect() {
    let lines = run("reconnect", &[]).await;
    let events: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("event ")).collect();
    assert_eq!(events, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"], "each once, in order");
    let closed: Vec<_> = lines.iter().filter(|line| line.starts_with("closed with 1012, again from")).collect();
    assert_eq!(closed.len(), 2, "{lines:#?}");
}

#[tokio::test]
async fn token_stream() {
    let mut lines = run("token_stream", &[]).await;
    lines.sort();
    let expected = [
        "\"for ever and ever\" was stopped",
        "\"two words\" was answered",
        "stopped: for ever and ever for",
        "whole: two words",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn upload() {
    assert_eq!(run("upload", &[]).await, ["the server has 8388608 octets"]);
    let length = std::fs::metadata("Cargo.toml").unwrap().len();
    assert_eq!(run("upload", &["Cargo.toml"]).await, [format!("the server has {length} octets")]);
}

#[cfg(unix)]
#[tokio::test]
async fn unix() {
    let lines = run("unix", &[]).await;
    let [peer, answer] = &lines[..] else { panic!("{lines:?}") };
    assert!(peer.starts_with("user ") && peer.ends_with(" is here"), "{peer}");
    assert!(answer.starts_with("over /") && answer.ends_with(": HELLO"), "{answer}");
}

#[tokio::test]
async fn split() {
    let (_server, url) = serve("echo").await;
    let mut client = Running::start("split", &[&url]);
    for line in ["one", "two"] {
        let input = client.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        assert_eq!(client.line().await, line);
    }
    assert_eq!(client.rest().await, [""; 0]);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn tls() {
    assert_eq!(run("tls", &[]).await, ["over HTTP/2.0: nobody else can read this"]);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn grpc() {
    assert_eq!(run("grpc", &[]).await, ["gRPC: Serving", "WebSocket over HTTP/2.0: HELLO"]);
}
