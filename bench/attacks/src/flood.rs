//! The same again and again on one connection, and on the next one when that is refused.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::target::Target;
use crate::wire::{Connection, Reading, Seen};

/// How much longer a flood goes on whose limit is one of octets.
const LONGER: Duration = Duration::from_secs(8);
/// Units in one write.
const BATCH: u64 = 64;

pub struct Flood {
    /// The attacker's SETTINGS.
    pub settings: &'static [(u16, u32)],
    pub reading: Reading,
    /// Octets without which a connection is not left: the limit is one of octets.
    pub least: u64,
    /// Units that must pass, and how many more do in each second; the next one is refused.
    pub limit: Option<(u64, f64)>,
    /// What is done once on each connection.
    pub first: fn(&mut Connection) -> Result<()>,
    /// Appends one unit, by its number.
    pub unit: fn(u64, &mut Vec<u8>),
}

/// One that reads, and has nothing to do first.
pub const FLOOD: Flood =
    Flood { settings: &[], least: 0, reading: Reading::Reads, limit: None, first: |_| Ok(()), unit: |_, _| {} };

impl Flood {
    /// Counts what passes where that is known, and then floods for the target's time.
    pub fn run(&self, target: &Target) -> Result<Seen> {
        let seen = if target.is_ours() { self.count(target)? } else { Seen::default() };
        self.flood(target, seen)
    }

    /// The same where no PING may come in between: whether units pass is told by time.
    pub fn run_without_barriers(&self, target: &Target) -> Result<Seen> {
        let seen = if target.is_ours() { self.count_by_time(target)? } else { Seen::default() };
        self.flood(target, seen)
    }

    fn flood(&self, target: &Target, mut seen: Seen) -> Result<Seen> {
        let deadline = Instant::now() + target.time;
        let (mut connections, mut units, mut octets) = (0_u64, 0, 0);
        while Instant::now() < deadline {
            let mut connection = match Connection::start(target, self.settings) {
                Ok(connection) => connection,
                Err(error) => {
                    seen.notes.push(format!("{error:#}"));
                    break;
                }
            };
            connections += 1;
            (self.first)(&mut connection)?;
            let mut next = 0;
            let mut left = deadline.saturating_duration_since(Instant::now());
            loop {
                connection.flood(left, self.reading, |batch| {
                    for _ in 0..BATCH {
                        (self.unit)(next, batch);
                        next += 1;
                    }
                });
                let is_refused = connection.seen.goaway.is_some() || connection.is_over();
                if is_refused || connections > 1 || connection.sent >= self.least || Instant::now() > deadline + LONGER
                {
                    break;
                }
                left = Duration::from_millis(200);
            }
            units += next;
            octets += connection.sent;
            let was_refused = connection.seen.goaway.is_some() || connection.is_over();
            if was_refused {
                let end = Instant::now() + Duration::from_millis(200);
                while let Ok(Some(_)) = connection.poll_until(end) {}
            } else {
                connection.barrier();
            }
            seen.merge(connection.seen);
        }
        let seconds = target.time.as_secs_f64();
        seen.notes.push(format!(
            "{connections} connections, {:.0} units/s, {:.1} MB/s",
            units as f64 / seconds,
            octets as f64 / seconds / 1e6
        ));
        Ok(seen)
    }

    /// As many as must pass at once, and then one after the other until one is refused.
    fn count(&self, target: &Target) -> Result<Seen> {
        let Some((limit, per_second)) = self.limit else { return Ok(Seen::default()) };
        let mut connection = Connection::start(target, self.settings)?;
        (self.first)(&mut connection)?;
        let start = Instant::now();
        let mut batch = Vec::new();
        for number in 0..limit {
            (self.unit)(number, &mut batch);
        }
        connection.send(&batch);
        if !connection.barrier() {
            connection.seen.fail(format!("refused within the limit of {limit}"));
            return Ok(connection.seen);
        }
        let mut number = limit;
        let allowed = |start: Instant| limit + (start.elapsed().as_secs_f64() * per_second) as u64;
        loop {
            batch.clear();
            (self.unit)(number, &mut batch);
            number += 1;
            connection.send(&batch);
            if !connection.barrier() {
                connection.seen.refused_at = Some(number);
                break;
            }
            // What came after the first of them may have been made up for, by one.
            if number > allowed(start) + 1 {
                connection.seen.fail(format!("not refused at {number}, where {limit} may pass"));
                break;
            }
        }
        Ok(connection.seen)
    }

    fn count_by_time(&self, target: &Target) -> Result<Seen> {
        let Some((limit, _)) = self.limit else { return Ok(Seen::default()) };
        let mut connection = Connection::start(target, self.settings)?;
        (self.first)(&mut connection)?;
        let mut batch = Vec::new();
        for number in 0..limit {
            (self.unit)(number, &mut batch);
        }
        connection.send(&batch);
        let is_refused = |connection: &mut Connection| {
            let deadline = Instant::now() + Duration::from_millis(100);
            while let Ok(Some(_)) = connection.poll_until(deadline) {}
            connection.seen.goaway.is_some()
        };
        if is_refused(&mut connection) {
            connection.seen.notes.push(format!("refused before {limit} had passed"));
            return Ok(connection.seen);
        }
        batch.clear();
        (self.unit)(limit, &mut batch);
        connection.send(&batch);
        if is_refused(&mut connection) {
            connection.seen.refused_at = Some(limit + 1);
        } else {
            connection.seen.fail(format!("not refused at {}", limit + 1));
        }
        Ok(connection.seen)
    }
}
