//! `sockeye serve` as an operator sees it: what it takes, and what it tells.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The program, until it is dropped.
struct Serving {
    process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_sockeye"))
            .args(["serve", "--cleartext", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout }
    }

    /// The address in its next line, which says this.
    fn address(&mut self, says: &str) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with(says), "{line}");
        let (_, rest) = line.trim_end().split_once("http://").unwrap();
        rest.split('/').next().unwrap().to_owned()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// An error where it was refused before the system told of it.
fn connect(address: &str) -> std::io::Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(connection)
}

/// A response, whole; an error where the connection was refused.
fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut connection = connect(address)?;
    write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    Ok(response)
}

#[test]
fn metrics_have_a_listener_of_their_own() {
    let mut serving = Serving::start(&["--metrics", "127.0.0.1:0", "--max-connections", "1000"]);
    let site = serving.address("listening on ");
    let metrics = serving.address("metrics at ");
    assert!(get(&site, "/").unwrap().starts_with("HTTP/1.1 200 "));
    assert!(get(&site, "/metrics").unwrap().starts_with("HTTP/1.1 404 "), "the public sees nothing of it");

    let response = get(&metrics, "/metrics").unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let (head, text) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    for line in ["# TYPE sockeye_requests_total counter", "sockeye_requests_total 2", "sockeye_max_connections 1000"] {
        assert!(text.lines().any(|told| told == line), "{line} is not in {text}");
    }
    assert!(get(&metrics, "/").unwrap().starts_with("HTTP/1.1 404 "));
}

#[test]
fn connections_past_the_limit_are_refused() {
    let mut serving = Serving::start(&["--max-connections", "3", "--keep-places", "0", "--metrics", "127.0.0.1:0"]);
    let site = serving.address("listening on ");
    let metrics = serving.address("metrics at ");
    let held = [connect(&site).unwrap(), connect(&site).unwrap(), connect(&site).unwrap()];
    assert!(get(&site, "/").is_err());
    // Who looks after it is not the public.
    assert!(get(&metrics, "/metrics").unwrap().contains("\nsockeye_connections_refused_total 1\n"));
    drop(held);
    let served = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        get(&site, "/").is_ok()
    });
    assert!(served, "there is room again");
}

/// By default a few places are kept for whoever looks after the server on its own machine.
#[test]
fn a_full_server_answers_its_health_check() {
    let mut serving = Serving::start(&["--max-connections", "64"]);
    let site = serving.address("listening on ");
    let _held: Vec<_> = (0..200).filter_map(|_| connect(&site).ok()).collect();
    for _ in 0..10 {
        assert!(get(&site, "/").unwrap().starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn a_wrong_network_is_a_mistake() {
    let done =
        Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["serve", "--keep-for", "10.0.0.0/33"]).output().unwrap();
    assert!(!done.status.success() && done.stdout.is_empty());
    assert!(String::from_utf8_lossy(&done.stderr).contains("10.0.0.0/8"));
}
