//! `sockeye gateway` while it runs: told anew, and short of files.

#![cfg(unix)]

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Duration;

use common::{Folder, Serving, fetch, nowhere, program, run};
use nix::sys::signal::Signal::SIGHUP;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A gateway on a free port whose words on stderr are read, until it is dropped.
struct Running {
    process: Child,
    port: String,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    fn start(mut command: std::process::Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().to_owned();
        // What it says besides is read, so that it is never held up.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let stderr = BufReader::new(process.stderr.take().unwrap());
        Self { process, port, stderr }
    }

    /// Has all read again, and tells what was said about it.
    fn reload(&mut self) -> Vec<String> {
        let process = nix::unistd::Pid::from_raw(self.process.id().try_into().unwrap());
        nix::sys::signal::kill(process, SIGHUP).unwrap();
        let mut said = Vec::new();
        while !said.last().is_some_and(|line: &String| line.contains("reloaded:") || line.contains("not reloaded")) {
            let mut line = String::new();
            assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended after {said:?}");
            said.push(line.trim_end().to_owned());
        }
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().unwrap();
    }
}

/// Each setting that only a start can change is named, and all else changes.
#[test]
fn a_hangup_names_what_it_cannot_change() {
    let folder = Folder::new();
    let config = folder.write("gateway.toml", "upstream = [\"http://localhost:1\"]\naccess-log = \"off\"\n");
    let arguments = ["gateway", "--cleartext", "--config", &config, "--listen", "127.0.0.1:0", "--idle-timeout", "50s"];
    let mut gateway = Running::start(program(&arguments));
    assert_eq!(gateway.reload().len(), 1, "nothing has changed");
    let changed = "upstream = [\"http://localhost:1\"]\naccess-log = \"off\"\nlisten = [\"127.0.0.1:1\"]\ndrain = \"7s\"\n\
                   metrics = \"127.0.0.1:0\"\nmax-connections = 7\nmax-streams = 7\nidle-timeout = \"7s\"\nprogress-timeout = 7\n";
    std::fs::write(&config, changed).unwrap();
    let said = gateway.reload();
    // A flag comes before the file, so that neither `listen` nor `idle-timeout` has changed.
    for name in ["metrics", "drain", "max-connections", "max-streams", "progress-timeout"] {
        let about = |line: &&String| line.starts_with(&format!("warning: {name} "));
        assert_eq!(said.iter().filter(about).count(), 1, "{name}: {said:?}");
    }
    assert_eq!(said.len(), 6, "{said:?}");
}

/// An issuer and a certificate of localhost, into these files.
fn issue(folder: &Folder) -> [String; 3] {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let files = [("ca.pem", issuer.pem()), ("chain.pem", certificate.pem()), ("key.pem", key.serialize_pem())];
    files.map(|(name, content)| folder.write(name, &content))
}

/// New connections are shown the certificate that is in its file then; where the files do not go together, all stays as it was.
#[test]
fn a_hangup_has_the_certificate_read_again() {
    let (server, folder) = (Serving::cleartext(), Folder::new());
    let [ca, chain, key] = issue(&folder);
    let upstream = format!("http://{}", server.address());
    let arguments = ["gateway", &upstream, "--listen", "127.0.0.1:0", "--cert", &chain, "--key", &key];
    let mut gateway = Running::start(program(&[&arguments[..], &["--access-log", "off"]].concat()));
    let url = format!("wss://localhost:{}/echo", gateway.port);
    let is_trusted = || run(program(&["connect", "-1", &url, "--cacert", &ca]), "hello\n").status.success();
    assert!(is_trusted());
    issue(&folder);
    assert!(!is_trusted(), "the issuer is another one, and the certificate is the old one's");
    gateway.reload();
    assert!(is_trusted());
    std::fs::write(&key, "no key\n").unwrap();
    assert!(gateway.reload().last().unwrap().contains("not reloaded"));
    assert!(is_trusted());
}

/// The number of files that it may open is small: what finds no place is refused or waits, the processor is not kept busy by it,
/// what comes later is served, and no upstream is thought ill of for what the gateway itself lacks.
#[test]
fn a_gateway_short_of_files_backs_off_and_is_well_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || answer(connection.unwrap()));
        }
    });
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "ulimit -n 64; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_sockeye"), "gateway", &upstream]);
    // More places than there are files: it is the system that says no.
    shell.args(["--cleartext", "--listen", "127.0.0.1:0", "--access-log", "off", "--max-connections", "1000"]);
    shell.args(["--check", "/healthy", "--check-interval", "100ms"]);
    let mut gateway = Running::start(shell);
    let address = format!("127.0.0.1:{}", gateway.port);
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut connection = TcpStream::connect(&address).unwrap();
        // One that is refused at once may be gone by now.
        connection.write_all(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n").ok();
        held.push(connection);
    }
    let before = processor_time(gateway.process.id());
    std::thread::sleep(Duration::from_secs(1));
    let spent = processor_time(gateway.process.id()) - before;
    assert!(spent < 50, "{spent} hundredths of a second of one");
    drop(held);
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        fetch(&address, "/").is_ok_and(|response| response.starts_with("HTTP/1.1 200 "))
    });
    assert!(served);
    gateway.process.kill().unwrap();
    let mut said = String::new();
    gateway.stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("no connection can be accepted"), "it was short of them: {said}");
    assert!(!said.contains("fails its check") && !said.contains("rests"), "{said}");
}

/// By default the log has the return of an upstream as well as its rest, and that its check passes as well as that it fails.
#[test]
fn the_log_says_that_an_upstream_is_back() {
    for (check, [gone, back]) in [
        (&[][..], ["rests", "an upstream is back"]),
        (&["--check", "/healthy", "--check-interval", "50ms"], ["fails its check", "passes its check again"]),
    ] {
        let (url, reserved) = nowhere();
        let arguments = ["gateway", &url, "--listen", "127.0.0.1:0", "--cleartext", "--access-log", "off"];
        let mut gateway = Running::start(program(&[&arguments[..], check].concat()));
        let address = format!("127.0.0.1:{}", gateway.port);
        let until = |stderr: &mut BufReader<ChildStderr>, word: &str| {
            let mut line = String::new();
            while !line.contains(word) {
                line.clear();
                assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "{word}");
            }
        };
        (0..3).for_each(|_| _ = fetch(&address, "/").unwrap());
        until(&mut gateway.stderr, gone);
        reserved.listen(16).unwrap();
        let listener = TcpListener::from(reserved);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                std::thread::spawn(move || answer(connection.unwrap()));
            }
        });
        if check.is_empty() {
            fetch(&address, "/").unwrap();
        }
        until(&mut gateway.stderr, back);
    }
}

fn answer(mut connection: TcpStream) {
    let mut head = [0; 4096];
    while let Ok(octets @ 1..) = connection.read(&mut head) {
        if !head[..octets].starts_with(b"GET /hold") {
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok();
        }
    }
}

/// Hundredths of a second that a process has run for (proc(5)).
fn processor_time(process: u32) -> u64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return 0 };
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
