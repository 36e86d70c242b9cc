//! Conversations in pipes: what goes in comes out, and nothing else does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tungstenite::Message;

use super::common::{self, Serving, program};
use super::peer::{Peer, close};
use super::{connect, secure};

#[test]
fn lines_go_in_and_come_out() {
    let lines = "hello\n/ping\n\nlast, without a newline";
    let ((_secure, over_tls), cleartext) = (secure(), Serving::cleartext());
    let url = cleartext.url();
    for (arguments, is_silent) in [(&[&*over_tls, "-k"][..], false), (&[&url], true), (&[&url, "--http2"], true)] {
        let (status, output, errors) = connect(lines, arguments);
        assert_eq!((status, String::from_utf8(output).unwrap()), (0, format!("{lines}\n")), "{arguments:?}");
        assert!(!is_silent || errors.is_empty(), "{arguments:?}: {errors}");
    }
}

#[test]
fn the_version_of_http_is_the_one_asked_for() {
    let ((_secure, over_tls), cleartext) = (secure(), Serving::cleartext());
    let in_cleartext = cleartext.url();
    for (url, option, version) in [
        (&over_tls, None, "HTTP/2"),
        (&over_tls, Some("--http1.1"), "HTTP/1.1"),
        (&over_tls, Some("--http2"), "HTTP/2"),
        (&in_cleartext, None, "HTTP/1.1"),
        (&in_cleartext, Some("--http2-prior-knowledge"), "HTTP/2"),
    ] {
        let arguments: Vec<_> = [url, "-k", "-v", "--wait", "0.1"].into_iter().chain(option).collect();
        let (status, _, errors) = connect("", &arguments);
        assert_eq!((status, errors.contains(&format!("over {version}"))), (0, true), "{arguments:?}: {errors}");
    }
}

#[test]
fn the_handshake_is_shown_on_stderr() {
    let (_server, url) = secure();
    let (_, output, errors) = connect("", &[&url, "-k", "-v", "-s", "echo", "-H", "X-Me: you", "--wait", "0.1"]);
    assert!(output.is_empty());
    for part in [
        &*format!("> CONNECT {} HTTP/2", url.replace("wss", "https")),
        "> :protocol: websocket",
        "> x-me: you",
        "< HTTP/2 200 OK",
        "< sec-websocket-protocol: echo",
        "subprotocol echo",
        "closed with 1000",
    ] {
        assert!(errors.contains(part), "no {part:?} in {errors}");
    }
}

#[test]
fn messages_are_compressed_unless_told_not_to() {
    let text = "the same again and again, ".repeat(40);
    let ((_secure, over_tls), cleartext) = (secure(), Serving::cleartext());
    for url in [&over_tls, &cleartext.url()] {
        for version in ["--http1.1", "--http2"] {
            for (option, is_compressed) in [(None, true), (Some("--no-deflate"), false)] {
                let arguments: Vec<_> = [url, "-k", "-v", version].into_iter().chain(option).collect();
                let (status, output, errors) = connect(&text, &arguments);
                assert_eq!((status, String::from_utf8(output).unwrap()), (0, format!("{text}\n")), "{arguments:?}");
                let is_agreed = errors.contains("< sec-websocket-extensions: permessage-deflate");
                assert_eq!(is_agreed, is_compressed, "{arguments:?}: {errors}");
            }
        }
    }
}

#[test]
fn binary_gives_back_each_octet() {
    let (_server, url) = secure();
    let mut octets = vec![0; 300_000];
    SmallRng::seed_from_u64(8441).fill_bytes(&mut octets);
    let (status, output, errors) = connect(&octets, &[&url, "-k", "--binary"]);
    assert_eq!((status, output == octets), (0, true), "{errors}");
}

