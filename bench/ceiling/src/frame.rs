//! Frames of HTTP/2 (RFC 9113 §4.1) and heads of WebSocket frames (RFC 6455 §5.2).

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;

pub const ACK: u8 = 0x1;
pub const END_STREAM: u8 = 0x1;
pub const END_HEADERS: u8 = 0x4;

/// Octets of a frame's head.
pub const HEAD: usize = 9;
/// Octets of the client's connection preface.
pub const PREFACE: usize = 24;
/// Octets of a frame that every peer takes.
pub const MAX_FRAME_SIZE: usize = 16_384;
/// Octets of a window before anything is said about it.
pub const DEFAULT_WINDOW: i32 = 65_535;

/// Octets of each stream's window, as the peers have it.
pub const STREAM_WINDOW: u32 = 1 << 20;
/// Octets of a connection's window: the largest.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// All streams there may be; WebSockets by the extended CONNECT; and no table for header fields, so that each request spells
/// out its path.
pub const OUR_SETTINGS: [(u16, u32); 4] = [(0x1, 0), (0x3, 100_000), (0x4, STREAM_WINDOW), (0x8, 1)];

/// `:status: 200` as HPACK has it in its static table.
pub const STATUS_200: u8 = 0x88;
/// The path in a header block: as it is, and by the code of Huffman (RFC 7541 Appendix B).
pub const BROADCAST: [&[u8]; 2] = [b"/broadcast", &[0x62, 0x3B, 0x0E, 0x39, 0x08, 0x34, 0x27]];

pub const WS_CLOSE: u8 = 0x8;
pub const WS_PING: u8 = 0x9;
pub const WS_PONG: u8 = 0xA;

/// The head of a frame of HTTP/2.
#[inline]
pub fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD] {
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// The head of a client's WebSocket frame.
pub struct WsHead {
    pub first: u8,
    pub payload: usize,
    pub key: [u8; 4],
    /// Octets of the head itself, the key among them.
    pub size: usize,
}

impl WsHead {
    /// Reads a head that is whole.
    #[inline]
    pub fn read(octets: &[u8]) -> Option<Self> {
        let [first, second] = *octets.first_chunk()?;
        let (payload, start) = match second & 0x7F {
            126 => (usize::from(u16::from_be_bytes(*octets.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*octets.get(2..)?.first_chunk()?) as usize, 10),
            short => (usize::from(short), 2),
        };
        Some(Self { first, payload, key: *octets.get(start..)?.first_chunk()?, size: start + 4 })
    }

    /// The server's head of the same frame, without the key.
    #[inline]
    pub fn answer(&self, first: u8) -> Answer {
        let [a, b, c, d, e, f, g, h] = (self.payload as u64).to_be_bytes();
        match self.payload {
            ..126 => Answer::Short([first, h]),
            126..0x1_0000 => Answer::Medium([first, 126, g, h]),
            _ => Answer::Long([first, 127, a, b, c, d, e, f, g, h]),
        }
    }
}

/// The head of a server's WebSocket frame, by the size of its length.
pub enum Answer {
    Short([u8; 2]),
    Medium([u8; 4]),
    Long([u8; 10]),
}

impl Answer {
    pub fn octets(&self) -> &[u8] {
        match self {
            Self::Short(octets) => octets,
            Self::Medium(octets) => octets,
            Self::Long(octets) => octets,
        }
    }
}
