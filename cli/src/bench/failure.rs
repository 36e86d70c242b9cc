//! What went wrong, counted by kind.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;

/// Different words for the failures of a run; further ones are counted as "other".
const MAX_WORDS: usize = 32;

/// Where a socket failed. The names are those of the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// No TCP connection.
    Connect,
    /// No TLS, or not the HTTP version asked for.
    Tls,
    /// No extended CONNECT, or no stream left for the socket.
    NotOffered,
    /// The handshake was answered by something other than acceptance.
    Refused,
    /// The server reset the stream, or ended the stream or the connection without a Close.
    Broken,
    /// The server closed the socket.
    Closed,
    /// The server broke a rule of HTTP/2 or WebSocket.
    Violation,
    /// No answer in time.
    Timeout,
    /// Not open yet when Ctrl-C came: nobody's failure.
    Interrupted,
    /// What came back is not what was sent.
    Mismatch,
}

/// Why a socket is of no more use.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// The same words for all failures of the same cause.
    pub(super) what: String,
    /// What is particular to this one.
    pub(super) detail: Option<String>,
}

impl Failure {
    pub(super) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), detail: None }
    }

    pub(super) fn timeout(step: &str) -> Self {
        Self::new(Kind::Timeout, format!("{step} took too long"))
    }

    /// Of a socket that is not open when the opening ends.
    pub(super) fn unopened() -> Self {
        Self::timeout("the opening")
    }
}

/// How many sockets failed, by cause.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<(Kind, String), Cause>);

#[derive(Debug)]
struct Cause {
    sockets: u64,
    /// The detail of the first one.
    first: Option<String>,
}

/// One line of the report.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    pub(super) kind: Kind,
    pub(super) what: String,
    pub(super) sockets: u64,
    pub(super) first: Option<String>,
}

impl Failures {
    pub(super) fn add(&mut self, failure: Failure, sockets: u64) {
        let Failure { kind, mut what, detail } = failure;
        if self.0.len() >= MAX_WORDS && !self.0.contains_key(&(kind, what.clone())) {
            what = "other".to_owned();
        }
        match self.0.entry((kind, what)) {
            Entry::Occupied(entry) => entry.into_mut().sockets += sockets,
            Entry::Vacant(entry) => {
                entry.insert(Cause { sockets, first: detail });
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for ((kind, what), Cause { sockets, first }) in other.0 {
            self.add(Failure { kind, what, detail: first }, sockets);
        }
    }

    /// The opening ended by Ctrl-C, and not because it took too long.
    pub(super) fn interrupt_opening(&mut self) {
        let Failure { kind, what, .. } = Failure::unopened();
        if let Some(cause) = self.0.remove(&(kind, what)) {
            self.add(Failure::new(Kind::Interrupted, "not open yet when it was interrupted"), cause.sockets);
        }
    }

    /// The most frequent first.
    pub(super) fn into_lines(self) -> Vec<Line> {
        let line = |((kind, what), Cause { sockets, first })| Line { kind, what, sockets, first };
        let mut lines: Vec<_> = self.0.into_iter().map(line).collect();
        lines.sort_by_key(|line| std::cmp::Reverse(line.sockets));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Failures, Kind, Line, MAX_WORDS};

    #[test]
    fn failures_of_one_cause_are_counted_together() {
        let mut failures = Failures::default();
        failures.add(Failure { detail: Some("first".into()), ..Failure::new(Kind::Mismatch, "merged") }, 1);
        let mut others = Failures::default();
        others.add(Failure { detail: Some("second".into()), ..Failure::new(Kind::Mismatch, "merged") }, 2);
        others.add(Failure::timeout("an answer"), 5);
        failures.merge(others);
        let first = |kind, what: &str, sockets, first: Option<&str>| Line {
            kind,
            what: what.to_owned(),
            sockets,
            first: first.map(str::to_owned),
        };
        let expected = [
            first(Kind::Timeout, "an answer took too long", 5, None),
            first(Kind::Mismatch, "merged", 3, Some("first")),
        ];
        assert_eq!(failures.into_lines(), expected);
    }

    /// A server that words each refusal differently does not fill the memory, or the screen.
    #[test]
    fn words_are_bounded() {
        let mut failures = Failures::default();
        for number in 0..1000 {
            failures.add(Failure::new(Kind::Refused, number.to_string()), 1);
        }
        let lines = failures.into_lines();
        assert_eq!((lines.len(), lines.iter().map(|line| line.sockets).sum::<u64>()), (MAX_WORDS + 1, 1000));
    }
}
