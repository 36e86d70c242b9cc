use std::ops::Range;

use super::dynamic_table::DynamicTable;
use super::{Error, Field, INITIAL_TABLE_SIZE, Limits, ListSize, huffman, integer, static_table};

/// Decodes the header blocks of one direction of a connection, in the order in which they arrived.
///
/// It owns the peer's dynamic table, which takes no memory until the first insertion. From then on it may take twice as
/// many octets as SETTINGS_HEADER_TABLE_SIZE has (or 4,096, if the setting is smaller), and 32 more for each of its
/// fields. Time is linear in the octets of the block and of the header list, whatever they hold.
#[derive(Debug)]
pub struct Decoder {
    table: DynamicTable,
    /// The SETTINGS_HEADER_TABLE_SIZE that we advertised.
    advertised: usize,
    /// The greatest size that an update may set now.
    max_update: usize,
    /// The next block owes a size update.
    update_owed: bool,
    limits: Limits,
    /// The strings of one field that do not stand in the block as they are.
    scratch: Vec<u8>,
}

/// Size updates that may open a block: the smallest maximum since the last one, and the final one (RFC 7541 §4.2).
const MAX_SIZE_UPDATES: usize = 2;

/// The capacity of [`Decoder::scratch`] that may stay between blocks, in octets: the longest field of most requests.
const MAX_IDLE_SCRATCH: usize = 512;

impl Decoder {
    /// `max_table_size` is the SETTINGS_HEADER_TABLE_SIZE that we advertise, in octets.
    ///
    /// The peer learns of it later: until it acknowledges our SETTINGS it may also use the initial 4,096 octets
    /// (RFC 9113 §6.5.2, §6.5.3), so a smaller setting is in force only after
    /// [`handle_settings_acknowledged`](Self::handle_settings_acknowledged).
    pub fn new(max_table_size: usize, limits: Limits) -> Self {
        Self {
            table: DynamicTable::new(INITIAL_TABLE_SIZE),
            advertised: max_table_size,
            max_update: max_table_size.max(INITIAL_TABLE_SIZE),
            update_owed: false,
            limits,
            scratch: Vec::new(),
        }
    }

    /// The peer has acknowledged the SETTINGS with our table size: from the next block on it has to keep to it.
    pub fn handle_settings_acknowledged(&mut self) {
        self.max_update = self.advertised;
        self.update_owed = self.table.max_size() > self.advertised;
    }

