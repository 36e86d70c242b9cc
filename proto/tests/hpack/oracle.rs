//! Another implementation, `httlib-hpack`, on the other end of a connection.

use httlib_hpack as oracle;
use sockeye_proto::hpack::{Decoder, Encoder};

use super::random::Random;
use super::{NO_LIMITS, OwnedField, decode, encode, iterations};

const BLOCKS_PER_CONNECTION: usize = 20;

/// Largest table of either side here, in octets.
const MAX_TABLE_SIZE: usize = 10_000;

#[test]
fn it_decodes_what_we_encode() {
    let mut random = Random(1);
    for connection in 0..iterations(300) {
        let mut encoder = Encoder::new(random.below(MAX_TABLE_SIZE));
        let mut decoder = oracle::Decoder::with_dynamic_size(4096);
        decoder.set_max_dynamic_size(MAX_TABLE_SIZE as u32);
        for block in 0..BLOCKS_PER_CONNECTION {
            while random.one_in(4) {
                encoder.set_max_table_size(random.below(MAX_TABLE_SIZE));
            }
            let list = random.list();
            let mut decoded = Vec::new();
            decoder.decode(&mut encode(&mut encoder, &list), &mut decoded).unwrap();
            let decoded: Vec<_> = decoded
                .into_iter()
                .map(|(name, value, flags)| OwnedField {
                    name,
                    value,
                    sensitive: flags == oracle::Decoder::NEVER_INDEXED,
                })
                .collect();
            assert_eq!(decoded, with_credentials(list), "connection {connection}, block {block}");
        }
    }
}

#[test]
fn we_decode_what_it_encodes() {
    use oracle::Encoder as Flags;
    let mut random = Random(2);
    for connection in 0..iterations(300) {
        let mut encoder = oracle::Encoder::with_dynamic_size(4096);
        let mut decoder = Decoder::new(MAX_TABLE_SIZE, NO_LIMITS);
        for block in 0..BLOCKS_PER_CONNECTION {
            let mut octets = Vec::new();
            // More than two we would refuse (RFC 7541 §4.2), which this encoder does not know.
            for _ in 0..*random.pick(&[0, 0, 0, 1, 1, 2]) {
                encoder.update_max_dynamic_size(random.below(MAX_TABLE_SIZE) as u32, &mut octets).unwrap();
            }
            let list = random.list();
            for field in &list {
                let huffman = (random.next() as u8) & (Flags::HUFFMAN_NAME | Flags::HUFFMAN_VALUE);
                let indexing = match (field.sensitive, random.one_in(3)) {
                    // With BEST_FORMAT it would send a field that a table has as its index.
                    (true, _) => Flags::NEVER_INDEXED,
                    (false, true) => Flags::BEST_FORMAT,
                    (false, false) => Flags::BEST_FORMAT | Flags::WITH_INDEXING,
                };
                encoder.encode((field.name.clone(), field.value.clone(), huffman | indexing), &mut octets).unwrap();
            }
            assert_eq!(decode(&mut decoder, &octets), Ok(list), "connection {connection}, block {block}");
        }
    }
}

/// Our encoder marks these as sensitive by itself.
fn with_credentials(mut list: Vec<OwnedField>) -> Vec<OwnedField> {
    for field in &mut list {
        field.sensitive |= match &field.name[..] {
            b"authorization" => !field.value.is_empty(),
            b"cookie" => !field.value.is_empty() && field.value.len() < 20,
            _ => false,
        };
    }
    list
}
