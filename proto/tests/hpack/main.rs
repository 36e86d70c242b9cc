//! HPACK (RFC 7541) by its rules, its examples and other people's output.

mod appendix_c;
mod decoder_rules;
mod encoder_rules;
mod stories;

use bytes::BytesMut;
use sockeye_proto::hpack::{Decoder, Encoder, Error, Field, Limits};

/// The setting that both sides begin with.
const TABLE_SIZE: usize = 4096;

const NO_LIMITS: Limits = Limits::new(usize::MAX, usize::MAX);

/// A field that owns its octets.
#[derive(Clone, PartialEq, Eq)]
struct OwnedField {
    name: Vec<u8>,
    value: Vec<u8>,
    sensitive: bool,
}

impl OwnedField {
    fn new(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self { name: name.as_ref().into(), value: value.as_ref().into(), sensitive: false }
    }

    fn as_field(&self) -> Field<'_> {
        Field { name: &self.name, value: &self.value, sensitive: self.sensitive }
    }
}

impl From<Field<'_>> for OwnedField {
    fn from(field: Field<'_>) -> Self {
        Self { name: field.name.into(), value: field.value.into(), sensitive: field.sensitive }
    }
}

impl std::fmt::Debug for OwnedField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())?;
        if self.sensitive { f.write_str(" (sensitive)") } else { Ok(()) }
    }
}

/// A list of fields that are not sensitive.
fn fields(list: &[(&str, &str)]) -> Vec<OwnedField> {
    list.iter().map(|(name, value)| OwnedField::new(name, value)).collect()
}

/// For lists whose source does not tell: our encoder marks credentials as sensitive by itself.
fn without_sensitive(mut list: Vec<OwnedField>) -> Vec<OwnedField> {
    list.iter_mut().for_each(|field| field.sensitive = false);
    list
}

fn decoder() -> Decoder {
    Decoder::new(TABLE_SIZE, NO_LIMITS)
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<OwnedField>, Error> {
    let mut list = Vec::new();
    decoder.decode(block, |field| list.push(field.into()))?;
    Ok(list)
}

fn encode(encoder: &mut Encoder, list: &[OwnedField]) -> Vec<u8> {
    let mut block = BytesMut::new();
    encoder.encode(list.iter().map(OwnedField::as_field), &mut block);
    block.into()
}

/// What the dynamic table holds, the newest first: every index past the static table's that decodes.
fn dynamic_table(decoder: &mut Decoder) -> Vec<OwnedField> {
    // Up to 65 entries have an index of one octet.
    (62..127).map_while(|index| decode(decoder, &[0x80 | index]).ok()).flatten().collect()
}

/// Octets from hexadecimal digits, with spaces anywhere.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    assert!(digits.len().is_multiple_of(2));
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}
