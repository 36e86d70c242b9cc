//! The first octets that a server said, by which a protocol is known that is not the one that was spoken to it; or its alert.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use sockeye::Error;
use sockeye::error::Missing;
use sockeye_proto::is_tls_alert;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};

use crate::words::{of_tls, tls_of};

/// Octets that are kept: enough for a frame's head, and for a line to show.
const SIZE: usize = 80;
/// Where the type stands in the head of an HTTP/2 frame, and the stream's identifier ends (RFC 9113 §4.1).
const FRAME_TYPE: usize = 3;
const FRAME_HEAD: usize = 9;
/// What a server of HTTP/2 can say first: SETTINGS, or GOAWAY, on stream 0 (RFC 9113 §3.4, §6.8).
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

#[derive(Clone, Default)]
pub(crate) struct Beginning {
    octets: Vec<u8>,
    /// What TLS said in place of any.
    refusal: Option<String>,
}

impl Beginning {
    pub(crate) fn add(&mut self, came: &[u8]) {
        let room = SIZE - self.octets.len();
        self.octets.extend_from_slice(&came[..came.len().min(room)]);
    }

    /// What the server said in place of HTTP/2, if it said anything.
    pub(crate) fn other_than_http2(&self) -> Option<String> {
        match &*self.octets {
            [] => None,
            octets if is_http2(octets) => None,
            octets if octets.starts_with(b"HTTP/1.") => Some("the server answered in HTTP/1.x".to_owned()),
            octets => Some(other(octets)),
        }
    }

    /// What the server said in place of HTTP/1.1, if it said anything.
    pub(crate) fn other_than_http1(&self) -> Option<String> {
        match &*self.octets {
            [] => self.refusal.clone(),
            octets if octets.starts_with(b"HTTP/1.") => None,
            octets if is_http2(octets) => Some("the server answered in HTTP/2".to_owned()),
            octets => Some(other(octets)),
        }
    }
}

fn is_http2(octets: &[u8]) -> bool {
    let is_first = matches!(octets.get(FRAME_TYPE), Some(&SETTINGS | &GOAWAY));
    is_first && octets.len() >= FRAME_HEAD && octets[FRAME_TYPE + 2..FRAME_HEAD] == [0; 4]
}

fn other(octets: &[u8]) -> String {
    if is_tls_alert(octets) {
        return Error::NotOffered(Missing::Cleartext).to_string();
    }
    let line = octets.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
    match std::str::from_utf8(line).ok().filter(|line| !line.is_empty() && !line.contains(char::is_control)) {
        Some(line) => format!("the server answered in no HTTP: {line}"),
        None => "the server answered in no HTTP".to_owned(),
    }
}

/// A transport whose first octets are remembered.
pub(crate) struct Remembering<T> {
    transport: T,
    beginning: Arc<Mutex<Beginning>>,
}

impl<T> Remembering<T> {
    /// The transport, and what will have come first on it.
    pub(crate) fn new(transport: T) -> (Self, Arc<Mutex<Beginning>>) {
        let beginning = Arc::<Mutex<Beginning>>::default();
        (Self { transport, beginning: beginning.clone() }, beginning)
    }

    pub(crate) fn into_inner(self) -> T {
        self.transport
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Remembering<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.transport).poll_read(cx, buffer));
        let mut beginning = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        match &read {
            Ok(()) => beginning.add(&buffer.filled()[before..]),
            Err(error) => beginning.refusal = tls_of(error).map(of_tls),
        }
        drop(beginning);
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Remembering<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Beginning;

    fn after(octets: &[u8]) -> Beginning {
        let mut beginning = Beginning::default();
        octets.iter().for_each(|octet| beginning.add(&[*octet]));
        beginning
    }

    #[test]
    fn a_protocol_is_known_by_its_first_octets() {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        for octets in [&settings[..], &goaway] {
            assert_eq!(after(octets).other_than_http2(), None);
            assert_eq!(after(octets).other_than_http1().unwrap(), "the server answered in HTTP/2");
        }
        let http1 = after(b"HTTP/1.1 400 Bad Request\r\n");
        assert_eq!((http1.other_than_http1(), http1.other_than_http2().is_some()), (None, true));
        for (octets, part) in
            [(&b"\x15\x03\x01\0\x02\x02\x46"[..], "wss://"), (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2")]
        {
            assert!(after(octets).other_than_http1().unwrap().contains(part));
            assert!(after(octets).other_than_http2().unwrap().contains(part));
        }
        assert_eq!(after(b"").other_than_http1(), None);
        assert!(after(&[b'x'; 1000]).other_than_http1().unwrap().len() < 200);
    }
}
