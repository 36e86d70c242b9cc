//! What tests of the program share: a server, a way to run a command, a folder, and small proxies.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod proxies;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The program, with none of the proxies that the environment may name.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    for name in ["ws", "wss", "http", "https", "all", "no"] {
        command.env_remove(format!("{name}_proxy")).env_remove(format!("{}_PROXY", name.to_uppercase()));
    }
    command.env_remove("SSLKEYLOGFILE").env_remove("RUST_LOG").args(arguments);
    command
}

/// Runs a command with this input, to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Output {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without a look at its input.
    process.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    process.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// `sockeye serve`, until it is dropped.
pub(crate) struct Serving {
    process: Child,
    /// What it says on stdout, up to the link to its page.
    pub(crate) said: Vec<String>,
    stdout: BufReader<ChildStdout>,
}

impl Serving {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = program(&["serve"]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut said = Vec::new();
        while said.last().is_none_or(|line: &String| !line.contains("?start")) {
            let mut line = String::new();
            assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended after {said:?}");
            said.push(line.trim_end().to_owned());
        }
        Self { process, said, stdout }
    }

    pub(crate) fn cleartext() -> Self {
        Self::start(&["--cleartext", "--listen", "127.0.0.1:0"])
    }

    /// Where it listens.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let lines = self.said.iter().filter_map(|line| line.strip_prefix("listening on "));
        lines.map(|url| url.split_once("://").unwrap().1.parse().unwrap()).collect()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses()[0]
    }

    /// The URL of its echo.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/echo", self.address())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// A response to a GET over HTTP/1.1: its head and its content.
pub(crate) fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    let (head, content) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), content.to_owned())
}

/// A folder, until it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("sockeye-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, and gives its path as an argument.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}
