//! Which version of HTTP an origin takes WebSockets by.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::origin::Origin;
use crate::engine::now;

/// How an origin takes WebSockets, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    #[default]
    Unknown,
    /// A socket has opened over HTTP/2: what the server says no to there is no matter of the version.
    Http2,
    /// HTTP/2 does not do.
    Http1,
}

/// After that an origin is asked again.
const TIME: Duration = Duration::from_secs(3600);
/// Origins remembered at most; what fills it is the caller's doing, and forgetting costs one connection.
const MAX_ORIGINS: usize = 1024;

/// What the clients of one [`ClientBuilder`](super::ClientBuilder) have learnt.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<Origin, (Way, Instant)>>);

impl Memory {
    pub(super) fn remember(&self, origin: &Origin, way: Way) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.len() >= MAX_ORIGINS {
            let now = now();
            origins.retain(|_, (_, since)| now.duration_since(*since) < TIME);
            if origins.len() >= MAX_ORIGINS {
                origins.clear();
            }
        }
        origins.insert(origin.clone(), (way, now()));
    }

    pub(super) fn recall(&self, origin: &Origin) -> Way {
        let origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = origins.get(origin).filter(|(_, since)| now().duration_since(*since) < TIME);
        known.map_or(Way::Unknown, |(way, _)| *way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::origin::Target;

    #[test]
    fn what_is_remembered_is_bounded() {
        let memory = Memory::default();
        let origin = |number: usize| Target::parse(&format!("wss://{number}.example")).unwrap().origin;
        for number in 0..3 * MAX_ORIGINS {
            memory.remember(&origin(number), Way::Http1);
            assert_eq!(memory.recall(&origin(number)), Way::Http1);
        }
        assert!(memory.0.into_inner().unwrap().len() <= MAX_ORIGINS);
    }
}
