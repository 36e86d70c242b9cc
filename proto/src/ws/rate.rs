use std::time::{Duration, Instant};

/// A bucket of tokens, kept as the one instant at which it is full again.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// Takes one token of `burst`, which come back at `per_second` (at least 1). Whether there was one.
    pub(super) fn take(&mut self, now: Instant, burst: u32, per_second: u32) -> bool {
        let interval = Duration::from_secs(1) / per_second.max(1);
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + interval;
        let has_token = full_at - now <= interval * burst;
        if has_token {
            self.full_at = Some(full_at);
        }
        has_token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_then_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::default();
        assert_eq!((0..30).filter(|_| bucket.take(start, 20, 10)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..30).filter(|_| bucket.take(later, 20, 10)).count(), 5);
        let much_later = start + Duration::from_secs(3600);
        assert_eq!((0..30).filter(|_| bucket.take(much_later, 20, 10)).count(), 20);
    }
}
