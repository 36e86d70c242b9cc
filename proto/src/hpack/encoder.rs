use std::hash::BuildHasher;

use bytes::{BufMut, BytesMut};
use foldhash::quality::FixedState;

use super::dynamic_table::DynamicTable;
use super::lookup::Lookup;
use super::static_table::{self, Match};
use super::{Field, INITIAL_TABLE_SIZE, huffman, integer};

/// Encodes the header blocks of one direction of a connection, in the order in which they are sent.
///
/// A field that repeats takes one or two octets and no allocation. Some fields never enter the dynamic table:
///
/// - [sensitive](Field::sensitive) ones, and `authorization`, `proxy-authorization` and short cookies in any case:
///   these become never-indexed literals, because a table would let an attacker who can place fields of his own beside
///   them guess a secret piece by piece (RFC 7541 §7.1);
/// - those whose value belongs to one message, such as `content-length`, `etag`, or a `:path` that is long or has a query;
/// - those that would take more than half of the table.
#[derive(Debug)]
pub struct Encoder {
    table: DynamicTable,
    lookup: Lookup,
    /// Octets that we are willing to spend.
    limit: usize,
    /// The smallest maximum size since the last block, when the next one has to tell of a change.
    smallest_change: Option<usize>,
}

/// What the peer is to do with a literal (RFC 7541 §6.2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literal {
    IncrementalIndexing,
    WithoutIndexing,
    NeverIndexed,
}

impl Encoder {
    /// `max_table_size` is how many octets we are willing to spend on the dynamic table, whatever the peer allows.
    pub fn new(max_table_size: usize) -> Self {
        let mut this = Self {
            table: DynamicTable::new(INITIAL_TABLE_SIZE),
            lookup: Lookup::default(),
            limit: max_table_size,
            smallest_change: None,
        };
        this.set_max_table_size(INITIAL_TABLE_SIZE);
        this
    }

    /// Takes the peer's SETTINGS_HEADER_TABLE_SIZE, in octets. The size updates that follow from it open the next block.
    pub fn set_max_table_size(&mut self, size: usize) {
        let size = size.min(self.limit);
        if size != self.table.max_size() {
            self.smallest_change = Some(self.smallest_change.unwrap_or(size).min(size));
            self.table.set_max_size(size);
            self.lookup.clear();
        }
    }

    /// Appends one whole header block.
    pub fn encode<'a>(&mut self, fields: impl IntoIterator<Item = Field<'a>>, output: &mut BytesMut) {
        self.encode_size_updates(output);
        for field in fields {
            self.encode_field(&field, output);
        }
    }

    /// RFC 7541 §4.2: the smallest maximum since the last block "MUST be signaled", then the final one.
    fn encode_size_updates(&mut self, output: &mut BytesMut) {
        let Some(smallest) = self.smallest_change.take() else { return };
        let last = self.table.max_size();
        if smallest < last {
            integer::encode(smallest, 5, 0x20, output);
        }
        integer::encode(last, 5, 0x20, output);
    }

    fn encode_field(&mut self, field: &Field<'_>, output: &mut BytesMut) {
        let (static_index, name_hash) = match static_table::find(field.name, field.value) {
            Some(Match::Field(index)) if !field.sensitive => return integer::encode(index, 7, 0x80, output),
            Some(Match::Field(index) | Match::Name(index)) => (Some(index), index as u64),
            None => (None, HASHER.hash_one(field.name)),
        };
        let find_name = || self.find(name_hash, |name, _| name == field.name);
        let literal = self.choose_literal(static_index, field);
        if literal != Literal::IncrementalIndexing {
            let name_index = static_index.or_else(|| find_name().map(dynamic_index));
            return encode_literal(literal, name_index, field, output);
        }
        let field_hash = HASHER.hash_one((name_hash, field.value));
        if let Some(position) = self.find(field_hash, |name, value| name == field.name && value == field.value) {
            return integer::encode(dynamic_index(position), 7, 0x80, output);
        }
        let name_position = if static_index.is_none() { find_name() } else { None };
        encode_literal(literal, static_index.or(name_position.map(dynamic_index)), field, output);
        self.table.insert(field);
        self.lookup.note(field_hash, None, self.table.max_size());
        if static_index.is_none() {
            self.lookup.note(name_hash, name_position, self.table.max_size());
        }
        self.lookup.advance();
    }

    /// A position in the dynamic table.
    fn find(&self, hash: u64, is_wanted: impl Fn(&[u8], &[u8]) -> bool) -> Option<usize> {
        self.lookup.find(hash, |position| self.table.get(position).is_some_and(|(name, value)| is_wanted(name, value)))
    }

    fn choose_literal(&self, static_index: Option<usize>, field: &Field<'_>) -> Literal {
        if field.sensitive || is_secret(static_index, field.value) {
            Literal::NeverIndexed
        } else if is_of_one_message(static_index, field.value) || field.size() > self.table.max_size() / 2 {
            Literal::WithoutIndexing
        } else {
            Literal::IncrementalIndexing
        }
    }
}

