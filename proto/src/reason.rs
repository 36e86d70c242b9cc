use std::fmt;

/// An error code, as RST_STREAM and GOAWAY carry it (RFC 9113 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(u32);

impl Reason {
    /// Nothing is wrong: a graceful end.
    pub const NO_ERROR: Self = Self(0x0);
    /// A rule of the protocol was broken that has no code of its own.
    pub const PROTOCOL_ERROR: Self = Self(0x1);
    /// The sender of this code failed by itself.
    pub const INTERNAL_ERROR: Self = Self(0x2);
    /// More octets came than the window allowed, or a window passed 2³¹−1.
    pub const FLOW_CONTROL_ERROR: Self = Self(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Self = Self(0x4);
    /// A frame came on a stream that was closed already.
    pub const STREAM_CLOSED: Self = Self(0x5);
    /// A frame had an impossible length.
    pub const FRAME_SIZE_ERROR: Self = Self(0x6);
    /// The stream was refused before anything was done for it; it may be tried again.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is no longer wanted.
    pub const CANCEL: Self = Self(0x8);
    /// The header compression state cannot be kept.
    pub const COMPRESSION_ERROR: Self = Self(0x9);
    /// The TCP connection behind a CONNECT was reset or closed abnormally.
    pub const CONNECT_ERROR: Self = Self(0xa);
    /// The peer behaves in a way that costs too much.
    pub const ENHANCE_YOUR_CALM: Self = Self(0xb);
    /// The transport does not meet the minimum of security.
    pub const INADEQUATE_SECURITY: Self = Self(0xc);
    /// HTTP/1.1 is to be used instead.
    pub const HTTP_1_1_REQUIRED: Self = Self(0xd);

    /// A code from its number; unknown ones are kept as they are.
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self.0
    }

    /// The RFC's name, where it has one.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x0 => "NO_ERROR",
            0x1 => "PROTOCOL_ERROR",
            0x2 => "INTERNAL_ERROR",
            0x3 => "FLOW_CONTROL_ERROR",
            0x4 => "SETTINGS_TIMEOUT",
            0x5 => "STREAM_CLOSED",
            0x6 => "FRAME_SIZE_ERROR",
            0x7 => "REFUSED_STREAM",
            0x8 => "CANCEL",
            0x9 => "COMPRESSION_ERROR",
            0xa => "CONNECT_ERROR",
            0xb => "ENHANCE_YOUR_CALM",
            0xc => "INADEQUATE_SECURITY",
            0xd => "HTTP_1_1_REQUIRED",
            _ => return None,
        })
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#x}", self.0),
        }
    }
}
