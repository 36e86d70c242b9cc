//! How far a connection is, from its preface to its end.

use super::{ConnectionError, Role};

/// What may come next, and what of our own end was said.
pub(super) struct Life {
    phase: Phase,
    shutdown: Shutdown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The client's preface is to come.
    Preface,
    /// The peer's first SETTINGS are to come.
    Settings,
    Open,
    /// Nothing is parsed any more. What ended the connection otherwise than cleanly is kept.
    Closed(Option<ConnectionError>),
}

/// Our own graceful end (RFC 9113 §6.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shutdown {
    No,
    /// A GOAWAY that still lets every stream in, so that none that is on its way is lost, and a PING behind it. Where no stream
    /// was left then, that is behind all that streams have sent: `idle` is the last stream that the peer had opened.
    Announced {
        idle: Option<u32>,
    },
    /// The GOAWAY with the last stream; a client's comes at the end. `received` says that the peer has answered a PING behind all
    /// that streams have sent.
    Final {
        received: bool,
    },
}

impl Life {
    pub(super) fn new(role: Role) -> Self {
        let phase = if role == Role::Server { Phase::Preface } else { Phase::Settings };
        Self { phase, shutdown: Shutdown::No }
    }

    #[inline]
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    #[inline]
    pub(super) fn shutdown(&self) -> Shutdown {
        self.shutdown
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed(_))
    }

    pub(super) fn error(&self) -> Option<ConnectionError> {
        if let Phase::Closed(error) = self.phase { error } else { None }
    }

    /// The client's preface has come.
    pub(super) fn handle_preface(&mut self) {
        debug_assert_eq!(self.phase, Phase::Preface, "a preface comes once");
        self.phase = Phase::Settings;
    }

    /// SETTINGS have come. Whether they were the first.
    pub(super) fn handle_settings(&mut self) -> bool {
        debug_assert!(matches!(self.phase, Phase::Settings | Phase::Open), "SETTINGS follow the preface");
        std::mem::replace(&mut self.phase, Phase::Open) == Phase::Settings
    }

    /// Our first GOAWAY was sent.
    pub(super) fn announce(&mut self, idle: Option<u32>) {
        debug_assert_eq!(self.shutdown, Shutdown::No, "an end is announced once");
        self.shutdown = Shutdown::Announced { idle };
    }

    #[inline]
    pub(super) fn is_announced(&self) -> bool {
        matches!(self.shutdown, Shutdown::Announced { .. })
    }

    #[inline]
    pub(super) fn is_final(&self) -> bool {
        matches!(self.shutdown, Shutdown::Final { .. })
    }

    /// Our final GOAWAY is due.
    pub(super) fn finish(&mut self, received: bool) {
        self.shutdown = Shutdown::Final { received };
    }

    /// The connection is over. Whether it was not before.
    pub(super) fn end(&mut self, error: Option<ConnectionError>) -> bool {
        let was_closed = self.is_closed();
        if !was_closed {
            self.phase = Phase::Closed(error);
        }
        !was_closed
    }
}
