use std::time::{Duration, Instant};

/// What a token bucket allows: so many at once, and so many each second for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// Each second. With 0 what was taken hardly ever comes back: one token in a hundred years.
    pub per_second: u32,
}

impl Rate {
    /// The time in which one token comes back.
    fn interval(self) -> Duration {
        const HUNDRED_YEARS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        Duration::from_secs(1).checked_div(self.per_second).unwrap_or(HUNDRED_YEARS)
    }
}

/// A token bucket, kept as the one instant at which it is full again: an idle socket has one of them.
#[derive(Default, Debug)]
pub(crate) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token; false where there is none.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let interval = rate.interval();
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)).checked_add(interval);
        // The bucket is as deep as the tokens of one burst take to come back.
        let depth = interval.saturating_mul(rate.burst);
        match full_at.filter(|&full_at| full_at - now <= depth) {
            Some(full_at) => {
                self.full_at = Some(full_at);
                true
            }
            None => false,
        }
    }

    /// Puts tokens back that were taken; those beyond a full bucket are lost.
    #[cfg(feature = "http2")]
    pub(crate) fn put_back(&mut self, tokens: u32, rate: Rate) {
        let time = rate.interval().saturating_mul(tokens);
        self.full_at = self.full_at.and_then(|full_at| full_at.checked_sub(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, now: Instant, rate: Rate) -> usize {
        (0..30).filter(|_| bucket.take(now, rate)).count()
    }

    #[test]
    fn burst_then_rate() {
        let rate = Rate { burst: 20, per_second: 10 };
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, start, rate), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!(taken(&mut bucket, later, rate), 5);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!(taken(&mut bucket, much_later, rate), 20);
    }

    #[test]
    fn without_a_rate_a_burst_is_all() {
        let rate = Rate { burst: 3, per_second: 0 };
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!(taken(&mut bucket, start, rate), 3);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(1 << 20), rate), 0);
    }

    #[cfg(feature = "http2")]
    #[test]
    fn tokens_put_back_fill_no_more_than_the_bucket() {
        let rate = Rate { burst: 3, per_second: 1 };
        let now = Instant::now();
        let mut bucket = Bucket::default();
        bucket.put_back(1, rate);
        assert_eq!(taken(&mut bucket, now, rate), 3);
        bucket.put_back(2, rate);
        assert_eq!(taken(&mut bucket, now, rate), 2);
        bucket.put_back(100, rate);
        assert_eq!(taken(&mut bucket, now, rate), 3);
    }
}
