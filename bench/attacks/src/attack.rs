//! A row of the table: an attack or honest traffic, and what is expected of the server.

use anyhow::Result;

use crate::target::{Over, Target};
use crate::wire::Seen;
use crate::wire::frames::error_name;

pub struct Attack {
    pub name: &'static str,
    /// The RFC, the CVE or the reason.
    pub why: &'static str,
    /// The limit that it meets.
    pub limit: &'static str,
    /// What may become of it: one of these has to.
    pub expected: &'static [Expected],
    pub setting: Setting,
    pub run: Run,
}

/// How an attack is run and measured.
#[derive(Clone, Copy)]
pub struct Setting {
    pub over: Over,
    /// More arguments of `sockeye serve`.
    pub arguments: &'static [&'static str],
    /// MiB that the server may grow by.
    pub growth: u64,
    /// Whether axum's server has what is attacked.
    pub axum: bool,
    pub pace: Pace,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It keeps a processor busy, and is measured alone.
    Busy,
    /// It waits for a time limit; all of these are run beside one another.
    Patient,
}

/// HTTP/2 in cleartext, within the 16 MiB that a connection may take.
pub const HTTP2: Setting = Setting { over: Over::Cleartext, arguments: &[], growth: 16, axum: true, pace: Pace::Busy };
pub const HTTP1: Setting = Setting { over: Over::Http1, axum: false, ..HTTP2 };
pub const PATIENT: Setting = Setting { pace: Pace::Patient, ..HTTP2 };

pub enum Run {
    /// One act, for the time of a flood.
    Act(fn(&Target) -> Result<Seen>),
    /// Short ones, each on a connection of its own, again and again.
    Shots(&'static [Shot]),
}

pub struct Shot {
    pub title: &'static str,
    pub act: fn(&Target) -> Result<Seen>,
    pub expected: &'static [Expected],
}

/// What may become of an attacker.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// The connection is refused with this error code (RFC 9113 §5.4.1).
    GoAway(u32),
    /// A stream is refused with this error code, and the connection goes on (RFC 9113 §5.4.2).
    Reset(u32),
    /// A response of this status.
    Status(u16),
    /// A WebSocket is closed with this code (RFC 6455 §7.4.1).
    Close(u16),
    /// The connection is closed within so many seconds.
    Ends(u64),
    /// Nothing is refused: the connection goes on.
    GoesOn,
    /// It does not matter, while the rules for all are kept.
    Anything,
}

impl Expected {
    pub fn is_met(self, seen: &Seen) -> bool {
        let no_error = seen.goaway.is_none_or(|(code, _)| code == 0);
        match self {
            Self::GoAway(code) => seen.goaway.is_some_and(|(told, _)| told == code),
            Self::Reset(code) => no_error && seen.resets.contains_key(&code),
            Self::Status(status) => no_error && seen.statuses.contains_key(&status),
            Self::Close(code) => no_error && seen.closes.contains_key(&code),
            Self::Ends(seconds) => {
                seen.ended.is_some() && seen.lasted.is_none_or(|time| time.as_secs_f64() <= seconds as f64)
            }
            Self::GoesOn => seen.goaway.is_none() && seen.ended.is_none() && seen.answered,
            Self::Anything => true,
        }
    }

    pub fn text(self) -> String {
        match self {
            Self::GoAway(code) => format!("GOAWAY {}", error_name(code)),
            Self::Reset(code) => format!("RST {}", error_name(code)),
            Self::Status(status) => status.to_string(),
            Self::Close(code) => format!("Close {code}"),
            Self::Ends(seconds) => format!("closed within {seconds} s"),
            Self::GoesOn => "goes on".to_owned(),
            Self::Anything => "anything".to_owned(),
        }
    }
}

/// One of them, in words.
pub fn wanted(expected: &[Expected]) -> String {
    expected.iter().map(|expected| expected.text()).collect::<Vec<_>>().join(" or ")
}
