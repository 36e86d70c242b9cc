//! Where what the program says goes, and what becomes of it there.

mod common;

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use common::peer::{Http1, Peer};
use common::{Folder, Serving, program, run, stderr, stdout};

/// All that writes to stdout, each in a way that works.
fn commands(url: &str) -> Vec<Vec<&str>> {
    let bench = ["bench", "-d", "50ms", "--warm-up", "0s", url];
    vec![
        vec!["--help"],
        vec!["--version"],
        vec!["serve", "--help"],
        vec!["connect", "-h"],
        vec!["completions", "bash"],
        vec!["probe", url],
        vec!["probe", "--json", url],
        bench.to_vec(),
        [&bench[..], &["--json"]].concat(),
        vec!["connect", "-1", url],
        vec!["connect", "-b", "--http2", url],
        vec!["connect", url, url],
    ]
}

fn with_stdout(arguments: &[&str], stdout: Stdio) -> std::process::Output {
    let folder = Folder::new();
    let input = folder.write("input", "hello\n");
    let input = std::fs::File::open(input).unwrap();
    let mut command = program(arguments);
    command.stdin(input).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

#[cfg(target_os = "linux")]
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that nobody reads.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let server = Serving::cleartext();
    let url = server.url();
    let serve = vec!["serve", "--cleartext", "--listen", "127.0.0.1:0"];
    for arguments in commands(&url).into_iter().chain([serve]) {
        let output = with_stdout(&arguments, full());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("cannot write"), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_reader_that_goes_away_is_none() {
    let server = Serving::cleartext();
    let url = server.url();
    for arguments in commands(&url) {
        let output = with_stdout(&arguments, closed());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output), "", "{arguments:?}");
    }
}

/// There is nowhere to say so, but the status tells: it is that of what went wrong, and no panic's.
#[test]
#[cfg(target_os = "linux")]
fn a_stderr_that_takes_nothing_changes_no_status() {
    let server = Serving::cleartext();
    let wrong: [(&[&str], i32); 4] = [
        (&["probe"], 2),
        (&["connect", "ws://127.0.0.1:1/"], 1),
        (&["serve", "--cleartext", "--listen", "192.0.2.1:1"], 1),
        (&["bench", "--proxy", "gopher://a", "ws://127.0.0.1:1/"], 2),
    ];
    for (arguments, status) in wrong {
        let mut command = program(arguments);
        let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full()).status().unwrap();
        assert_eq!(ended.code(), Some(status), "{arguments:?}");
    }
    let url = server.url();
    let mut command = program(&["connect", "-v", &url]);
    let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(full()).status().unwrap();
    assert_eq!(ended.code(), Some(1), "what -v tells is lost");
}

#[test]
fn there_is_a_page_and_a_completion_for_each_command() {
    let folder = Folder::new();
    let pages = folder.path("pages");
    assert!(program(&["man", pages.to_str().unwrap()]).status().unwrap().success());
    for name in ["sockeye", "sockeye-serve", "sockeye-connect", "sockeye-bench", "sockeye-probe"] {
        let page = std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(page.contains(".TH") && page.contains(name), "{name}: {page}");
    }
    let page = std::fs::read_to_string(pages.join("sockeye-probe.1")).unwrap();
    assert!(page.contains("connect\\-to") && page.contains("Exit status"), "{page}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = program(&["completions", shell]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains("max-message-size"), "{shell}");
    }
    let nowhere = program(&["man", "/proc/nowhere"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
}

/// On a terminal of the usual width no line of help is wrapped by the terminal, within a word.
#[test]
fn help_fits_a_terminal() {
    for command in ["serve", "gateway", "connect", "bench", "probe", "completions", "man"] {
        for option in ["-h", "--help"] {
            let output = program(&[command, option]).env("COLUMNS", "80").output().unwrap();
            let widest = stdout(&output).lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(80), "{command} {option}: {widest:?}");
        }
    }
}

#[test]
fn logs_are_json_where_they_are_to_be() {
    let server = Serving::start(&["--listen", "127.0.0.1:0"]);
    let url = format!("wss://{}/echo", server.address());
    let run_with = |arguments: &[&str]| {
        let mut command = program(arguments);
        command.env("RUST_LOG", "debug");
        run(command, "")
    };
    let probe = run_with(&["--log-format", "json", "probe", "-k", &url]);
    let connect = run_with(&["connect", "ws://127.0.0.1:1/", "--log-format=json", "-x", "ftp://a"]);
    assert_eq!(connect.status.code(), Some(2));
    let unreached = run_with(&["--log-format", "json", "connect", "-v", "ws://127.0.0.1:1/"]);
    let opened = run_with(&["--log-format", "json", "connect", "-v", "-k", "--wait", "0", &url]);
    assert!(stderr(&opened).contains("> GET /echo HTTP/1.1\\n") || stderr(&opened).contains("> CONNECT "));
    for output in [probe, connect, unreached, opened] {
        assert!(!output.stderr.is_empty());
        for line in stderr(&output).lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(line["level"].is_string() && line["fields"]["message"].is_string(), "{line}");
        }
    }
}

