//! How many connections `sockeye serve` takes.

use std::net::IpAddr;
use std::str::FromStr;

use sockeye::Server;

/// Places that are kept, where nothing is said, and for whom.
const KEEP_PLACES: u32 = 16;
const KEEP_FOR: [&str; 2] = ["127.0.0.0/8", "::1"];

#[derive(clap::Args, Clone, Debug, PartialEq)]
pub(crate) struct Admission {
    /// Connections at once; more are reset at once. By default seven eighths of the open files that the system allows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,
    /// Connections at once of one IPv4 address, or of one /64 of IPv6. By default there is no such limit.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections_per_address: Option<u32>,
    /// Of all connections, places that are kept for health checks: for those from the addresses of --keep-for; 16 by default.
    #[arg(long, value_name = "N")]
    pub(crate) keep_places: Option<u32>,
    /// An address or a network, such as 10.0.0.0/8, that the places are kept for; may be repeated. 127.0.0.0/8 and ::1 by default.
    #[arg(long, value_name = "ADDR[/BITS]")]
    pub(crate) keep_for: Vec<Network>,
}

impl Admission {
    /// What a file says, where no flag does.
    pub(crate) fn or(self, file: Self) -> Self {
        Self {
            max_connections: self.max_connections.or(file.max_connections),
            max_connections_per_address: self.max_connections_per_address.or(file.max_connections_per_address),
            keep_places: self.keep_places.or(file.keep_places),
            keep_for: if self.keep_for.is_empty() { file.keep_for } else { self.keep_for },
        }
    }

    pub(crate) fn apply(self, mut server: Server) -> Server {
        if let Some(connections) = self.max_connections {
            server = server.max_connections(connections as usize);
        }
        if let Some(connections) = self.max_connections_per_address {
            server = server.max_connections_per_address(connections as usize);
        }
        let networks = match &self.keep_for[..] {
            [] => KEEP_FOR.iter().filter_map(|network| network.parse().ok()).collect(),
            told => told.to_vec(),
        };
        server.keep_places(self.keep_places.unwrap_or(KEEP_PLACES) as usize, move |address| {
            networks.iter().any(|network: &Network| network.contains(address))
        })
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                begin_alike(network.to_bits().into(), address.to_bits().into(), u32::BITS - self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                begin_alike(network.to_bits(), address.to_bits(), u128::BITS - self.bits)
            }
            _ => false,
        }
    }
}

/// Whether two numbers differ in no more than their last bits.
fn begin_alike(one: u128, other: u128, last: u32) -> bool {
    (one ^ other).checked_shr(last).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "an address is such as 192.0.2.7 or 2001:db8::7, and a network such as 10.0.0.0/8";
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| WRONG)?;
        let most = if address.is_ipv4() { u32::BITS } else { u128::BITS };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| WRONG)?;
        if bits > most { Err(WRONG) } else { Ok(Self { address, bits }) }
    }
}

/// Raises this process's limit on open files, of which each connection is one, as far as it may by itself.
#[cfg(unix)]
pub(crate) fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, soft, hard, "the limit on open files stays as it is");
    }
}

/// This system has no such limit.
#[cfg(not(unix))]
pub(crate) fn raise_open_files() {}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(network: &str, address: &str) -> bool {
        network.parse::<Network>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/31", "192.0.2.6", "192.0.2.8"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "ffff::", "127.0.0.1"),
            ("127.0.0.0/8", "::ffff:127.0.0.1", "::ffff:128.0.0.1"),
        ] {
            assert!(contains(network, inside), "{inside} is in {network}");
            assert!(!contains(network, outside), "{outside} is not in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "localhost", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::1/129", "10.0.0.0/", "/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
