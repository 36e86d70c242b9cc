//! What `sockeye connect` says of handshakes: all of a refusal with `-v`, and no secrets.

use std::process::{Command, Stdio};

use sockeye::{Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// The URL of a server that says nothing and closes when it is closed.
async fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let handler = websocket(|mut socket: WebSocket| async move {
        while socket.recv().await?.is_some() {}
        Ok::<_, sockeye::Error>(())
    });
    tokio::spawn(Server::new().serve(listener, handler));
    url
}

/// The URL of a server of HTTP/1.1 that answers every request with this.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    url
}

/// The exit status, and stderr.
async fn connect(url: &str, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sockeye"));
    command.args(["connect", url, "--wait", "0"]).args(arguments).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_handshake_is_shown() {
    let url = answering(
        "HTTP/1.1 403 Forbidden\r\nset-cookie: id=s3cret; Path=/\r\nx-why: origin\r\ncontent-length: 25\r\n\r\nnot from here\nat \x1b[31mall",
    )
    .await;
    let (status, text) = connect(&format!("{url}?token=s3cret"), &["-v", "--http1.1"]).await;
    assert_eq!(status, 3, "{text}");
    for line in [
        "< HTTP/1.1 403 Forbidden",
        "< set-cookie: id=(hidden); Path=/",
        "< x-why: origin",
        "< not from here",
        r"< at \x1b[31mall",
    ] {
        assert!(text.lines().any(|other| other == line), "no {line:?} in\n{text}");
    }
    assert!(text.contains("?token=(hidden): the server refused with 403 Forbidden"), "{text}");
    assert!(!text.contains("s3cret") && !text.contains('\x1b'), "{text}");
    // Without -v it is one line.
    assert_eq!(connect(&url, &["--http1.1"]).await.1.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_shown_of_a_handshake() {
    let url = silent().await;
    for version in ["--http2", "--http1.1"] {
        let arguments = ["-v", version, "-H", "authorization: Bearer s3cret", "-H", "cookie: id=s3cret; theme=s3cret"];
        let (status, text) = connect(&format!("{url}?room=1&access_token=s3cret"), &arguments).await;
        assert_eq!((status, text.contains("s3cret")), (0, false), "{text}");
        for part in
            ["> authorization: Bearer (hidden)", "cookie: id=(hidden)", "?room=1&access_token=(hidden)", "> GET "]
        {
            let part = if part == "> GET " && version == "--http2" { "> CONNECT " } else { part };
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_cannot_be_sent_is_a_wrong_argument() {
    let url = silent().await;
    for version in ["--http2", "--http1.1"] {
        for arguments in [["-H", "upgrade: x"], ["-H", "sec-websocket-version: 8"], ["-s", "a,a"]] {
            let (status, text) = connect(&url, &[&[version], &arguments[..]].concat()).await;
            assert_eq!((status, text.starts_with("error: ")), (2, true), "{version} {arguments:?}: {text}");
        }
    }
}
