//! What octets go over, what its TLS settles, and how TCP finds peers that are gone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

use crate::engine::driver::Abort;

/// Anything that octets go over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A transport of whatever kind: one type for all, so that what drives a connection exists once.
pub(crate) enum AnyTransport {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
    /// TLS, and what the caller brings along.
    Other(Box<dyn Transport>),
}

impl AnyTransport {
    pub(crate) fn other(transport: impl Transport + 'static) -> Self {
        Self::Other(Box::new(transport))
    }
}

impl Abort for AnyTransport {
    /// TLS that ends without a close_notify is broken off (RFC 8446 §6.1).
    fn abort(&self) {
        if let Self::Tcp(stream) = self {
            stream.set_zero_linger().ok();
        }
    }
}

impl From<TcpStream> for AnyTransport {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

#[cfg(unix)]
impl From<UnixStream> for AnyTransport {
    fn from(stream: UnixStream) -> Self {
        Self::Unix(stream)
    }
}

impl AsyncRead for AnyTransport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Other(transport) => Pin::new(transport).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for AnyTransport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, octets),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Other(transport) => Pin::new(transport).poll_write(cx, octets),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Other(transport) => Pin::new(transport).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(unix)]
            Self::Unix(stream) => stream.is_write_vectored(),
            Self::Other(transport) => transport.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(transport) => Pin::new(transport).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(transport) => Pin::new(transport).poll_shutdown(cx),
        }
    }
}

/// What ALPN calls HTTP/2 and HTTP/1.1 (RFC 7301, RFC 9113 §3.2).
#[cfg(feature = "tls")]
pub(crate) const H2: &[u8] = b"h2";
#[cfg(feature = "tls")]
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// TCP's own keep-alive (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    /// Silence after which the peer's system is asked, and time for its answer.
    time: Duration,
}

impl KeepAlive {
    /// What is asked for by default.
    pub(crate) const TIME: Duration = Duration::from_secs(60);
    /// How often a system is asked before it counts as gone.
    const PROBES: u32 = 4;
    /// Systems count in whole seconds, up to this.
    const LONGEST: Duration = Duration::from_secs(32_767);

    /// None where no time is silence.
    pub(crate) fn new(time: Duration) -> Option<Self> {
        let shortest = Duration::from_secs(Self::PROBES.into());
        (!time.is_zero()).then(|| Self { time: time.clamp(shortest, Self::LONGEST) })
    }

    /// Lets the system ask for a connection. What we have sent and nobody acknowledges has as much time (RFC 5482).
    pub(crate) fn set(self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        let keep_alive = TcpKeepalive::new().with_time(self.time).with_interval(self.time / Self::PROBES);
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "windows"))]
        let keep_alive = keep_alive.with_retries(Self::PROBES);
        socket.set_tcp_keepalive(&keep_alive)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        socket.set_tcp_user_timeout(Some(self.time * 2))?;
        Ok(())
    }
}
