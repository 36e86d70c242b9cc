//! What tests of the program share: a server, a way to run a command, a folder, and small proxies.

#![allow(dead_code, reason = "each test uses a part of it")]

pub(crate) mod peer;
pub(crate) mod proxies;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// What the program heeds of its environment, which is not to change a test.
pub(crate) fn variables() -> impl Iterator<Item = String> {
    let schemes = ["ws", "wss", "http", "https", "all", "no"];
    let proxies =
        schemes.into_iter().flat_map(|name| [format!("{name}_proxy"), format!("{}_PROXY", name.to_uppercase())]);
    proxies.chain(["SSLKEYLOGFILE", "RUST_LOG"].map(str::to_owned))
}

/// A place where nothing listens, by its URL. It is bound as long as the socket is there, so that no other test gets it.
pub(crate) fn nowhere() -> (String, Socket) {
    let reserved = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    reserved.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = reserved.local_addr().unwrap().as_socket().unwrap();
    (format!("http://{address}"), reserved)
}

/// The program, with none of the proxies that the environment may name.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    for name in variables() {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// Runs a command with this input, to its end.
pub(crate) fn run(mut command: Command, input: impl AsRef<[u8]>) -> Output {
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdin, input) = (process.stdin.take().unwrap(), input.as_ref().to_vec());
    // It may answer before it has read all, and may have ended without a look at its input.
    let writer = std::thread::spawn(move || stdin.write_all(&input).ok());
    let output = process.wait_with_output().unwrap();
    writer.join().unwrap();
    output
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
        Self::start_with_log(arguments, Stdio::null())
    }

    /// Logs go here.
    pub(crate) fn start_with_log(arguments: &[&str], log: impl Into<Stdio>) -> Self {
        let mut command = program(&["serve"]);
        let mut process = command.args(arguments).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut said = Vec::new();
        while said.last().is_none_or(|line: &String| !line.contains(" page")) {
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

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What Ctrl-C does; waits for its end.
    #[cfg(unix)]
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        interrupt(&self.process);
        self.process.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// `serve` or `gateway` in cleartext on a port of its own, until it is dropped.
pub(crate) struct Listening {
    pub(crate) process: Child,
    stdout: BufReader<ChildStdout>,
}

impl Listening {
    pub(crate) fn start(command: &str, arguments: &[&str]) -> Self {
        let mut process = program(&[command, "--cleartext", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self { process, stdout }
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The address in its next line, which says this.
    pub(crate) fn address(&mut self, says: &str) -> String {
        let line = self.line();
        assert!(line.starts_with(says), "{line}");
        let (_, rest) = line.split_once("http://").unwrap();
        rest.split('/').next().unwrap().to_owned()
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, kind: nix::sys::signal::Signal) {
        signal(&self.process, kind);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended.
        self.process.kill().ok();
        self.process.wait().unwrap();
    }
}

#[cfg(unix)]
fn signal(process: &Child, signal: nix::sys::signal::Signal) {
    let process = nix::unistd::Pid::from_raw(process.id().try_into().unwrap());
    nix::sys::signal::kill(process, signal).unwrap();
}

/// What Ctrl-C does.
#[cfg(unix)]
pub(crate) fn interrupt(process: &Child) {
    signal(process, nix::sys::signal::Signal::SIGINT);
}

/// An error where it was refused before the system told of it.
pub(crate) fn connect(address: &str) -> std::io::Result<TcpStream> {
    let connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(20)))?;
    Ok(connection)
}

/// A response to a GET over HTTP/1.1, whole; an error where the connection was refused.
pub(crate) fn fetch(address: &str, path: &str) -> std::io::Result<String> {
    let mut connection = connect(address)?;
    write!(connection, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    connection.read_to_string(&mut response)?;
    Ok(response)
}

/// A response to a GET over HTTP/1.1: its head and its content.
pub(crate) fn get(address: SocketAddr, path: &str) -> (String, String) {
    let response = fetch(&address.to_string(), path).unwrap();
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
