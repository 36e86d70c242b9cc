//! What the echo servers have in common, so that nothing of it makes a difference between them: arguments, the accepting of
//! connections, and TLS (rustls with ring, a certificate made on the spot).
//!
//! A server is started as `NAME-echo ADDRESS [--tls]`. Under `/echo` it sends each message back; under `/broadcast` it
//! sends each message to all sockets that are open there, the sender's too.

mod arguments;
mod tls;
mod transport;

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use arguments::Arguments;
pub use tls::{certified_config, server_config};
pub use transport::Transport;

/// A result, with whatever error a peer has.
pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Streams that a connection may have open: none of the servers is to be what limits a workload.
pub const MAX_CONCURRENT_STREAMS: u32 = 100_000;
/// Octets of a stream's and of a connection's window, as hyper has them by default.
pub const WINDOW: u32 = 1 << 20;
/// Messages that a socket of `/broadcast` may be behind.
pub const BACKLOG: usize = 1024;

/// The protocol names of ALPN.
pub const HTTP1: &[u8] = b"http/1.1";
pub const HTTP2: &[u8] = b"h2";

/// Serves each connection in a task of its own, without end.
///
/// # Errors
///
/// The arguments are wrong, the address is taken, or nothing can be accepted any more.
pub async fn serve<F>(alpn: &[u8], serve: impl Fn(Transport) -> F + Clone + Send + 'static) -> Result
where
    F: Future<Output = Result> + Send + 'static,
{
    let arguments = Arguments::parse()?;
    let acceptor = if arguments.tls { Some(TlsAcceptor::from(Arc::new(server_config(alpn)?))) } else { None };
    let listener = TcpListener::bind(&arguments.address).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        match acceptor.clone() {
            // Not one task for both: it would have room for a TLS handshake in cleartext too.
            None => {
                tokio::spawn(serve(Transport::Cleartext(stream)));
            }
            Some(acceptor) => {
                let serve = serve.clone();
                tokio::spawn(async move {
                    let stream = acceptor.accept(stream).await?;
                    serve(Transport::Tls(Box::new(stream))).await
                });
            }
        }
    }
}
