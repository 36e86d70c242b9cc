//! SETTINGS (RFC 9113 §6.5).

use super::config::{DEFAULT_WINDOW, MIN_MAX_FRAME_SIZE};

/// The peer's settings, as they stand after its last SETTINGS frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
