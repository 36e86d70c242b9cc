//! `/stats` of `sockeye serve`: to whom it tells what.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A server that ends with the test.
struct Serve(Child, String);

impl Serve {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
        command.args(["serve", "--cleartext", "--listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().rsplit('/').next().unwrap().to_owned();
        Self(child, addr)
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.1).unwrap()
    }

    /// The status of /stats, and what it tells.
    fn stats(&self, mut connection: &TcpStream) -> (u16, serde_json::Value) {
        connection.write_all(b"GET /stats HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        let (head, content) = response.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), serde_json::from_str(content).unwrap_or_default())
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Makes a connection known to the server, by an answer to a request.
fn ask(mut connection: &TcpStream) {
    connection.write_all(b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    connection.read_exact(&mut [0; 12]).unwrap();
}

/// By default everybody sees the counters and the totals, and of the connections their own.
#[test]
fn nobody_sees_the_connections_of_others() {
    let server = Serve::start(&[]);
    let (other, own) = (server.connect(), server.connect());
    ask(&other);
    let (status, stats) = server.stats(&own);
    assert_eq!((status, &stats["connections_open"], &stats["sockets"]), (200, &2.into(), &0.into()), "{stats}");
    assert!(stats["counters"]["requests"].as_u64().unwrap() >= 2, "{stats}");
    let connections = stats["connections"].as_array().unwrap();
    assert_eq!(connections.len(), 1, "{stats}");
    assert_eq!(connections[0]["peer"], own.local_addr().unwrap().to_string());
    assert_eq!((&connections[0]["you"], &connections[0]["requests"]), (&true.into(), &1.into()));
    assert!(!stats.to_string().contains(&other.local_addr().unwrap().to_string()), "{stats}");
}

#[test]
fn all_are_shown_where_the_server_is_told_to() {
    let server = Serve::start(&["--stats", "all"]);
    let (other, own, third) = (server.connect(), server.connect(), server.connect());
    ask(&other);
    ask(&third);
    let (_, stats) = server.stats(&own);
    let told =
        |connection: &serde_json::Value| (connection["peer"].as_str().unwrap().to_owned(), connection["you"].clone());
    let mut told: Vec<_> = stats["connections"].as_array().unwrap().iter().map(told).collect();
    told.sort_by_key(|(peer, _)| peer.clone());
    let mut expected = [(&other, false), (&own, true), (&third, false)]
        .map(|(connection, you)| (connection.local_addr().unwrap().to_string(), serde_json::Value::from(you)));
    expected.sort_by_key(|(peer, _)| peer.clone());
    assert_eq!(told, expected);
}

#[test]
fn nothing_is_shown_where_the_server_is_told_so() {
    let server = Serve::start(&["--stats", "off"]);
    assert_eq!(server.stats(&server.connect()).0, 404);
}
