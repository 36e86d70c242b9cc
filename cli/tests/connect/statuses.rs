//! How a conversation ended is in the exit status, and in words on stderr.

use std::net::TcpListener;

use super::common::Serving;
use super::peer::Peer;
use super::{connect, secure};

#[test]
fn a_refusal_is_told_with_its_content() {
    let server = Serving::cleartext();
    let (status, output, errors) = connect("", &[&server.url().replace("echo", "nothing")]);
    assert_eq!((status, output), (3, vec![]), "{errors}");
    assert!(errors.contains("There is nothing here; try / or /echo."), "{errors}");
}

#[test]
fn input_that_is_no_text_is_named_by_its_line() {
    let server = Serving::cleartext();
    let (status, _, errors) = connect(b"\xff\n", &[&server.url()]);
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("line 1 of stdin is not UTF-8"), "{errors}");
}

#[test]
fn each_end_has_its_status() {
    let peer = Peer::listen(vec![]);
    let (status, _, errors) = connect("close\n", &[&peer.url]);
    assert_eq!(status, 4, "{errors}");
    assert!(errors.contains(r#"the server closed with 1011 "oh no""#), "{errors}");
    assert_eq!(connect("cut\n", &[&peer.url]).0, 5, "a TCP reset");
    // It speaks no HTTP/2.
    let (status, _, errors) = connect("", &[&peer.url, "--http2", "--timeout", "2"]);
    assert!(matches!(status, 1 | 3), "{status}: {errors}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(connect("", &[&format!("ws://{nobody}/")]).0, 1, "nobody listens");
}

#[test]
fn wrong_arguments_have_a_status_of_their_own() {
    for arguments in [&[][..], &["nowhere"], &["ws://a/", "--http1.1", "--http2"], &["ws://a/", "--wait", "x"]] {
        let (status, _, errors) = connect("", arguments);
        assert_eq!(status, 2, "{arguments:?}: {errors}");
    }
}

#[test]
fn a_certificate_is_checked_unless_told_not_to() {
    let (_server, url) = secure();
    let (status, _, errors) = connect("", &[&url]);
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("-k takes any certificate"), "{errors}");
    let (status, _, errors) = connect("x\n", &[&url, "-k", "-1"]);
    assert_eq!(status, 0, "{errors}");
    assert!(errors.contains("warning: the server's certificate is not checked"), "{errors}");
}
