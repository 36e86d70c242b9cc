//! How many connections a server takes: its settings.

use std::net::IpAddr;
use std::sync::Arc;

use crate::engine::admission::Doors;
use crate::server::Server;

/// What the caller said of it.
#[derive(Clone)]
pub(crate) struct AdmissionSettings {
    /// None says that the limit on open files is to be asked.
    max: Option<usize>,
    kept: usize,
    is_kept_for: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    max_per_address: Option<usize>,
}

/// Enough for a few health checks, and a look by a person, at the same moment.
const KEPT: usize = 16;
/// Connections at most, however many files may be open.
const MOST: usize = 1 << 20;

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self { max: None, kept: KEPT, is_kept_for: Arc::new(is_loopback), max_per_address: None }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

impl AdmissionSettings {
    /// What holds now.
    pub(super) fn doors(&self) -> Doors {
        let Self { max, kept, is_kept_for, max_per_address } = self.clone();
        let max = max.unwrap_or_else(by_open_files);
        // Of a few places most are for everybody.
        Doors { max, kept: kept.min(max / 4), is_kept_for, max_per_address }
    }
}

impl std::fmt::Debug for AdmissionSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.doors().fmt(f)
    }
}

/// As many connections as leave some of the files that may be open to the application: an eighth, and 32 at least.
fn by_open_files() -> usize {
    let Some(files) = open_files() else { return MOST };
    files.saturating_sub((files / 8).max(32)).clamp(1, MOST)
}

/// The limit on open files of this process, of which each connection is one.
#[cfg(unix)]
fn open_files() -> Option<usize> {
    use nix::sys::resource::{Resource, getrlimit};
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(usize::try_from(soft).unwrap_or(usize::MAX))
}

/// This system has no such limit.
#[cfg(not(unix))]
fn open_files() -> Option<usize> {
    None
}

impl Server {
    /// Connections at once, those included whose handshake is under way; by default seven eighths of the files that the
    /// process may have open when it begins to serve, and 2²⁰ at most. More are reset as soon as they are accepted, which
    /// costs next to nothing, and counted by [`Counter::ConnectionsRefused`](crate::Counter::ConnectionsRefused).
    ///
    /// A connection is a file to the system. Without a limit those who connect and say nothing could have all of them, and the
    /// application could not even open its log. Where memory is scarcer than files, take what is left for connections, divided
    /// by what one of them [can hold](crate#memory).
    ///
    /// Some of these places [are kept](Self::keep_places) for those who look after the server.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.admission.max = Some(connections);
        self
    }

    /// Connections of one IPv4 address at once, or of one network of IPv6 (a /64, which is the least that a subscriber gets);
    /// one at least. Off by default, since behind one address there may be a proxy or a whole company. More are reset as soon as they are
    /// accepted: see [`Counter::ConnectionsRefusedByAddress`](crate::Counter::ConnectionsRefusedByAddress).
    ///
    /// A browser makes one or two connections of HTTP/2 to an origin, and one for each WebSocket over HTTP/1.1.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.admission.max_per_address = Some(connections);
        self
    }

    /// Keeps some of the places of [`max_connections`](Self::max_connections), though no more than a quarter, for connections
    /// from addresses that `is_for` names: for the health checks of whoever would otherwise take a server that is full for one
    /// that is dead, and restart it. By default 16, for the loopback addresses. The addresses of a load balancer belong here
    /// only where its checks come from others than its traffic.
    ///
    /// Who comes from there is never refused for the number of all. Once the kept places are taken the oldest connection in
    /// one of them is cut off for the next ([`Counter::ConnectionsDisplaced`](crate::Counter::ConnectionsDisplaced)), so that
    /// nobody can fill them: a check is over long before as many others have come.
    ///
    /// ```
    /// use std::net::IpAddr;
    ///
    /// let server = sockeye::Server::new()
    ///     .max_connections(50_000)
    ///     .keep_places(8, |address| address.is_loopback() || address == IpAddr::from([10, 0, 0, 7]));
    /// ```
    #[must_use]
    pub fn keep_places(mut self, places: usize, is_for: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Self {
        self.admission.kept = places;
        self.admission.is_kept_for = Arc::new(is_for);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_files_are_left_to_the_application() {
        let doors = Server::new().admission.doors();
        let files = open_files().unwrap_or(MOST);
        assert!(doors.max >= 1 && doors.max <= MOST, "{doors:?}");
        assert!(files < 64 || doors.max + 32 <= files || doors.max == MOST, "{doors:?} of {files}");
    }

    #[test]
    fn of_few_places_few_are_kept() {
        for (max, kept) in [(0, 0), (1, 0), (3, 0), (4, 1), (10, 2), (64, 16), (1000, 16)] {
            assert_eq!(Server::new().max_connections(max).admission.doors().kept, kept);
        }
    }

    #[test]
    fn loopback_addresses_are_known_in_either_form() {
        for (address, expected) in
            [("127.0.0.1", true), ("127.8.8.8", true), ("::1", true), ("::ffff:127.0.0.1", true), ("192.0.2.1", false)]
        {
            assert_eq!(is_loopback(address.parse().unwrap()), expected, "{address}");
        }
    }
}
