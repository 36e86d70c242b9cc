//! Whose fault an error is, and whether it is worth another try.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use sockeye::error::{Error, Fault, Missing, Step};
use sockeye::{Client, Reason, Side, http2, socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

fn refused(status: u16) -> Error {
    Error::Refused(Box::new(Response::builder().status(status).body(Bytes::new()).unwrap()))
}

fn connect(source: impl Into<sockeye::BoxError>) -> Error {
    Error::Connect { step: Step::Tls, source: source.into() }
}

fn reset(code: u32) -> Error {
    Error::Reset { reason: Reason::new(code), by: Side::Server }
}

fn go_away(code: u32, debug: &str) -> Error {
    Error::GoAway { reason: Reason::new(code), by: Side::Server, debug: debug.into() }
}

#[test]
fn every_error_tells_whose_fault_it_is() {
    use Fault::{Application, Caller, Network, Peer};
    let violation = || Error::Violation(socket::Violation::Masked.into());
    let silence = Error::Violation(http2::Violation::KeepAliveTimeout.into());
    let rows = [
        (Error::Io(io::ErrorKind::BrokenPipe.into()), Network, true),
        (Error::Disconnected, Network, true),
        // RFC 9113 §7
        (reset(0x0), Peer, true),
        (reset(0x1), Peer, false),
        (reset(0x2), Peer, true),
        (reset(0x7), Peer, true),
        (reset(0x8), Peer, true),
        (reset(0xA), Peer, true),
        (reset(0xB), Peer, true),
        (reset(0xD), Peer, false),
        (reset(0xFFFF), Peer, false),
        (go_away(0x1, ""), Peer, false),
        (go_away(0x2, ""), Peer, true),
        (go_away(0xB, "too_many_pings"), Peer, true),
        (Error::Abnormal, Network, true),
        (violation(), Peer, false),
        (silence, Network, true),
        (Error::Closed, Caller, false),
        (Error::Invalid("why".into()), Caller, false),
        (Error::Timeout(Step::Answer), Network, true),
        (connect(io::Error::from(io::ErrorKind::ConnectionRefused)), Network, true),
        (connect(io::Error::from(io::ErrorKind::UnexpectedEof)), Network, true),
        // How rustls tells of a certificate that is not trusted.
        (connect(io::Error::from(io::ErrorKind::InvalidData)), Peer, false),
        (connect(refused(407)), Peer, false),
        (connect(refused(503)), Peer, true),
        (Error::NotOffered(Missing::Http2), Peer, false),
        (refused(301), Peer, false),
        (refused(401), Peer, false),
        (refused(404), Peer, false),
        (refused(408), Peer, true),
        (refused(425), Peer, true),
        (refused(429), Peer, true),
        (refused(500), Peer, false),
        (refused(502), Peer, true),
        (refused(503), Peer, true),
        (refused(504), Peer, true),
        (Error::Handshake("why".into()), Peer, false),
        (Error::application("why"), Application, false),
    ];
    for (error, fault, retryable) in rows {
        assert_eq!((error.fault(), error.is_retryable()), (fault, retryable), "{error:?}");
        let text = error.to_string();
        assert!(!text.is_empty() && !text.ends_with('.'), "{text}");
    }
}

/// An error's text tells what led to it, and no report says that twice.
#[test]
fn a_text_includes_its_causes_once() {
    for error in
        [Error::Invalid("why".into()), Error::Handshake("why".into()), connect("why"), Error::application("why")]
    {
        assert!(error.to_string().ends_with(": why"), "{error}");
        assert!(error.source().is_none(), "{error}");
    }
    let deeper = connect(connect(io::Error::other("why")));
    assert_eq!(deeper.to_string(), "no connection: TLS failed: no connection: TLS failed: why");
}

/// RFC 9113 §7: codes by their names, and who sent them.
#[test]
fn an_end_names_its_reason_and_its_side() {
    let rows = [
        (reset(0x7), "the stream was reset by the server: REFUSED_STREAM (RFC 9113 §7)"),
        (
            Error::Reset { reason: Reason::CANCEL, by: Side::Client },
            "the stream was reset by the client: CANCEL (RFC 9113 §7)",
        ),
        (reset(0xFFFF), "the stream was reset by the server: 0xffff (RFC 9113 §7)"),
        (go_away(0x1, ""), "the server ended the connection by GOAWAY: PROTOCOL_ERROR (RFC 9113 §7)"),
        (
            go_away(0xB, "too\tmany"),
            "the server ended the connection by GOAWAY: ENHANCE_YOUR_CALM (RFC 9113 §7), saying \"too\\tmany\"",
        ),
    ];
    for (error, text) in rows {
        assert_eq!(error.to_string(), text);
    }
}

/// Many servers end TLS without the close_notify that RFC 8446 §6.1 asks for, which tokio-rustls has as an error of its own.
#[tokio::test]
async fn an_end_before_the_answer_is_no_other_with_tls() {
    for is_cut in [true, false] {
        let builder = Client::builder().http1_only().connector(move |_| async move { Ok(Ends { is_cut }) });
        let client = builder.connect("ws://example.com/").await.unwrap();
        let error = client.open("/").await.unwrap_err();
        assert!(matches!(error, Error::Disconnected), "{is_cut}: {error:?}");
    }
}

/// A transport that takes what is written, and then ends.
struct Ends {
    is_cut: bool,
}

impl AsyncRead for Ends {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(if self.is_cut { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }
}

impl AsyncWrite for Ends {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
