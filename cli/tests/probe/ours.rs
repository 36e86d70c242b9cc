//! `sockeye probe` against `sockeye serve`, over TLS and in cleartext.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use sockeye::{CloseCode, Server, WebSocket, websocket};
use tokio::net::TcpListener;

use super::{UNREACHABLE, WORKS, WORKS_NOT, run};

/// A server that ends with the test, and its port.
struct Serve(Child, String);

impl Serve {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
        let port = line.rsplit_once("127.0.0.1:").map(|(_, rest)| digits(rest)).unwrap();
        Self(child, port)
    }

    fn probe(&self, scheme: &str, path: &str, arguments: &[&str]) -> (i32, String, String) {
        let url = format!("{scheme}://127.0.0.1:{}{path}", self.1);
        let output = run(&[&[&*url], arguments].concat());
        let text = |octets| String::from_utf8(octets).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn our_server_works_in_every_line() {
    for (scheme, arguments) in [("wss", &[][..]), ("ws", &["--cleartext"])] {
        let (status, text, _) = Serve::start(arguments).probe(scheme, "/echo", &["-k", "-s", "echo", "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &report["verdict"]["kind"]), (WORKS, &"works".into()), "{report:#}");
        assert_eq!(
            (&report["verdict"]["notes"], report["verdict"]["next_step"].is_null()),
            (&Value::Array(vec![]), true)
        );
        for (version, opened, ending, alpn) in [("http2", 200, "END_STREAM", "h2"), ("http1", 101, "FIN", "http/1.1")] {
            let attempt = &report[version];
            assert_eq!(attempt["handshake"]["status"], opened, "{attempt:#}");
            assert_eq!(attempt["handshake"]["subprotocol"], "echo", "{attempt:#}");
            assert_eq!(
                (&attempt["close"]["code"], &attempt["close"]["end"]),
                (&1000.into(), &ending.into()),
                "{attempt:#}"
            );
            assert_eq!((&attempt["close"]["clean"], &attempt["problems"]), (&true.into(), &Value::Array(vec![])));
            for time in ["/connect_ms", "/handshake/ms", "/ping_ms", "/echo_ms"] {
                assert!(attempt.pointer(time).unwrap().is_f64(), "{time} in {attempt:#}");
            }
            let expected = if scheme == "wss" { Value::from(alpn) } else { Value::Null };
            assert_eq!(attempt["tls"]["alpn"], expected, "{attempt:#}");
            if scheme == "wss" {
                assert_eq!(attempt["tls"]["cipher_suite"].as_str().unwrap().find("TLS_"), Some(0), "{attempt:#}");
            }
        }
        assert_eq!(report["http2"]["settings"]["enable_connect_protocol"], true);
        assert_eq!(report["http2"]["sockets"]["opened"], 20, "{report:#}");
        assert_eq!(report["http2"]["close_with_end_stream"]["end"], "END_STREAM", "{report:#}");
    }
}

#[test]
fn a_certificate_is_checked_unless_told_otherwise() {
    let server = Serve::start(&[]);
    let (status, text, _) = server.probe("wss", "/echo", &[]);
    assert_eq!(status, UNREACHABLE, "{text}");
    assert!(text.contains("invalid peer certificate: ") && text.contains("-k takes any certificate"), "{text}");
    assert!(!text.contains("Other("), "a value of Rust in a sentence: {text}");
    let (status, _, errors) = server.probe("wss", "/echo", &["-k"]);
    assert_eq!(status, WORKS, "{errors}");
    assert!(errors.contains("warning: the server's certificate is not checked"), "{errors}");
}

#[test]
fn a_refusal_is_shown_with_its_words() {
    let server = Serve::start(&["--cleartext"]);
    let (status, text, _) = server.probe("ws", "/nothing", &[]);
    assert_eq!((status, text.contains("404")), (WORKS_NOT, true), "{text}");
    let (status, text, _) = server.probe("ws", "/echo", &["-o", "https://elsewhere.example"]);
    assert_eq!(status, WORKS_NOT, "{text}");
    assert!(text.contains("Pages of this origin may not open WebSockets here."), "{text}");
}

/// Basic authentication (RFC 7617), over either version.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_and_a_password_in_the_url_are_sent_and_not_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handler = |mut socket: WebSocket| async move {
        let is_right = socket.request().headers.get("authorization").is_some_and(|value| value == "Basic dTpw");
        if !is_right {
            return socket.close_with(CloseCode::from(4401), "").await;
        }
        while socket.recv().await?.is_some() {}
        Ok(())
    };
    tokio::spawn(Server::new().serve(listener, websocket(handler)));
    let probe = |user: &str| {
        let url = format!("ws://{user}{address}/");
        tokio::task::spawn_blocking(move || run(&[&url, "--json"]))
    };
    let output = probe("u:p@").await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), text.contains("u:p")), (Some(WORKS), false), "{text}");
    assert_eq!(probe("").await.unwrap().status.code(), Some(super::FAULTY));
}