#[test]
fn a_handshake_has_what_was_asked_for() {
    let peer = Peer::listen(vec![]);
    let url = peer.url.replace("ws://", "ws://u:p@");
    let options = ["-H", "X-One: 1", "-H", "X-Two: 2", "-s", "a,b", "-o", "https://example.com"];
    assert_eq!(connect("x\n", &[&[&*url, "-1"], &options[..]].concat()).0, 0);
    let fields = peer.handshake();
    let protocols = fields["sec-websocket-protocol"].to_str().unwrap();
    assert_eq!(protocols.split(',').map(str::trim).collect::<Vec<_>>(), ["a", "b"]);
    for (name, value) in
        [("x-one", "1"), ("x-two", "2"), ("origin", "https://example.com"), ("authorization", "Basic dTpw")]
    {
        assert_eq!(fields[name], value, "{name}");
    }
}

#[test]
fn one_message_is_enough_where_told_so() {
    let server = Serving::cleartext();
    assert_eq!(connect("first\nsecond\n", &[&server.url(), "-1"]), (0, b"first\n".to_vec(), String::new()));
    let peer = Peer::listen(vec!["news".into(), "more".into()]);
    assert_eq!(connect("", &[&peer.url, "-1"]), (0, b"news\n".to_vec(), String::new()));
    assert_eq!(peer.hears_close().0, 1000);
    let peer = Peer::listen(vec![close(1000, "")]);
    let (status, output, _) = connect("", &[&peer.url, "-1"]);
    assert_eq!((status, output), (6, vec![]), "none came");
}

#[test]
fn without_input_it_receives_until_the_server_closes() {
    let peer = Peer::listen(vec!["a".into(), "b".into(), close(1001, "")]);
    assert_eq!(connect("", &[&peer.url]), (0, b"a\nb\n".to_vec(), String::new()));
}

#[test]
fn payload_in_a_pipe_is_as_it_is() {
    let text = "\x1b[31m\u{202e}";
    let peer = Peer::listen(vec![text.into(), Message::binary(&b"\x00\xff"[..]), close(1000, "")]);
    assert_eq!(connect("", &[&peer.url]).1, [text.as_bytes(), b"\n\x00\xff\n"].concat());
}

/// A conversation that goes on, with its ends.
struct Conversation {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Conversation {
    fn start(arguments: &[&str]) -> Self {
        let mut command = program(&[&["connect"], arguments].concat());
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take().map(BufReader::new));
        Self { process, stdin, stdout }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line
    }

    fn ends(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }
}

#[test]
fn urls_of_an_origin_share_a_connection() {
    let server = Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--stats", "all"]);
    let urls = [0, 1, 2].map(|number| format!("{}?{number}", server.url()));
    let mut conversation = Conversation::start(&["--http2", &urls[0], &urls[1], &urls[2]]);
    conversation.say("x");
    let mut lines = urls.each_ref().map(|_| conversation.line());
    lines.sort();
    assert_eq!(lines, urls.each_ref().map(|url| format!("[{url}] x\n")));
    let (_, stats) = common::get(server.address(), "/stats");
    let stats: serde_json::Value = serde_json::from_str(&stats).unwrap();
    let connections = stats["connections"].as_array().unwrap().iter();
    let sockets: Vec<_> =
        connections.filter(|connection| connection["version"] == "HTTP/2").map(|of| &of["sockets"]).collect();
    assert_eq!(sockets, [3], "{stats}");
    conversation.stdin.take();
    assert_eq!(conversation.ends(), Some(0));
}

#[test]
fn it_ends_where_nobody_reads() {
    let server = Serving::cleartext();
    let mut conversation = Conversation::start(&[&server.url()]);
    conversation.say("1");
    assert_eq!(conversation.line(), "1\n");
    conversation.stdout.take();
    conversation.say("2");
    assert_eq!(conversation.ends(), Some(0));
}

#[test]
#[cfg(unix)]
fn an_interrupt_closes_with_1001() {
    let peer = Peer::listen(vec!["here".into()]);
    let mut conversation = Conversation::start(&[&peer.url]);
    assert_eq!(conversation.line(), "here\n");
    common::interrupt(&conversation.process);
    assert_eq!(conversation.ends(), Some(0));
    assert_eq!(peer.hears_close().0, 1001);
}