/// RFC 7541 §2.3.3: the dynamic table's indices follow those of the static table.
fn dynamic_index(position: usize) -> usize {
    static_table::LEN + 1 + position
}

/// Whoever makes fields meet in the look-up gets them sent as literals, and no more: no seed is needed.
const HASHER: FixedState = FixedState::with_seed(0);

/// RFC 7541 §7.1.3: "An encoder might also choose not to index values for header fields that are considered to be
/// highly valuable or sensitive to recovery, such as the Cookie or Authorization header fields." Long cookies are
/// left: they cannot be guessed, and repeat with every request.
fn is_secret(static_index: Option<usize>, value: &[u8]) -> bool {
    const MIN_UNGUESSABLE: usize = 20;
    match static_index {
        Some(static_table::AUTHORIZATION | static_table::PROXY_AUTHORIZATION) => true,
        Some(static_table::COOKIE) => value.len() < MIN_UNGUESSABLE,
        _ => false,
    }
}

/// Whether the value is unlikely to come again soon, so that it would only drive others out of the table.
fn is_of_one_message(static_index: Option<usize>, value: &[u8]) -> bool {
    /// Longer than the paths of most WebSockets, which a page opens again and again.
    const MAX_COMMON_PATH: usize = 64;
    match static_index {
        Some(static_table::PATH) => value.len() > MAX_COMMON_PATH || value.contains(&b'?'),
        Some(
            static_table::AGE
            | static_table::CONTENT_LENGTH
            | static_table::CONTENT_RANGE
            | static_table::ETAG
            | static_table::IF_MATCH
            | static_table::IF_MODIFIED_SINCE
            | static_table::IF_NONE_MATCH
            | static_table::IF_RANGE
            | static_table::IF_UNMODIFIED_SINCE
            | static_table::LAST_MODIFIED
            | static_table::LOCATION
            | static_table::RANGE
            | static_table::SET_COOKIE,
        ) => true,
        _ => false,
    }
}

fn encode_literal(literal: Literal, name_index: Option<usize>, field: &Field<'_>, output: &mut BytesMut) {
    let (prefix_bits, pattern) = match literal {
        Literal::IncrementalIndexing => (6, 0x40),
        Literal::WithoutIndexing => (4, 0x00),
        Literal::NeverIndexed => (4, 0x10),
    };
    integer::encode(name_index.unwrap_or(0), prefix_bits, pattern, output);
    if name_index.is_none() {
        encode_string(field.name, output);
    }
    encode_string(field.value, output);
}

/// RFC 7541 §5.2: Huffman-coded where that is shorter.
fn encode_string(string: &[u8], output: &mut BytesMut) {
    let coded_length = huffman::encoded_len(string);
    if coded_length < string.len() {
        integer::encode(coded_length, 7, 0x80, output);
        huffman::encode(string, output);
    } else {
        integer::encode(string.len(), 7, 0x00, output);
        output.put_slice(string);
    }
}
