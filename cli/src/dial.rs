//! TCP and TLS, for every command that makes its connections itself; `reach` says where they lead.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{InvalidDnsNameError, ServerName};
use rustls::{AlertDescription, ClientConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::words;

/// Octets in cleartext: TCP, which has no detour, or whatever else carries them.
pub(crate) type Stream = Either<TcpStream, Box<dyn Carrier>>;

/// Octets in cleartext or under TLS.
pub(crate) type Transport = Either<Stream, Box<TlsStream<Stream>>>;

/// What carries octets to and fro.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}

/// Connects by TCP, from an address of this machine's if one is given.
pub(crate) async fn connect(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(address).await?;
    // A message is not to wait for the acknowledgement of the one before.
    stream.set_nodelay(true).ok();
    find_cut_links(&stream).ok();
    Ok(stream)
}

/// Has the system find out that the server's is gone (RFC 9293 §3.8.4, RFC 5482): nothing else would tell of it where a conversation
/// over HTTP/1.1 is silent.
fn find_cut_links(stream: &TcpStream) -> io::Result<()> {
    const SILENCE: Duration = Duration::from_secs(60);
    const PROBES: u32 = 4;
    let socket = SockRef::from(stream);
    let keep_alive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / PROBES);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "windows"))]
    let keep_alive = keep_alive.with_retries(PROBES);
    socket.set_tcp_keepalive(&keep_alive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(SILENCE * 2))?;
    Ok(())
}

/// TLS with one server.
pub(crate) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Offers these protocols by ALPN (RFC 7301).
    ///
    /// # Errors
    ///
    /// The host is no name that a certificate can have.
    pub(crate) fn new(config: &ClientConfig, host: &str, alpn: &[&[u8]]) -> Result<Self, InvalidDnsNameError> {
        let name = ServerName::try_from(host.to_owned())?;
        let mut config = config.clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Does the handshake; or says in words what is wrong.
    pub(crate) async fn secure(&self, stream: Stream) -> Result<Box<TlsStream<Stream>>, String> {
        match self.connector.connect(self.name.clone(), stream).await {
            Ok(secured) => Ok(Box::new(secured)),
            Err(error) => Err(self.describe(&error)),
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        match words::tls_of(error) {
            // RFC 7301 §3.2
            Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
                let offered = self.connector.config().alpn_protocols.join(&b" or "[..]);
                format!("by ALPN the server does not take {}", String::from_utf8_lossy(&offered))
            }
            // What rustls calls "tls handshake eof".
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the server ended the connection within the TLS handshake".to_owned()
            }
            _ => describe(error),
        }
    }
}

/// An error in few words, without its number.
pub(crate) fn describe(error: &io::Error) -> String {
    if let Some(error) = words::tls_of(error) {
        return words::of_tls(error);
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9293 §3.8.4
    #[tokio::test]
    async fn a_server_whose_link_is_cut_is_found_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(listener.local_addr().unwrap(), None).await.unwrap();
        assert!(SockRef::from(&stream).keepalive().unwrap());
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&stream).tcp_user_timeout().unwrap(), Some(Duration::from_secs(120)));
    }
}
