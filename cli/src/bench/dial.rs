//! Connections to the server: which of its addresses, from which of ours, and what goes wrong.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;

use tokio::time::timeout;

use super::failure::{Failure, Kind};
use super::plan::{Plan, alpn};
use crate::dial::{Stream, Transport, describe};
use crate::reach::Place;

/// Connections from one address of this machine's: fewer than the ports that systems give out (Linux: 28,232).
const CONNECTIONS_PER_SOURCE: usize = 20_000;

impl Plan {
    /// Makes the connection of this number.
    pub(super) async fn dial(&self, number: usize) -> Result<Transport, Failure> {
        let stream = timeout(self.timeout, self.connect(number)).await;
        let stream = stream.map_err(|_| Failure::timeout("TCP"))?.map_err(|error| self.refusal(&error))?;
        let passed = timeout(self.timeout, self.route.pass(stream)).await;
        let passed = passed.map_err(|_| Failure::timeout("the proxy's answer"))?;
        let stream = passed.map_err(|error| Failure::new(Kind::Connect, error.to_string()))?;
        let Some(tls) = &self.tls else { return Ok(Transport::Left(stream)) };
        let secured = timeout(self.timeout, tls.secure(stream)).await;
        let secured = secured.map_err(|_| Failure::timeout("TLS"))?.map_err(|what| Failure::new(Kind::Tls, what))?;
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
        Ok(Transport::Right(secured))
    }

    /// Tries the place that worked last, then the others, none of which takes the time of all.
    async fn connect(&self, number: usize) -> io::Result<Stream> {
        let preferred = self.place.load(Ordering::Relaxed);
        let limit = self.timeout / u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
        for index in (preferred..self.places.len()).chain(0..preferred) {
            let place = &self.places[index];
            let source = match place {
                Place::Tcp(address) => source(address.ip(), number),
                Place::Unix(_) => None,
            };
            result =
                timeout(limit, self.route.connect(place, source)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
            if result.is_ok() {
                self.place.store(index, Ordering::Relaxed);
                break;
            }
        }
        result
    }

    fn refusal(&self, error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::TimedOut {
            return Failure::timeout("TCP");
        }
        let what = match (error.kind(), self.route.via()) {
            (io::ErrorKind::AddrNotAvailable, _) => {
                "this machine has no free port for another connection to the server (net.ipv4.ip_local_port_range)"
                    .to_owned()
            }
            (_, None) => describe(error),
            (_, Some(via)) => format!("{via}: {}", describe(error)),
        };
        Failure::new(Kind::Connect, what)
    }
}

/// Where a connection to this machine itself comes from, once the ports of the usual address are used up: the whole of
/// 127.0.0.0/8 is here (on Linux).
fn source(target: IpAddr, number: usize) -> Option<IpAddr> {
    let group = u32::try_from(number / CONNECTIONS_PER_SOURCE).ok().filter(|group| *group > 0)?;
    let is_local = cfg!(target_os = "linux") && target.is_ipv4() && target.is_loopback();
    is_local.then(|| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + group).into())
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{CONNECTIONS_PER_SOURCE, source};
    use crate::dial::connect;

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
            let _connection = connect(address, source(address.ip(), number)).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer.ip().to_string(), expected);
        }
    }
}
