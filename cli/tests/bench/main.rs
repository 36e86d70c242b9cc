//! `sockeye bench` against `sockeye serve`, and against servers that each do one thing wrong: a load that cannot fail measures
//! nothing.

mod broadcast;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod right;
mod words;

use serde_json::Value;
use sockeye::{Result, Server, WebSocket, websocket};
use tokio::net::TcpListener;

/// The exit statuses of `sockeye bench --help`.
const OK: i32 = 0;
const NOTHING_OPENED: i32 = 1;
const WRONG_ARGUMENTS: i32 = 2;
const FAILURES: i32 = 3;
const WRONG: i32 = 4;

/// The URL of a server that gives its sockets to a handler.
async fn serve<F, T>(handler: F) -> String
where
    F: Fn(WebSocket) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(Server::new().serve(listener, websocket(handler)));
    url
}

async fn echo(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

/// The exit status of a run, stdout and stderr.
fn run(url: &str, arguments: &str) -> (i32, String, String) {
    // Enough to be measured, and no more; the last of a repeated option counts.
    let mut command = common::program(&["bench", url, "-d", "300ms", "--warm-up", "0"]);
    command.args(arguments.split_ascii_whitespace());
    let output = common::run(command, "");
    let (text, errors) = (common::stdout(&output), common::stderr(&output));
    assert!(!errors.contains("panicked"), "{errors}");
    (output.status.code().unwrap(), text.to_owned(), errors.to_owned())
}

/// The exit status of a run, and its report.
fn report(url: &str, arguments: &str) -> (i32, Value) {
    let (status, text, errors) = run(url, &format!("{arguments} --json"));
    assert!(errors.lines().all(|line| line.starts_with("warning: ")), "{errors}");
    (status, serde_json::from_str(&text).unwrap())
}

/// [`run`], while servers of the test's own go on.
async fn printed(url: &str, arguments: &str) -> (i32, String, String) {
    let (url, arguments) = (url.to_owned(), arguments.to_owned());
    tokio::task::spawn_blocking(move || run(&url, &arguments)).await.unwrap()
}

/// [`report`], while servers of the test's own go on.
async fn bench(url: &str, arguments: &str) -> (i32, Value) {
    let (url, arguments) = (url.to_owned(), arguments.to_owned());
    tokio::task::spawn_blocking(move || report(&url, &arguments)).await.unwrap()
}
