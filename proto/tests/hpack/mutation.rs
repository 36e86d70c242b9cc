//! Bad bytes: no panic, no limit exceeded, and what decodes is a list like any other.

use sockeye_proto::hpack::{Decoder, Encoder, Field, Limits};

use super::random::Random;
use super::{OwnedField, decode, decoder, encode, iterations, without_sensitive};

const LIMITS: Limits = Limits { max_list_size: 5000, max_fields: 20 };

/// The fields of one block, as long as they stay within the limits; an error or not.
fn visit(decoder: &mut Decoder, block: &[u8]) -> (Vec<OwnedField>, bool) {
    let (mut list, mut list_size) = (Vec::new(), 0);
    let result = decoder.decode(block, |field: Field<'_>| {
        list_size += field.name.len() + field.value.len() + 32;
        list.push(field.into());
        assert!(list_size <= LIMITS.max_list_size && list.len() <= LIMITS.max_fields);
    });
    (list, result.is_ok())
}

#[test]
fn mutated_blocks() {
    let mut random = Random(3);
    let (mut good, mut bad) = (0, 0);
    let (mut encoder, mut victim) = (Encoder::new(4096), Decoder::new(4096, LIMITS));
    for _ in 0..iterations(10_000) {
        // Mostly one connection goes on until its end; the encoder does not notice, so its indices go astray.
        let mut block = encode(&mut encoder, &random.list());
        if random.one_in(2) {
            random.mutate(&mut block);
        }
        match visit(&mut victim, &block) {
            (list, true) => {
                good += 1;
                let copy = encode(&mut Encoder::new(4096), &list);
                assert_eq!(without_sensitive(decode(&mut decoder(), &copy).unwrap()), without_sensitive(list));
            }
            (_, false) => {
                bad += 1;
                (encoder, victim) = (Encoder::new(4096), Decoder::new(4096, LIMITS));
            }
        }
    }
    // Or the mutations are too mild or too wild to test anything.
    assert!(good > bad / 4 && bad > good / 20, "{good} good, {bad} bad");
}

#[test]
fn random_blocks() {
    let mut random = Random(4);
    for _ in 0..iterations(100_000) {
        let mut victim = Decoder::new(random.below(5000), LIMITS);
        if random.one_in(2) {
            victim.handle_settings_acknowledged();
        }
        let block: Vec<u8> = (0..random.below(40)).map(|_| random.next() as u8).collect();
        // Twice, so that the second block finds what the first has left.
        if visit(&mut victim, &block).1 {
            visit(&mut victim, &block);
        }
    }
}
