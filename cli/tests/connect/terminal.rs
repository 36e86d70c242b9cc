//! Conversations in a terminal.

use std::io::{Read as _, Write as _};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use nix::sys::termios::{Termios, tcgetattr};
use pty_process::blocking::{Command, Pty, open};
use tungstenite::Message;

use super::common;
use super::peer::{PATIENCE, Peer};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

struct Terminal {
    pty: Arc<Pty>,
    modes: Termios,
    process: Child,
    octets: Receiver<Vec<u8>>,
    /// All that was shown, and where what is new begins.
    log: Vec<u8>,
    seen: usize,
}

impl Terminal {
    /// A conversation that has begun.
    fn start(url: &str) -> Self {
        let (pty, pts) = open().unwrap();
        let modes = tcgetattr(&pty).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["connect", url]);
        for name in common::variables() {
            command = command.env_remove(name);
        }
        let process = command.env("TERM", "xterm").env("NO_COLOR", "1").spawn(pts).unwrap();
        let pty = Arc::new(pty);
        let (sender, octets) = channel();
        let reader = pty.clone();
        thread::spawn(move || {
            let mut part = [0; 4096];
            // It ends, by an error on some systems, with the last process of the terminal.
            while let Ok(length @ 1..) = (&*reader).read(&mut part) {
                sender.send(part[..length].to_vec()).ok();
            }
        });
        let mut terminal = Self { pty, modes, process, octets, log: Vec::new(), seen: 0 };
        terminal.shows("connected to ");
        terminal.shows("> ");
        terminal
    }

    fn types(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is shown after what was waited for before.
    #[track_caller]
    fn shows(&mut self, text: &str) {
        self.seen = self.wait_for(text, self.seen);
    }

    /// Waits until this was shown at any time.
    #[track_caller]
    fn has_shown(&mut self, text: &str) {
        self.wait_for(text, 0);
    }

    /// Where the text ends that is shown from this place on.
    #[track_caller]
    fn wait_for(&mut self, text: &str, from: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = &self.log[from..];
            if let Some(place) = shown.windows(text.len()).position(|window| window == text.as_bytes()) {
                return from + place + text.len();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(octets) = self.octets.recv_timeout(left) else {
                panic!("no {text:?} in {:?}", String::from_utf8_lossy(shown));
            };
            self.log.extend(octets);
        }
    }

    /// Waits for the end; the terminal is then as it was.
    #[track_caller]
    fn ends(&mut self, status: i32) {
        while let Ok(octets) = self.octets.recv_timeout(PATIENCE) {
            self.log.extend(octets);
        }
        let log = String::from_utf8_lossy(&self.log);
        assert_eq!(self.process.wait().unwrap().code(), Some(status), "{log:?}");
        assert_eq!(tcgetattr(&*self.pty).unwrap(), self.modes, "{log:?}");
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended.
        self.process.kill().ok();
        self.process.wait().unwrap();
    }
}

#[test]
fn lines_and_commands_make_a_conversation() {
    let peer = Peer::listen(vec![]);
    let mut terminal = Terminal::start(&peer.url);
    terminal.types("hello\r");
    terminal.shows("< hello");
    terminal.types("//slash\r");
    terminal.shows("< /slash");
    terminal.types("/ping there?\r");
    terminal.shows(r#"pong "there?" after "#);
    terminal.types("/pong beat\r");
    assert_eq!(peer.hears_pong(), b"beat");
    terminal.types("/nothing\r");
    terminal.shows("there is no command /nothing");
    terminal.types("/close 4000 so long\r");
    terminal.ends(0);
    assert_eq!(peer.hears_close(), (4000, "so long".to_owned()));
}

#[test]
fn lines_have_a_history() {
    let peer = Peer::listen(vec![]);
    let mut terminal = Terminal::start(&peer.url);
    for line in ["first", "second"] {
        terminal.types(&format!("{line}\r"));
        terminal.shows(&format!("< {line}"));
    }
    terminal.types(&format!("{UP}{UP} again\r"));
    terminal.shows("< first again");
    terminal.types(CTRL_D);
    terminal.ends(0);
    assert_eq!(peer.hears_close().0, 1000);
}

#[test]
fn ctrl_c_closes_with_1001_and_leaves_the_terminal_as_it_was() {
    let peer = Peer::listen(vec![]);
    let mut terminal = Terminal::start(&peer.url);
    terminal.types(&format!("unfinished{CTRL_C}"));
    terminal.ends(0);
    assert_eq!(peer.hears_close().0, 1001);
}

#[test]
fn the_server_may_end_a_conversation() {
    let peer = Peer::listen(vec![]);
    let mut terminal = Terminal::start(&peer.url);
    terminal.types("close\r");
    terminal.shows("the server closed with 1011");
    terminal.ends(4);
}

#[test]
fn nothing_from_the_network_reaches_a_terminal_raw() {
    let text = "\x1b]0;title\x07\x1b[2J\u{9b}31m\u{202e}right\rleft";
    let peer = Peer::listen(vec![text.into(), Message::binary(&b"\x1b[2J"[..])]);
    let mut terminal = Terminal::start(&peer.url);
    terminal.has_shown("binary, 4 octets: 1b 5b 32 4a");
    terminal.types(CTRL_D);
    terminal.ends(0);
    let log = String::from_utf8_lossy(&terminal.log);
    assert!(log.contains(r"\x1b]0;title\x07\x1b[2J\x9b31m\u{202e}right\rleft"), "{log:?}");
    for raw in ["\x1b]", "\x1b[2J", "\u{9b}", "\u{202e}"] {
        assert!(!log.contains(raw), "{raw:?} in {log:?}");
    }
}

/// As Emacs and some consoles have: without an editor a line is a message, or a command, all the same.
#[test]
fn a_terminal_that_moves_no_cursor_takes_lines() {
    let server = common::Serving::cleartext();
    let (pty, pts) = open().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["connect", &server.url()]);
    for name in common::variables() {
        command = command.env_remove(name);
    }
    let mut process = command.env("TERM", "dumb").spawn(pts).unwrap();
    (&pty).write_all(b"hello\n").unwrap();
    let (mut shown, mut part) = (String::new(), [0; 4096]);
    while let Ok(length @ 1..) = (&pty).read(&mut part) {
        shown.push_str(std::str::from_utf8(&part[..length]).unwrap());
        // As the terminal shows what is typed, and as it comes back.
        if shown.matches("hello").count() == 2 && !shown.contains("/close") {
            (&pty).write_all(b"/close 1000\n").unwrap();
        }
    }
    assert_eq!(process.wait().unwrap().code(), Some(0), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

/// NO_COLOR is for reports and for logs.
#[test]
fn colors_are_where_they_are_wanted() {
    for (variables, has_colors) in [
        (&[("TERM", "xterm")][..], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let (mut pty, pts) = open().unwrap();
        let url = common::peer::Peer::default().listen();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["probe", &url]);
        for name in common::variables().chain(["NO_COLOR".to_owned()]) {
            command = command.env_remove(name);
        }
        let mut process = command.env("RUST_LOG", "nonsense=").envs(variables.iter().copied()).spawn(pts).unwrap();
        let mut shown = Vec::new();
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = pty.read(&mut part) {
            shown.extend_from_slice(&part[..length]);
        }
        process.wait().unwrap();
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains("WebSockets work"), "{shown}");
        assert_eq!(shown.contains('\x1b'), has_colors, "{variables:?}: {shown:?}");
    }
}
