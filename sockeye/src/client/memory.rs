//! Which origins take WebSockets over HTTP/1.1 only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::origin::Origin;
use crate::now;

/// After that an origin is asked again.
const TIME: Duration = Duration::from_secs(3600);
/// Origins remembered at most; what fills it is the caller's doing, and forgetting costs one connection.
const MAX_ORIGINS: usize = 1024;

/// What the clients of one [`ClientBuilder`](super::ClientBuilder) have learnt.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<Origin, Instant>>);

impl Memory {
    pub(super) fn remember(&self, origin: &Origin) {
        let mut origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if origins.len() >= MAX_ORIGINS {
            let now = now();
            origins.retain(|_, since| now.duration_since(*since) < TIME);
            if origins.len() >= MAX_ORIGINS {
                origins.clear();
            }
        }
        origins.insert(origin.clone(), now());
    }

    pub(super) fn recalls(&self, origin: &Origin) -> bool {
        let origins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        origins.get(origin).is_some_and(|since| now().duration_since(*since) < TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::super::origin::Target;
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded() {
        let memory = Memory::default();
        let origin = |number: usize| Target::parse(&format!("wss://{number}.example")).unwrap().origin;
        for number in 0..3 * MAX_ORIGINS {
            memory.remember(&origin(number));
            assert!(memory.recalls(&origin(number)));
        }
        assert!(memory.0.into_inner().unwrap().len() <= MAX_ORIGINS);
    }
}
