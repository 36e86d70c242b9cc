//! The names that an upstream's connections of HTTP/2 are for, where clients choose them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::uri::Authority;

/// Names at once. An origin has a few; a client can think of any number, and each is a connection of its own in hyper's pool.
const AT_MOST: usize = 256;

/// The names asked for lately. A name is forgotten when the pool has no idle connection for it any more.
#[derive(Debug)]
pub(super) struct Names {
    asked: Mutex<HashMap<Authority, Instant>>,
    kept: Duration,
}

impl Names {
    /// A connection that nobody uses is kept for so long.
    pub(super) fn new(kept: Duration) -> Self {
        Self { asked: Mutex::default(), kept }
    }

    /// Whether there may be a connection for this name.
    pub(super) fn admit(&self, name: &Authority, now: Instant) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = asked.get_mut(name) {
            *last = now;
            return true;
        }
        if asked.len() == AT_MOST {
            asked.retain(|_, last| now.saturating_duration_since(*last) <= self.kept);
        }
        let has_room = asked.len() < AT_MOST;
        if has_room {
            asked.insert(name.clone(), now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> Authority {
        Authority::try_from(format!("{number}.example")).unwrap()
    }

    #[test]
    fn a_client_that_thinks_of_names_gets_so_many_connections_and_no_more() {
        let (names, now) = (Names::new(Duration::from_secs(4)), Instant::now());
        for number in 0..AT_MOST {
            assert!(names.admit(&name(number), now));
        }
        assert!(!names.admit(&name(AT_MOST), now), "one more");
        assert!(names.admit(&name(7), now), "one that there is");
    }

    #[test]
    fn a_name_whose_connection_is_gone_makes_room() {
        let (names, now) = (Names::new(Duration::from_secs(4)), Instant::now());
        for number in 0..AT_MOST {
            names.admit(&name(number), now);
        }
        let later = now + Duration::from_secs(3);
        names.admit(&name(7), later);
        let last = now + Duration::from_secs(5);
        assert!(names.admit(&name(AT_MOST), last));
        assert!(names.admit(&name(7), last));
        assert_eq!(names.asked.lock().unwrap().len(), 2, "all others were forgotten");
    }
}