    /// Decodes one whole header block and shows each field to the visitor, in order.
    ///
    /// A visitor that has seen enough ignores the rest: the block has to be decoded to its end in any case, so that
    /// the dynamic table stays in step with the peer's.
    ///
    /// # Errors
    ///
    /// A broken rule of RFC 7541 or an exceeded [limit](Limits). The fields before it have been visited; the table is
    /// out of step and the connection over, so there is nothing left to decode (RFC 9113 §4.3).
    pub fn decode(&mut self, block: &[u8], visitor: impl FnMut(Field<'_>)) -> Result<(), Error> {
        let result = self.decode_size_updates(block).and_then(|fields| self.decode_fields(fields, visitor));
        if self.scratch.capacity() > MAX_IDLE_SCRATCH {
            self.scratch = Vec::new();
        }
        result
    }

    /// Decodes the updates at a block's beginning and returns what follows them.
    fn decode_size_updates<'a>(&mut self, mut input: &'a [u8]) -> Result<&'a [u8], Error> {
        let mut updates = 0;
        while let Some(0x20..=0x3f) = input.first() {
            // RFC 7541 §4.2: "resulting in at most two dynamic table size updates". Each may empty a table and fill it again.
            updates += 1;
            if updates > MAX_SIZE_UPDATES {
                return Err(Error::TooManySizeUpdates);
            }
            let max_size = integer::decode(&mut input, 5)?;
            // RFC 7541 §6.3: "The new maximum size MUST be lower than or equal to the limit determined by the
            // protocol using HPACK."
            if max_size > self.max_update {
                return Err(Error::SizeUpdateTooLarge);
            }
            self.table.set_max_size(max_size);
            self.update_owed = false;
        }
        // RFC 9113 §4.3.1
        if self.update_owed { Err(Error::SizeUpdateMissing) } else { Ok(input) }
    }

    fn decode_fields(&mut self, mut input: &[u8], mut visitor: impl FnMut(Field<'_>)) -> Result<(), Error> {
        let (mut size, limits) = (ListSize::default(), self.limits);
        while let Some(&first) = input.first() {
            match first {
                // RFC 7541 §6.1: indexed header field
                0x80.. => {
                    let index = integer::decode(&mut input, 7)?;
                    let (name, value) = self.entry(index)?;
                    let field = Field::new(name, value);
                    size.add(&field, &limits)?;
                    visitor(field);
                }
                // §6.2.1: literal with incremental indexing
                0x40..0x80 => {
                    let literal = self.decode_literal(&mut input, 6)?;
                    let field = literal.field(&self.scratch);
                    size.add(&field, &limits)?;
                    visitor(field);
                    self.table.insert(&field);
                }
                // §4.2: updates stand at the beginning of a block only.
                0x20..0x40 => return Err(Error::SizeUpdateNotAtStart),
                // §6.2.2: literal without indexing; §6.2.3: literal never indexed
                0x00..0x20 => {
                    let literal = self.decode_literal(&mut input, 4)?;
                    let field = Field { sensitive: first & 0x10 != 0, ..literal.field(&self.scratch) };
                    size.add(&field, &limits)?;
                    visitor(field);
                }
            }
        }
        Ok(())
    }

    /// RFC 7541 §2.3.3: one address space for both tables.
    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Error> {
        if index > static_table::LEN {
            self.table.get(index - static_table::LEN - 1).ok_or(Error::IndexOutOfRange)
        } else {
            static_table::get(index).ok_or(Error::IndexZero)
        }
    }

    fn decode_literal<'a>(&mut self, input: &mut &'a [u8], prefix_bits: u32) -> Result<Literal<'a>, Error> {
        self.scratch.clear();
        let name = match integer::decode(input, prefix_bits)? {
            0 => self.decode_string(input)?,
            index => self.copy_name(index)?,
        };
        let value = self.decode_string(input)?;
        Ok(Literal { name, value })
    }

    fn copy_name<'a>(&mut self, index: usize) -> Result<Text<'a>, Error> {
        if let Some((name, _)) = static_table::get(index) {
            return Ok(Text::Plain(name));
        }
        // RFC 7541 §4.4: the entry may be evicted by the very insertion that refers to it.
        let (name, _) = self.table.get(index - static_table::LEN - 1).ok_or(Error::IndexOutOfRange)?;
        self.scratch.extend_from_slice(name);
        Ok(Text::Scratch(0..name.len()))
    }

    /// RFC 7541 §5.2
    fn decode_string<'a>(&mut self, input: &mut &'a [u8]) -> Result<Text<'a>, Error> {
        let is_huffman = input.first().is_some_and(|first| first & 0x80 != 0);
        let length = integer::decode(input, 7)?;
        let (string, rest) = input.split_at_checked(length).ok_or(Error::Truncated)?;
        *input = rest;
        if !is_huffman {
            return Ok(Text::Plain(string));
        }
        let start = self.scratch.len();
        huffman::decode(string, &mut self.scratch)?;
        Ok(Text::Scratch(start..self.scratch.len()))
    }
}

/// A literal's strings.
struct Literal<'a> {
    name: Text<'a>,
    value: Text<'a>,
}

/// A string in place, or its range of [`Decoder::scratch`].
enum Text<'a> {
    Plain(&'a [u8]),
    Scratch(Range<usize>),
}

impl<'a> Literal<'a> {
    fn field(self, scratch: &'a [u8]) -> Field<'a> {
        Field::new(self.name.octets(scratch), self.value.octets(scratch))
    }
}

impl<'a> Text<'a> {
    fn octets(self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Plain(octets) => octets,
            Self::Scratch(range) => &scratch[range],
        }
    }
}
