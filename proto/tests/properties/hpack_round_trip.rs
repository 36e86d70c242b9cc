//! Header lists through our encoder and our decoder, and through one of them and another implementation, `httlib-hpack`, on the
//! other end: they come out as they went in, while both sides change the size of the table.

use bytes::BytesMut;
use httlib_hpack as oracle;
use sockeye_proto::hpack::{Decoder, Encoder, Limits};

use super::choices::Choices;
use super::fields::{OwnedField, any_list, with_credentials};

/// Largest table of either side here, in octets.
const MAX_TABLE_SIZE: usize = 10_000;

const NO_LIMITS: Limits = Limits::new(usize::MAX, usize::MAX);

pub fn check(choices: &mut Choices<'_>) {
    let mut ours = Ours::new(choices.below(MAX_TABLE_SIZE));
    let mut theirs = Theirs::new();
    let mut blocks = 20;
    while !choices.is_over(blocks) {
        blocks = usize::saturating_sub(blocks, 1);
        while choices.one_in(4) {
            ours.encoder.set_max_table_size(choices.below(MAX_TABLE_SIZE));
        }
        let mut size_updates = Vec::new();
        while choices.one_in(4) && size_updates.len() < 2 {
            size_updates.push(choices.below(MAX_TABLE_SIZE));
        }
        let list = any_list(choices);
        ours.check(&list);
        theirs.check(choices, &size_updates, list);
    }
}

/// Our encoder, with both decoders behind it.
struct Ours {
    encoder: Encoder,
    decoder: Decoder,
    oracle: oracle::Decoder<'static>,
}

impl Ours {
    fn new(table_size: usize) -> Self {
        let mut oracle = oracle::Decoder::with_dynamic_size(4096);
        oracle.set_max_dynamic_size(MAX_TABLE_SIZE as u32);
        Self { encoder: Encoder::new(table_size), decoder: Decoder::new(MAX_TABLE_SIZE, NO_LIMITS), oracle }
    }

    fn check(&mut self, list: &[OwnedField]) {
        let mut block = BytesMut::new();
        self.encoder.encode(list.iter().map(OwnedField::as_field), &mut block);
        let expected = with_credentials(list.to_vec());
        let mut decoded: Vec<OwnedField> = Vec::new();
        self.decoder.decode(&block, |field| decoded.push(field.into())).expect("what we encode decodes");
        assert_eq!(decoded, expected);
        let mut decoded = Vec::new();
        self.oracle.decode(&mut block.to_vec(), &mut decoded).expect("what we encode is decoded by others");
        let decoded = decoded.into_iter().map(|(name, value, flags)| {
            let sensitive = flags == oracle::Decoder::NEVER_INDEXED;
            OwnedField { name, value, sensitive }
        });
        assert_eq!(decoded.collect::<Vec<_>>(), expected);
    }
}

/// Another encoder, with our decoder behind it.
struct Theirs {
    encoder: oracle::Encoder<'static>,
    decoder: Decoder,
}

impl Theirs {
    fn new() -> Self {
        let encoder = oracle::Encoder::with_dynamic_size(4096);
        Self { encoder, decoder: Decoder::new(MAX_TABLE_SIZE, NO_LIMITS) }
    }

    fn check(&mut self, choices: &mut Choices<'_>, size_updates: &[usize], list: Vec<OwnedField>) {
        use oracle::Encoder as Flags;
        let mut block = Vec::new();
        for size in size_updates {
            self.encoder.update_max_dynamic_size(*size as u32, &mut block).expect("a size within the limit");
        }
        for field in &list {
            let huffman = choices.octet() & (Flags::HUFFMAN_NAME | Flags::HUFFMAN_VALUE);
            let indexing = match (field.sensitive, choices.one_in(3)) {
                // With BEST_FORMAT it would send a field that a table has as its index.
                (true, _) => Flags::NEVER_INDEXED,
                (false, true) => Flags::BEST_FORMAT,
                (false, false) => Flags::BEST_FORMAT | Flags::WITH_INDEXING,
            };
            let field = (field.name.clone(), field.value.clone(), huffman | indexing);
            self.encoder.encode(field, &mut block).expect("any field");
        }
        let mut decoded: Vec<OwnedField> = Vec::new();
        self.decoder.decode(&block, |field| decoded.push(field.into())).expect("what others encode decodes");
        assert_eq!(decoded, list);
    }
}
