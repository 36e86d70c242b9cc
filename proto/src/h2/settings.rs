//! SETTINGS (RFC 9113 §6.5).

use super::config::{Config, DEFAULT_WINDOW, MAX_MAX_FRAME_SIZE, MAX_WINDOW, MIN_MAX_FRAME_SIZE};
use super::{Role, Violation};

/// The peer's settings, as they stand after its last SETTINGS frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// SETTINGS_HEADER_TABLE_SIZE, in octets.
    pub header_table_size: u32,
    /// SETTINGS_ENABLE_PUSH.
    pub enable_push: bool,
    /// SETTINGS_MAX_CONCURRENT_STREAMS, where the peer set it.
    pub max_concurrent_streams: Option<u32>,
    /// SETTINGS_INITIAL_WINDOW_SIZE, in octets.
    pub initial_window_size: u32,
    /// SETTINGS_MAX_FRAME_SIZE, in octets.
    pub max_frame_size: u32,
    /// SETTINGS_MAX_HEADER_LIST_SIZE, in octets, where the peer set it.
    pub max_header_list_size: Option<u32>,
    /// SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3).
    pub enable_connect_protocol: bool,
    /// SETTINGS_NO_RFC7540_PRIORITIES (RFC 9218 §2.1), where the peer set it.
    pub no_rfc7540_priorities: Option<bool>,
}

impl Default for Settings {
    /// What holds before any SETTINGS frame.
    fn default() -> Self {
        Self {
            header_table_size: 4096,
            enable_push: true,
            max_concurrent_streams: None,
            initial_window_size: DEFAULT_WINDOW,
            max_frame_size: MIN_MAX_FRAME_SIZE,
            max_header_list_size: None,
            enable_connect_protocol: false,
            no_rfc7540_priorities: None,
        }
    }
}

mod identifier {
    pub(super) const HEADER_TABLE_SIZE: u16 = 0x1;
    pub(super) const ENABLE_PUSH: u16 = 0x2;
    pub(super) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
    pub(super) const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub(super) const MAX_FRAME_SIZE: u16 = 0x5;
    pub(super) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
    pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;
    pub(super) const NO_RFC7540_PRIORITIES: u16 = 0x9;
}

impl Settings {
    /// Takes one value from the peer, which has the role `peer`; unknown identifiers are ignored (RFC 9113 §6.5.2).
    pub(super) fn apply(&mut self, identifier: u16, value: u32, peer: Role) -> Result<(), Violation> {
        match identifier {
            identifier::HEADER_TABLE_SIZE => self.header_table_size = value,
            identifier::ENABLE_PUSH => {
                let push = as_bool(value).ok_or(Violation::SettingEnablePush)?;
                // RFC 9113 §6.5.2: a server cannot be pushed to.
                if push && peer == Role::Server {
                    return Err(Violation::SettingEnablePush);
                }
                self.enable_push = push;
            }
            identifier::MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = Some(value),
            identifier::INITIAL_WINDOW_SIZE if value > MAX_WINDOW => return Err(Violation::SettingInitialWindowSize),
            identifier::INITIAL_WINDOW_SIZE => self.initial_window_size = value,
            identifier::MAX_FRAME_SIZE if !(MIN_MAX_FRAME_SIZE..=MAX_MAX_FRAME_SIZE).contains(&value) => {
                return Err(Violation::SettingMaxFrameSize);
            }
            identifier::MAX_FRAME_SIZE => self.max_frame_size = value,
            identifier::MAX_HEADER_LIST_SIZE => self.max_header_list_size = Some(value),
            identifier::ENABLE_CONNECT_PROTOCOL => {
                let enable = as_bool(value).ok_or(Violation::SettingEnableConnectProtocol)?;
                // RFC 8441 §3: "A sender MUST NOT send a SETTINGS_ENABLE_CONNECT_PROTOCOL parameter with the value of 0
                // after previously sending a value of 1."
                if self.enable_connect_protocol && !enable {
                    return Err(Violation::SettingEnableConnectProtocol);
                }
                self.enable_connect_protocol = enable;
            }
            identifier::NO_RFC7540_PRIORITIES => {
                let value = as_bool(value).ok_or(Violation::SettingNoRfc7540Priorities)?;
                // RFC 9218 §2.1
                if self.no_rfc7540_priorities.is_some_and(|before| before != value) {
                    return Err(Violation::SettingNoRfc7540Priorities);
                }
                self.no_rfc7540_priorities = Some(value);
            }
            _ => {}
        }
        Ok(())
    }
}

fn as_bool(value: u32) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// Our own SETTINGS: what differs from the protocol's defaults.
pub(super) fn ours(role: Role, config: &Config) -> Vec<(u16, u32)> {
    let defaults = Settings::default();
    let is_server = role == Role::Server;
    let mut settings = Vec::new();
    let mut push = |wanted: bool, identifier, value| {
        if wanted {
            settings.push((identifier, value));
        }
    };
    let (window, frame_size) = (config.initial_window(role), max_frame_size(config));
    let table_size = config.max_hpack_len_decoder;
    push(table_size != defaults.header_table_size, identifier::HEADER_TABLE_SIZE, table_size);
    push(!is_server, identifier::ENABLE_PUSH, 0);
    push(is_server, identifier::MAX_CONCURRENT_STREAMS, config.max_concurrent_streams);
    push(window != defaults.initial_window_size, identifier::INITIAL_WINDOW_SIZE, window);
    push(frame_size != defaults.max_frame_size, identifier::MAX_FRAME_SIZE, frame_size);
    push(true, identifier::MAX_HEADER_LIST_SIZE, config.max_header_list_size);
    push(is_server && config.enable_connect_protocol, identifier::ENABLE_CONNECT_PROTOCOL, 1);
    // RFC 9218 §2.1: nobody needs to send us the old priorities.
    push(is_server, identifier::NO_RFC7540_PRIORITIES, 1);
    settings
}

/// [`Config::max_frame_size`] within what the protocol allows.
pub(super) fn max_frame_size(config: &Config) -> u32 {
    config.max_frame_size.clamp(MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE)
}
