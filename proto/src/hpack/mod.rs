//! HPACK (RFC 7541): the header compression of HTTP/2.
//!
//! A [`Decoder`] and an [`Encoder`] belong to one direction of one connection each, because every header block changes
//! the dynamic table that the next one refers to. A header block is a list of octet strings here, and what a name or value
//! may look like is for the caller to judge.
//!
//! ```
//! use bytes::BytesMut;
//! use sockeye_proto::hpack::{Decoder, Encoder, Field, Limits};
//!
//! let mut block = BytesMut::new();
//! Encoder::new(4096).encode([Field::new(b":status", b"200")], &mut block);
//! assert_eq!(block[..], [0x88]);
//!
//! let mut decoder = Decoder::new(4096, Limits::new(65_536, 400));
//! decoder.decode(&block, |field| assert_eq!(field, Field::new(b":status", b"200")))?;
//! # Ok::<(), sockeye_proto::hpack::Error>(())
//! ```

mod decoder;
mod dynamic_table;
mod encoder;
mod huffman;
mod integer;
mod lookup;
mod static_table;

use std::fmt;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// What a field costs beside its octets, in a header list as in a dynamic table (RFC 7541 §4.1, RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// The octets a dynamic table may hold until SETTINGS_HEADER_TABLE_SIZE says otherwise (RFC 9113 §6.5.2).
const INITIAL_TABLE_SIZE: usize = 4096;

/// One header field line of a block, as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's name, without any check of its characters or case.
    pub name: &'a [u8],
    /// The field's value, without any check of its characters.
    pub value: &'a [u8],
    /// Whether the field is a never-indexed literal, which no table on the way may keep (RFC 7541 §7.1.3).
    pub sensitive: bool,
}

impl<'a> Field<'a> {
    /// A field that compression may remember.
    pub const fn new(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { name, value, sensitive: false }
    }

    /// A field that stands on the wire as a never-indexed literal, on this hop and on all that follow.
    pub const fn sensitive(name: &'a [u8], value: &'a [u8]) -> Self {
        Self { name, value, sensitive: true }
    }

    /// Octets, as header lists and dynamic tables count them (RFC 7541 §4.1).
    const fn size(&self) -> usize {
        self.name.len() + self.value.len() + FIELD_OVERHEAD
    }
}

/// Hard bounds on one header block. Past them decoding stops with an [`Error`], and the connection with it; softer
/// limits, which a single request can be refused for, are for the caller's visitor to keep.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Octets of all names and values, and 32 more for each field (RFC 9113 §6.5.2). Of a `cookie` that comes in crumbs
    /// (§8.2.3) those after the first count by their value and 2 octets, or by 32 if that is more.
    pub max_list_size: usize,
    /// The number of fields, all crumbs of a `cookie` being one.
    pub max_fields: usize,
}

impl Limits {
    /// The bounds on octets and on fields.
    pub const fn new(max_list_size: usize, max_fields: usize) -> Self {
        Self { max_list_size, max_fields }
    }
}

/// What a header list has come to so far, as [`Limits`] count it.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ListSize {
    octets: usize,
    fields: usize,
    /// One crumb of a cookie was counted.
    has_cookie: bool,
}

impl ListSize {
    /// What was counted so far.
    pub(crate) fn octets(&self) -> usize {
        self.octets
    }

    /// Counts one more field.
    pub(crate) fn add(&mut self, field: &Field<'_>, limits: &Limits) -> Result<(), Error> {
        // RFC 9113 §8.2.3: a cookie may come in crumbs, to compress well, and is one field.
        let is_cookie = field.name == b"cookie";
        if is_cookie && self.has_cookie {
            // Joined to those before by "; ". The least is there to bound how many are looked at: each may take but one
            // octet of the block.
            self.octets += (field.value.len() + 2).max(FIELD_OVERHEAD);
        } else {
            self.has_cookie |= is_cookie;
            self.octets += field.size();
            self.fields += 1;
        }
        if self.fields > limits.max_fields {
            return Err(Error::TooManyFields);
        }
        if self.octets > limits.max_list_size { Err(Error::ListTooLarge) } else { Ok(()) }
    }
}

/// Why a header block could not be decoded. Each is a COMPRESSION_ERROR of the whole connection (RFC 9113 §4.3),
/// except for the two limits, which are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Error {
    /// The block ends inside a representation (RFC 7541 §5, §6).
    Truncated,
    /// An integer exceeds 2³²−1 or takes more than five octets after its prefix (RFC 7541 §5.1).
    IntegerOverflow,
    /// A Huffman-coded string contains the EOS symbol (RFC 7541 §5.2).
    HuffmanEos,
    /// A Huffman-coded string ends in more than seven bits of padding, an unfinished code included (RFC 7541 §5.2).
    HuffmanPaddingLength,
    /// A Huffman-coded string is padded with other bits than the first ones of EOS, all 1 (RFC 7541 §5.2).
    HuffmanPaddingBits,
    /// An indexed field has the index 0 (RFC 7541 §6.1).
    IndexZero,
    /// An index points past the last entry of the tables (RFC 7541 §2.3.3).
    IndexOutOfRange,
    /// A dynamic table size update exceeds the SETTINGS_HEADER_TABLE_SIZE in force (RFC 7541 §6.3).
    SizeUpdateTooLarge,
    /// A dynamic table size update follows a field (RFC 7541 §4.2).
    SizeUpdateNotAtStart,
    /// A block opens with more than two dynamic table size updates (RFC 7541 §4.2).
    TooManySizeUpdates,
    /// The first block after the peer acknowledged a smaller table does not open with a size update (RFC 7541 §4.2,
    /// RFC 9113 §4.3.1).
    SizeUpdateMissing,
    /// The header list exceeds [`Limits::max_list_size`].
    ListTooLarge,
    /// The header list exceeds [`Limits::max_fields`].
    TooManyFields,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "header block ends inside a representation",
            Self::IntegerOverflow => "integer of a header block is too large",
            Self::HuffmanEos => "Huffman-coded string contains EOS",
            Self::HuffmanPaddingLength => "Huffman-coded string has more than 7 bits of padding",
            Self::HuffmanPaddingBits => "Huffman-coded string is not padded with ones",
            Self::IndexZero => "indexed field has index 0",
            Self::IndexOutOfRange => "index is past the end of the tables",
            Self::SizeUpdateTooLarge => "dynamic table size update exceeds the setting",
            Self::SizeUpdateNotAtStart => "dynamic table size update follows a field",
            Self::TooManySizeUpdates => "more than two dynamic table size updates",
            Self::SizeUpdateMissing => "dynamic table size update is missing",
            Self::ListTooLarge => "header list is too large",
            Self::TooManyFields => "header list has too many fields",
        })
    }
}

impl std::error::Error for Error {}
