//! Header blocks with anything in them: no limit is exceeded, and what decodes is a list like any other, which another
//! implementation decodes to the same.

use bytes::BytesMut;
use httlib_hpack as oracle;
use sockeye_proto::hpack::{Decoder, Encoder, Error, Limits};

use super::choices::{Choices, Random};
use super::fields::{OwnedField, any_list, without_sensitive};

const NO_LIMITS: Limits = Limits::new(usize::MAX, usize::MAX);

pub fn check(choices: &mut Choices<'_>) {
    let limits = choices.pick(&[Limits::new(65_536, 400), Limits::new(5000, 20), Limits::new(200, 3)]);
    let table_size = choices.pick(&[4096, 4096, 0, 31, 100, 5000]);
    let mut tested = Tested {
        limits,
        decoder: Decoder::new(table_size, limits),
        oracle: oracle::Decoder::with_dynamic_size(4096),
        again: Encoder::new(4096),
        again_decoded: Decoder::new(4096, NO_LIMITS),
    };
    // It takes any size up to this for an update; which are allowed is for ours to say.
    tested.oracle.set_max_dynamic_size(5000);
    let mut acknowledged_after = choices.below(4);
    let input = choices.rest(any_blocks);
    let mut rest = &input[..];
    while let Some((block, after)) = split_block(rest) {
        rest = after;
        if acknowledged_after == 0 {
            tested.decoder.handle_settings_acknowledged();
        }
        acknowledged_after = acknowledged_after.wrapping_sub(1);
        if tested.decode(block).is_err() {
            return;
        }
    }
}

/// A block as it stands in an input: its length in one octet, up to all that is there, and its octets.
fn split_block(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = input.split_first()?;
    Some(rest.split_at(usize::from(length).min(rest.len())))
}

struct Tested {
    limits: Limits,
    decoder: Decoder,
    oracle: oracle::Decoder<'static>,
    again: Encoder,
    again_decoded: Decoder,
}

impl Tested {
    fn decode(&mut self, block: &[u8]) -> Result<(), Error> {
        let (mut list, mut size) = (Vec::<OwnedField>::new(), Size::default());
        let limits = self.limits;
        let result = self.decoder.decode(block, |field| {
            list.push(field.into());
            size.add(list.last().expect("pushed"));
            assert!(size.octets <= limits.max_list_size && size.fields <= limits.max_fields, "{size:?} in {list:?}");
        });
        result?;
        let mut decoded = Vec::new();
        self.oracle.decode(&mut block.to_vec(), &mut decoded).expect("another decoder takes what ours takes");
        let decoded: Vec<_> = decoded
            .into_iter()
            .map(|(name, value, flags)| OwnedField { name, value, sensitive: flags == oracle::Decoder::NEVER_INDEXED })
            .collect();
        assert_eq!(decoded, list, "another decoder says otherwise");
        let mut again = BytesMut::new();
        self.again.encode(list.iter().map(OwnedField::as_field), &mut again);
        let mut decoded: Vec<OwnedField> = Vec::new();
        self.again_decoded.decode(&again, |field| decoded.push(field.into())).expect("what we encode decodes");
        assert_eq!(without_sensitive(decoded), without_sensitive(list));
        Ok(())
    }
}

/// A list's size, as [`Limits`] documents it.
#[derive(Default, Debug)]
struct Size {
    octets: usize,
    fields: usize,
    has_cookie: bool,
}

impl Size {
    fn add(&mut self, field: &OwnedField) {
        // RFC 9113 §8.2.3: the crumbs of a cookie are one field.
        if field.name == b"cookie" && std::mem::replace(&mut self.has_cookie, true) {
            self.octets += (field.value.len() + 2).max(32);
        } else {
            self.octets += field.size();
            self.fields += 1;
        }
    }
}

/// Some blocks of one connection, with a few octets changed: the encoder does not notice, so that its indices go astray.
fn any_blocks(random: &mut Random) -> Vec<u8> {
    let mut encoder = Encoder::new(4096);
    let mut input = Vec::new();
    for _ in 0..1 + random.below(4) {
        let mut block = BytesMut::new();
        encoder.encode(any_list(&mut Choices::seeded(random.next())).iter().map(OwnedField::as_field), &mut block);
        let mut block = block.to_vec();
        if random.one_in(2) {
            random.mutate(&mut block, &[0x00, 0x0f, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xbe, 0xff]);
        }
        if random.one_in(8) {
            block = (0..random.below(40)).map(|_| random.octet()).collect();
        }
        block.truncate(255);
        input.push(block.len() as u8);
        input.extend(block);
    }
    input
}
