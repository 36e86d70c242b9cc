//! Connections to the server: TCP and TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::failure::{Failure, Kind};
use super::plan::{Plan, alpn};

/// Connections from one address of this machine's: fewer than the ports that systems give out (Linux: 28,232).
const CONNECTIONS_PER_SOURCE: usize = 20_000;

/// Octets in cleartext or under TLS.
pub(super) type Transport = Either<TcpStream, Box<TlsStream<TcpStream>>>;

impl Plan {
    /// Makes the connection of this number.
    pub(super) async fn dial(&self, number: usize) -> Result<Transport, Failure> {
        let stream = timeout(self.timeout, self.connect(number)).await;
        let stream = stream.map_err(|_| Failure::timeout("TCP"))?.map_err(|error| refusal(&error))?;
        // A message is not to wait for the acknowledgement of the one before.
        stream.set_nodelay(true).ok();
        let Some((connector, name)) = &self.tls else { return Ok(Either::Left(stream)) };
        let secured = timeout(self.timeout, connector.connect(name.clone(), stream)).await;
        let secured = secured.map_err(|_| Failure::timeout("TLS"))?.map_err(|error| untrusted(&error))?;
        let wanted = alpn(self.http);
        match secured.get_ref().1.alpn_protocol() {
            Some(chosen) if chosen == wanted => {}
            // RFC 9113 §3.2 wants ALPN; HTTP/1.1 does without.
            None if wanted == b"http/1.1" => {}
            _ => {
                let what = format!("by ALPN the server did not choose {}", String::from_utf8_lossy(wanted));
                return Err(Failure::new(Kind::Tls, what));
            }
        }
        Ok(Either::Right(Box::new(secured)))
    }

    /// Tries the address that worked last, then the others.
    async fn connect(&self, number: usize) -> io::Result<TcpStream> {
        let preferred = self.address.load(Ordering::Relaxed);
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for index in (preferred..self.addresses.len()).chain(0..preferred) {
            result = connect(self.addresses[index], number).await;
            if result.is_ok() {
                self.address.store(index, Ordering::Relaxed);
                break;
            }
        }
        result
    }
}

async fn connect(address: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source(address.ip(), number) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(address).await
}

/// Where a connection to this machine itself comes from, once the ports of the usual address are used up: the whole of
/// 127.0.0.0/8 is here (on Linux).
fn source(target: IpAddr, number: usize) -> Option<IpAddr> {
    let group = u32::try_from(number / CONNECTIONS_PER_SOURCE).ok().filter(|group| *group > 0)?;
    let is_local = cfg!(target_os = "linux") && target.is_ipv4() && target.is_loopback();
    is_local.then(|| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + group).into())
}

fn refusal(error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no free port for another connection to the server (net.ipv4.ip_local_port_range)"
                .to_owned()
        }
        _ => error.to_string(),
    };
    Failure::new(Kind::Connect, what)
}

fn untrusted(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let what = match inner {
        Some(error @ rustls::Error::InvalidCertificate(_)) => format!("{error} (-k takes any certificate)"),
        _ => error.to_string(),
    };
    Failure::new(Kind::Tls, what)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{CONNECTIONS_PER_SOURCE, connect, source};

    #[test]
    #[cfg(target_os = "linux")]
    fn many_connections_to_this_machine_have_many_sources() {
        let local: IpAddr = "127.0.0.1".parse().unwrap();
        assert_eq!(source(local, CONNECTIONS_PER_SOURCE - 1), None);
        assert_eq!(source(local, CONNECTIONS_PER_SOURCE), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(source(local, 300 * CONNECTIONS_PER_SOURCE), Some("127.0.1.45".parse().unwrap()));
        for elsewhere in ["::1", "192.0.2.1"] {
            assert_eq!(source(elsewhere.parse().unwrap(), 1_000_000), None);
        }
    }

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn the_source_is_what_the_server_sees() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        for (number, expected) in [(0, "127.0.0.1"), (CONNECTIONS_PER_SOURCE, "127.0.0.2")] {
            let _connection = connect(address, number).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip().to_string(), expected);
        }
    }
}
