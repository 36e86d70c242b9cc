//! What is known of an upstream by what becomes of its requests, and by its check.

use std::time::{Duration, Instant};

use super::State;

/// Failures in a row after which an upstream rests: one may be a request's own fault, and a restart takes no more.
pub(super) const FAILURES: u32 = 3;
/// The first rest, which doubles with each that follows without a success between.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest: so long does an upstream that is back wait for its share at most.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// Failed checks in a row after which an upstream is not asked: a single one may be lost.
const FAILED_CHECKS: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Health {
    requests: Requests,
    check: Check,
}

/// By what becomes of requests.
#[derive(Debug, Default)]
enum Requests {
    #[default]
    Well,
    Failing {
        in_a_row: u32,
    },
    /// Then one exchange tries it, while all others take it for resting still.
    Resting {
        until: Instant,
        is_tried: bool,
        rests: u32,
        why: String,
    },
}

/// By the check, where there is one.
#[derive(Debug, Default)]
enum Check {
    #[default]
    Passed,
    Failing {
        in_a_row: u32,
    },
    Failed {
        why: String,
    },
}

impl Health {
    pub(super) fn state(&self, now: Instant) -> State {
        match (&self.check, &self.requests) {
            (Check::Failed { .. }, _) => State::Ill,
            (_, Requests::Resting { until, .. }) if now < *until => State::Resting,
            _ => State::Well,
        }
    }

    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        match (&self.check, &self.requests) {
            (Check::Failed { why }, _) => Some(format!("it fails its check: {why}")),
            (_, Requests::Resting { until, why, .. }) if now < *until => Some(why.clone()),
            _ => None,
        }
    }

    /// An exchange begins. Behind a rest it is a trial: with everybody let in, all that is new would go to an upstream that has nothing
    /// open, and wait there for as long as one that is still down takes.
    pub(super) fn begin(&mut self, now: Instant) {
        if let Requests::Resting { until, is_tried, rests, .. } = &mut self.requests
            && now >= *until
        {
            // A trial of which nothing is heard makes way for another one.
            (*until, *is_tried) = (now + rest(*rests), true);
        }
    }

    /// Whether it begins to rest.
    pub(super) fn failed(&mut self, why: String, now: Instant) -> bool {
        let rests = match self.requests {
            Requests::Well => return self.count(1),
            Requests::Failing { in_a_row } if in_a_row + 1 < FAILURES => return self.count(in_a_row + 1),
            Requests::Failing { .. } => 0,
            // What had begun before it rested says nothing new.
            Requests::Resting { until, is_tried: false, .. } if now < until => return false,
            // Back from a rest, one failure is enough.
            Requests::Resting { rests, .. } => rests.saturating_add(1),
        };
        self.requests = Requests::Resting { until: now + rest(rests), is_tried: false, rests, why };
        rests == 0
    }

    fn count(&mut self, in_a_row: u32) -> bool {
        self.requests = Requests::Failing { in_a_row };
        false
    }

    /// Whether it had rested.
    pub(super) fn succeeded(&mut self) -> bool {
        matches!(std::mem::take(&mut self.requests), Requests::Resting { .. })
    }

    /// Whether this changes what is thought of it.
    pub(super) fn checked(&mut self, found: Result<(), String>) -> bool {
        let (next, changed) = match (found, &self.check) {
            (Ok(()), before) => (Check::Passed, matches!(before, Check::Failed { .. })),
            (Err(why), Check::Failed { .. }) => (Check::Failed { why }, false),
            (Err(why), Check::Failing { in_a_row }) if in_a_row + 1 >= FAILED_CHECKS => (Check::Failed { why }, true),
            (Err(_), Check::Failing { in_a_row }) => (Check::Failing { in_a_row: in_a_row + 1 }, false),
            (Err(_), Check::Passed) => (Check::Failing { in_a_row: 1 }, false),
        };
        self.check = next;
        if changed && matches!(self.check, Check::Passed) {
            self.requests = Requests::Well;
        }
        changed
    }
}

/// Twice as long each time; up to a fifth less, so that several gateways do not come back in one moment.
fn rest(rests: u32) -> Duration {
    let rest = FIRST_REST.saturating_mul(1 << rests.min(16)).min(LONGEST_REST);
    rest.mul_f64(rand::random_range(0.8..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_up_to_a_bound() {
        let (mut health, mut now) = (Health::default(), Instant::now());
        for _ in 0..FAILURES {
            health.failed("refused".into(), now);
        }
        let mut rests = Vec::new();
        for _ in 0..10 {
            let Requests::Resting { until, .. } = &health.requests else { panic!("{health:?}") };
            rests.push(*until - now);
            assert_eq!(health.state(now), State::Resting);
            now = *until;
            assert_eq!(health.state(now), State::Well, "its time is over");
            health.failed("refused".into(), now);
        }
        for (index, rest) in rests.into_iter().enumerate() {
            let longest = Duration::from_secs(1 << index).min(LONGEST_REST);
            assert!(rest <= longest && rest >= longest.mul_f64(0.79), "{index}: {rest:?}");
        }
    }

    #[test]
    fn behind_a_rest_one_exchange_tries_it_for_all() {
        let (mut health, now) = (Health::default(), Instant::now());
        (0..FAILURES).for_each(|_| _ = health.failed("silent".into(), now));
        let over = now + FIRST_REST;
        assert_eq!(health.state(over), State::Well);
        health.begin(over);
        assert_eq!(health.state(over), State::Resting, "the others");
        assert!(health.trouble(over).is_some());
        assert_eq!(health.state(over + FIRST_REST), State::Well, "nothing was heard of it");
        health.begin(over + FIRST_REST);
        health.failed("silent".into(), over + FIRST_REST);
        assert_eq!(
            health.state(over + 2 * FIRST_REST),
            State::Resting,
            "the rest after a trial that failed is a longer one"
        );
        let over = over + 4 * FIRST_REST;
        health.begin(over);
        assert!(health.succeeded());
        assert_eq!(health.state(over), State::Well);
    }

    #[test]
    fn a_check_has_to_fail_twice_and_to_pass_once() {
        let (mut health, now) = (Health::default(), Instant::now());
        let ill = || Err("503".to_owned());
        assert!(!health.checked(ill()));
        assert!(!health.checked(Ok(())));
        assert!(!health.checked(ill()));
        assert_eq!(health.state(now), State::Well);
        assert!(health.checked(ill()));
        assert_eq!(health.state(now), State::Ill);
        assert!(health.trouble(now).unwrap().contains("503"));
        assert!(health.checked(Ok(())));
        assert_eq!(health.state(now), State::Well);
    }
}
