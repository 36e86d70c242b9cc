//! What an attacker has seen of the server, in counts.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frames::error_name;

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By the end of its half.
    Eof,
    /// By a reset of TCP.
    Reset,
}

#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// GOAWAY: its error code, and the last stream it names.
    pub goaway: Option<(u32, u32)>,
    /// RST_STREAM, by error code.
    pub resets: BTreeMap<u32, u64>,
    /// Responses, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// WebSocket Closes, by code.
    pub closes: BTreeMap<u16, u64>,
    /// WebSocket messages.
    pub messages: u64,
    /// Octets of DATA, or of anything over HTTP/1.1.
    pub octets: u64,
    /// How the connection ended, where it did.
    pub ended: Option<Ended>,
    /// Whether the last thing asked was answered: a PING over HTTP/2, a request over HTTP/1.1.
    pub answered: bool,
    /// The first unit of the attack that was refused, where they were counted.
    pub refused_at: Option<u64>,
    /// Time to the end, where an attack is about that.
    pub lasted: Option<Duration>,
    /// How shots ended, in counts.
    pub ends: BTreeMap<String, u64>,
    /// What else there is to say.
    pub notes: Vec<String>,
    /// Rules of this attack alone that were broken.
    pub failures: Vec<String>,
}

impl Seen {
    pub fn fail(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.failures.contains(&text) {
            self.failures.push(text);
        }
    }

    /// Counts one shot that ended so.
    pub fn tally(&mut self, end: String) {
        *self.ends.entry(end).or_default() += 1;
    }

    /// Of several connections: counts add up, what happened to one happened.
    pub fn merge(&mut self, other: Self) {
        self.goaway = self.goaway.or(other.goaway);
        self.ended = self.ended.or(other.ended);
        self.refused_at = self.refused_at.or(other.refused_at);
        self.lasted = self.lasted.max(other.lasted);
        self.answered |= other.answered;
        self.octets += other.octets;
        self.messages += other.messages;
        add(&mut self.resets, other.resets);
        add(&mut self.statuses, other.statuses);
        add(&mut self.closes, other.closes);
        add(&mut self.ends, other.ends);
        other.failures.into_iter().for_each(|text| self.fail(text));
        for note in other.notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// In the words of a table.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some((code, _)) = self.goaway {
            parts.push(format!("GOAWAY {}", error_name(code)));
        }
        if let Some(unit) = self.refused_at {
            parts.push(format!("at {unit}"));
        }
        parts.extend(self.ends.iter().map(|(end, count)| format!("{count} × {end}")));
        parts.extend(self.resets.iter().map(|(code, count)| format!("{count} × RST {}", error_name(*code))));
        parts.extend(self.statuses.iter().map(|(status, count)| format!("{count} × {status}")));
        parts.extend(self.closes.iter().map(|(code, count)| format!("{count} × Close {code}")));
        match (self.ended, self.lasted) {
            (Some(_), Some(time)) => parts.push(format!("closed after {:.0} s", time.as_secs_f64())),
            (None, Some(time)) => parts.push(format!("open after {:.0} s", time.as_secs_f64())),
            (Some(Ended::Eof), None) if self.goaway.is_none() => parts.push("closed".to_owned()),
            (Some(Ended::Reset), None) if self.goaway.is_none() => parts.push("cut off".to_owned()),
            (None, None) if self.answered => parts.push("goes on".to_owned()),
            _ => {}
        }
        parts.extend(self.notes.iter().cloned());
        parts.join(", ")
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, u64>, from: BTreeMap<K, u64>) {
    for (key, count) in from {
        *to.entry(key).or_default() += count;
    }
}
