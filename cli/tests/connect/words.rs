//! What `sockeye connect` says of handshakes: all of a refusal with `-v`, why HTTP/1.1 stands in for HTTP/2, and no secrets.

use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use sockeye::{Server, WebSocket, websocket};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::common::peer::{
    ACCEPTS_NOTHING, Does, HTTP_1_1_REQUIRED, Http1, INTERNAL_ERROR, PROTOCOL_ERROR, Peer, REFUSED_STREAM,
};

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
        let url = format!("{url}?room=1&access_token=s3cret");
        let (status, text) = connect(&url, &arguments).await;
        assert_eq!((status, text.contains("s3cret")), (0, false), "{text}");
        // With another one each line has its URL before it.
        let (status, labelled) = connect(&url, &[&arguments[..], &[&*url]].concat()).await;
        assert_eq!((status, labelled.contains("s3cret")), (0, false), "{labelled}");
        for part in
            ["> authorization: Bearer (hidden)", "cookie: id=(hidden)", "?room=1&access_token=(hidden)", "> GET "]
        {
            let part = if part == "> GET " && version == "--http2" { "> CONNECT " } else { part };
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
}

/// RFC 9110 §5.5: what is no ASCII in a value is the application's affair.
#[tokio::test(flavor = "multi_thread")]
async fn a_field_may_be_no_ascii() {
    let url = silent().await;
    for version in ["--http2", "--http1.1"] {
        let (status, text) = connect(&url, &["-v", version, "-H", "x-name: Zoë", "-H", "x-empty;"]).await;
        assert_eq!(status, 0, "{version}: {text}");
        assert!(text.contains("> x-name: Zoë\n") && text.contains("> x-empty: \n"), "{version}: {text}");
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

/// The URL of what takes TLS, and passes all that is under it on to a server in cleartext.
async fn under_tls(peer: Peer) -> String {
    let url = peer.listen();
    let inner = url.trim_start_matches("ws://").trim_end_matches('/').to_owned();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![made.cert.into()], key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, inner) = (acceptor.clone(), inner.clone());
            // Clients end their connections as they like.
            tokio::spawn(async move {
                let mut outer = acceptor.accept(stream).await.ok()?;
                let mut inner = TcpStream::connect(inner).await.ok()?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await.ok()
            });
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_over_http2_is_told_where_http1_stands_in() {
    const NOTE: &str = "HTTP/1.1 in place of HTTP/2, over which ";
    for (does, part) in [
        (Does::Answers(400, vec![], "no"), "the server refused with 400 Bad Request"),
        (Does::Answers(404, vec![], ""), "the server refused with 404 Not Found"),
        (Does::Answers(405, vec![], ""), "the server refused with 405 Method Not Allowed"),
        (Does::Answers(501, vec![], ""), "the server refused with 501 Not Implemented"),
        (Does::Resets(HTTP_1_1_REQUIRED), "HTTP_1_1_REQUIRED"),
        (Does::Disconnects, "the connection went away"),
    ] {
        let url = under_tls(Peer { on_connect: does, ..Peer::default() }).await;
        let (status, text) = connect(&url, &["-k"]).await;
        assert_eq!(status, 0, "{text}");
        assert!(text.contains(&format!("{url}: {NOTE}")) && text.contains(part), "no {part:?} in {text}");
    }
    // Where all is well, where nothing was offered, and where HTTP/1.1 is what was asked for.
    let refuses = Does::Answers(404, vec![], "");
    for (peer, arguments) in [
        (Peer::default(), &["-k"][..]),
        (Peer { settings: Some(vec![]), ..Peer::default() }, &["-k"]),
        (Peer { on_connect: refuses, ..Peer::default() }, &["-k", "--http1.1"]),
    ] {
        let (status, text) = connect(&under_tls(peer).await, arguments).await;
        assert_eq!((status, text.contains(NOTE)), (0, false), "{text}");
    }
}

/// By its name, and by whom: what breaks a rule this side resets, and says which rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_names_its_reason_and_its_side() {
    for (does, part) in [
        (Does::Resets(REFUSED_STREAM), "reset by the server: REFUSED_STREAM"),
        (Does::Resets(INTERNAL_ERROR), "reset by the server: INTERNAL_ERROR"),
        (Does::Resets(PROTOCOL_ERROR), "reset by the server: PROTOCOL_ERROR"),
        // DATA without HEADERS.
        (Does::Says(b"\x81\0".to_vec()), "was told PROTOCOL_ERROR: DATA before the header (§8.1)"),
    ] {
        let (status, text) = connect(&Peer { on_connect: does, ..Peer::default() }.listen(), &["--http2"]).await;
        assert_eq!((status, text.contains(part)), (3, true), "no {part:?} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_is_broken_is_said_once() {
    let reserved = Peer { on_open: Does::Says(b"\xf1\0".to_vec()), http1: Http1::Same, ..Peer::default() };
    let url = reserved.listen();
    for version in ["--http2", "--http1.1"] {
        let (status, text) = connect(&url, &[version, "--wait", "forever"]).await;
        assert_eq!((status, text.matches("RFC 6455 §5.2").count()), (5, 1), "{version}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accept_that_is_missing_is_no_wrong_one() {
    let peer = Peer { http1: Http1::Says(ACCEPTS_NOTHING.to_vec()), ..Peer::default() };
    let (status, text) = connect(&peer.listen(), &["--http1.1"]).await;
    assert_eq!((status, text.contains("the server's Sec-WebSocket-Accept is missing")), (3, true), "{text}");
}
