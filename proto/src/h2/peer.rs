//! What the peer has told of itself: its SETTINGS, its GOAWAY, and what it has acknowledged.

use super::{Config, Reason, Role, Settings, Violation};

/// Octets that are kept of a GOAWAY's additional debug data: enough for a sentence.
const MAX_DEBUG_DATA: usize = 256;

/// The other side.
pub(super) struct Peer {
    role: Role,
    settings: Settings,
    /// Whether the peer has acknowledged our SETTINGS.
    has_acknowledged: bool,
    goaway: Option<GoAway>,
    /// Our PINGs that are not answered.
    pings: u32,
}

/// The last GOAWAY (RFC 9113 §6.8).
pub(super) struct GoAway {
    pub(super) last: u32,
    pub(super) reason: Reason,
    /// What it said besides, cut to [`MAX_DEBUG_DATA`].
    debug_data: Box<[u8]>,
}

impl GoAway {
    pub(super) fn new(last: u32, reason: Reason, debug_data: &[u8]) -> Self {
        Self { last, reason, debug_data: debug_data.iter().take(MAX_DEBUG_DATA).copied().collect() }
    }
}

impl Peer {
    pub(super) fn new(role: Role) -> Self {
        Self { role, settings: Settings::default(), has_acknowledged: false, goaway: None, pings: 0 }
    }

    #[inline]
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes one of the peer's settings (RFC 9113 §6.5.2).
    pub(super) fn apply_setting(&mut self, identifier: u16, value: u32) -> Result<(), Violation> {
        self.settings.apply(identifier, value, self.role)
    }

    /// What every stream may send at its start (RFC 9113 §6.9.2).
    #[inline]
    pub(super) fn initial_window(&self) -> u32 {
        self.settings.initial_window_size
    }

    /// Our streams that may be open at once (RFC 9113 §5.1.2).
    pub(super) fn max_streams(&self, config: &Config) -> usize {
        let max_streams = self.settings.max_concurrent_streams.unwrap_or(u32::MAX);
        max_streams.min(config.max_concurrent_streams) as usize
    }

    /// Client: whether the peer takes the extended CONNECT (RFC 8441 §3). That setting says nothing to a server.
    pub(super) fn allows_extended_connect(&self) -> bool {
        self.role == Role::Server && self.settings.enable_connect_protocol
    }

    pub(super) fn has_acknowledged(&self) -> bool {
        self.has_acknowledged
    }

    /// Our SETTINGS were acknowledged. Whether it is the first time.
    pub(super) fn acknowledge(&mut self) -> bool {
        !std::mem::replace(&mut self.has_acknowledged, true)
    }

    pub(super) fn goaway(&self) -> Option<&GoAway> {
        self.goaway.as_ref()
    }

    /// Takes a GOAWAY, and returns the one before it.
    pub(super) fn replace_goaway(&mut self, goaway: GoAway) -> Option<GoAway> {
        self.goaway.replace(goaway)
    }

    pub(super) fn debug_data(&self) -> &[u8] {
        self.goaway.as_ref().map_or(&[], |goaway| &goaway.debug_data)
    }

    /// A PING of ours was sent.
    pub(super) fn expect_pong(&mut self) {
        self.pings = self.pings.saturating_add(1);
    }

    /// Whether an answer belongs to a PING of ours.
    pub(super) fn take_pong(&mut self) -> bool {
        let is_expected = self.pings > 0;
        self.pings -= u32::from(is_expected);
        is_expected
    }
}
