//! How many connections a server has at once: in all, of one address, and in the places that are kept for who looks after it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio::task::AbortHandle;

/// What a server takes, by its settings.
#[derive(Clone)]
pub(crate) struct Doors {
    /// Connections at once.
    pub(crate) max: usize,
    /// Of these, places for those that [`is_kept_for`](Self::is_kept_for) names.
    pub(crate) kept: usize,
    /// Whether a place is kept for who comes from there.
    pub(crate) is_kept_for: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
    /// Connections of one address at once, or of one network of IPv6.
    pub(crate) max_per_address: Option<usize>,
}

impl fmt::Debug for Doors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max, kept, max_per_address, .. } = self;
        let mut debug = f.debug_struct("Doors");
        debug.field("max", max).field("kept", kept).field("max_per_address", max_per_address).finish_non_exhaustive()
    }
}

/// Where a connection that was taken stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where all stand.
    Ordinary,
    /// In a place that was kept for it, until a later one needs that.
    Kept,
}

/// Why a connection is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are as many as there may be.
    Full,
    /// There are as many of its address.
    ByAddress,
}

/// The connections that there are, as far as their number is limited.
#[derive(Default)]
pub(crate) struct Admission {
    /// How many of each network there are; empty where nobody asks.
    networks: HashMap<Network, usize>,
    /// The tasks of those that stand in kept places, oldest first, and of some that have ended.
    kept: VecDeque<AbortHandle>,
}

impl Admission {
    /// Takes one more connection where there are `open` of them, or says why not. Beside its place, the one that has to give
    /// way to it.
    pub(crate) fn admit(
        &mut self,
        doors: &Doors,
        open: usize,
        peer: Option<IpAddr>,
    ) -> Result<(Place, Option<AbortHandle>), Refused> {
        let (place, displaced) = self.find_place(doors, open, peer).ok_or(Refused::Full)?;
        if let (Some(max), Some(peer)) = (doors.max_per_address, peer) {
            let count = self.networks.entry(Network::of(peer)).or_default();
            if *count >= max.max(1) {
                return Err(Refused::ByAddress);
            }
            *count += 1;
        }
        if displaced {
            return Ok((place, self.kept.pop_front()));
        }
        Ok((place, None))
    }

    /// A place, and whether somebody has to leave it first.
    fn find_place(&self, doors: &Doors, open: usize, peer: Option<IpAddr>) -> Option<(Place, bool)> {
        let is_full = open >= doors.max;
        match () {
            () if open < doors.max.saturating_sub(doors.kept) => Some((Place::Ordinary, false)),
            () if !peer.is_some_and(|peer| (doors.is_kept_for)(peer)) => None,
            () if is_full && self.kept.is_empty() => None,
            () => Some((Place::Kept, is_full)),
        }
    }

    /// The task of a connection that stands in a kept place.
    pub(crate) fn keep(&mut self, task: AbortHandle) {
        self.kept.retain(|task| !task.is_finished());
        self.kept.push_back(task);
    }

    /// A connection that was [taken](Self::admit) is over.
    pub(crate) fn leave(&mut self, peer: Option<IpAddr>) {
        if self.networks.is_empty() {
            return;
        }
        let Some(network) = peer.map(Network::of) else { return };
        if let Some(count) = self.networks.get_mut(&network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
    }
}

/// Addresses that count as one: of IPv6 the 64 bits that a subscriber gets, who has all addresses below them (RFC 6177).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Network {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        // A socket that takes both has IPv4 addresses mapped into IPv6 (RFC 4291 §2.5.5.2).
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doors(max: usize, kept: usize, max_per_address: Option<usize>) -> Doors {
        Doors { max, kept, is_kept_for: Arc::new(|address| address.is_loopback()), max_per_address }
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// A task that does not end by itself.
    fn task() -> AbortHandle {
        tokio::spawn(std::future::pending::<()>()).abort_handle()
    }

    #[tokio::test]
    async fn the_last_places_are_kept() {
        let mut admission = Admission::default();
        let doors = doors(10, 2, None);
        let far = address("192.0.2.1");
        for open in 0..8 {
            assert_eq!(admission.admit(&doors, open, far).unwrap().0, Place::Ordinary);
        }
        for open in 8..10 {
            assert_eq!(admission.admit(&doors, open, far).unwrap_err(), Refused::Full);
            let (place, displaced) = admission.admit(&doors, open, address("127.0.0.1")).unwrap();
            assert!(place == Place::Kept && displaced.is_none());
            admission.keep(task());
        }
        // Nobody's address is known to be none that a place is kept for.
        assert_eq!(admission.admit(&doors, 8, None).unwrap_err(), Refused::Full);
    }

    /// Who looks after a server is let in, however many came before: the oldest in a kept place gives way.
    #[tokio::test]
    async fn the_oldest_in_a_kept_place_gives_way() {
        let mut admission = Admission::default();
        let doors = doors(10, 2, None);
        let tasks = [task(), task()];
        tasks.iter().for_each(|task| admission.keep(task.clone()));
        for task in &tasks {
            let (place, displaced) = admission.admit(&doors, 10, address("::1")).unwrap();
            assert_eq!((place, displaced.unwrap().id()), (Place::Kept, task.id()));
        }
        // Without a kept place there is none to be had.
        assert_eq!(admission.admit(&doors, 10, address("::1")).unwrap_err(), Refused::Full);
    }

    #[tokio::test]
    async fn tasks_that_have_ended_are_forgotten() {
        let mut admission = Admission::default();
        for _ in 0..100 {
            let task = tokio::spawn(async {});
            admission.keep(task.abort_handle());
            task.await.unwrap();
        }
        assert!(admission.kept.len() <= 1);
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let mut admission = Admission::default();
        let doors = doors(100, 0, Some(2));
        let networks = [
            ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"],
            ["192.0.2.2", "192.0.2.2", "192.0.2.2"],
            ["2001:db8:0:1::1", "2001:db8:0:1:ffff::", "2001:db8:0:1::2"],
            ["2001:db8:0:2::1", "2001:db8:0:2::1", "2001:db8:0:2::1"],
        ];
        for [first, second, third] in networks {
            admission.admit(&doors, 0, address(first)).unwrap();
            admission.admit(&doors, 0, address(second)).unwrap();
            assert_eq!(admission.admit(&doors, 0, address(third)).unwrap_err(), Refused::ByAddress);
            admission.leave(address(second));
            admission.admit(&doors, 0, address(third)).unwrap();
        }
        for [first, second, _] in networks {
            admission.leave(address(first));
            admission.leave(address(second));
        }
        assert!(admission.networks.is_empty(), "what is gone takes no memory");
        // Where there is no address, nothing is counted.
        for _ in 0..10 {
            admission.admit(&doors, 0, None).unwrap();
        }
        assert!(admission.networks.is_empty());
    }
}