/// RUST_LOG takes targets and levels. What it cannot be is told, and does not hide warnings.
#[test]
fn which_logs_are_written_is_said_or_told_to_be_wrong() {
    let server = Serving::start(&["--listen", "127.0.0.1:0"]);
    let url = format!("wss://{}/echo", server.address());
    let said = |filter: &str| {
        let mut command = program(&["--log-format", "json", "connect", "-k", "-1", &url]);
        command.env("RUST_LOG", filter);
        stderr(&run(command, "hello\n")).to_owned()
    };
    assert!(said("sockeye=debug").contains("DEBUG"), "{}", said("sockeye=debug"));
    assert!(!said("rustls=debug,sockeye=off").contains("DEBUG"));
    assert!(!said("").contains("RUST_LOG"));
    for wrong in ["sockeye=loud", "a=b=c"] {
        let text = said(wrong);
        assert!(text.contains("RUST_LOG: ") && text.contains("sockeye=debug,warn"), "{wrong}: {text}");
    }
}

/// A server that goes away and comes back is found again, and what is said then arrives.
#[test]
fn connect_opens_a_socket_again() {
    use std::io::{BufRead as _, BufReader, Write as _};
    let first = Serving::cleartext();
    let (url, address) = (first.url(), first.address().to_string());
    let mut connect: Command = program(&["connect", "--reconnect", "--wait", "forever", &url]);
    let mut connect = connect.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut input, mut output) = (connect.stdin.take().unwrap(), BufReader::new(connect.stdout.take().unwrap()));
    let mut say = |text: &str| {
        writeln!(input, "{text}").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line.trim_end(), text);
    };
    say("before");
    drop(first);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let _second = Serving::start(&["--cleartext", "--listen", &address]);
    say("after");
    connect.kill().unwrap();
    connect.wait().unwrap();
}

#[test]
fn a_first_connection_that_fails_is_told_at_once() {
    let output = run(program(&["connect", "--reconnect", "ws://127.0.0.1:1/"]), "");
    assert_eq!(output.status.code(), Some(1));
}

/// What others say is said on without what a terminal obeys, in each format that is not a message's own.
#[test]
fn nothing_that_a_server_says_commands_a_terminal() {
    let evil = "\u{9b}31m\u{202e}txt.\u{2028}\u{7f}";
    let answer =
        format!("HTTP/1.1 403 Forbidden\r\nx-field: {evil}\r\ncontent-length: 17\r\n\r\n{evil}\u{1b}[2J").into_bytes();
    let not_http = |evil: &str| format!("SSH-2.0-{evil}\r\n").into_bytes();
    for octets in [answer, not_http(evil), not_http("\u{202e}")] {
        let url = Peer { http1: Http1::Says(octets), ..Peer::default() }.listen();
        for command in [
            &["connect", "-v", "--http1.1"][..],
            &["--log-format", "json", "connect", "-v", "--http1.1"],
            &["probe"],
            &["probe", "--json"],
            &["bench", "--http1.1"],
            &["bench", "--http1.1", "--json"],
        ] {
            let output = run(program(&[command, &[&*url]].concat()), "");
            let said = format!("{}{}", stdout(&output), stderr(&output));
            let is_evil = |character: char| evil.contains(character) && !character.is_ascii_graphic();
            assert!(!said.contains(is_evil) && !said.contains('\x1b'), "{command:?}: {said:?}");
        }
    }
}
