//! One test for each rule that a decoder enforces.

use sockeye_proto::hpack::{Decoder, Error, Field, Limits};

use super::{NO_LIMITS, decode, decoder, dynamic_table, fields};

/// A literal with incremental indexing, neither string Huffman-coded.
fn indexed_literal(name: &str, value: &str) -> Vec<u8> {
    [&[0x40, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

/// RFC 7541 §2.1, §2.3: the table changes only by what the peer sends, and an empty block is a block.
#[test]
fn an_empty_block_has_no_fields() {
    assert_eq!(decode(&mut decoder(), &[]), Ok(vec![]));
}

/// RFC 7541 §2.3.3: "Indices strictly greater than the sum of the lengths of both tables MUST be treated as a decoding
/// error."
#[test]
fn an_index_past_the_tables_is_an_error() {
    for block in [&[0xbe][..], &[0xff, 0x00], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0x7e, 0x01, b'x'], &[0x0f, 0x2f, 0x00]]
    {
        assert_eq!(decode(&mut decoder(), block), Err(Error::IndexOutOfRange), "{block:x?}");
    }
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, &[0x41, 0x01, b'x', 0xbe]), Ok(fields(&[(":authority", "x"); 2])));
    assert_eq!(decode(&mut decoder, &[0xbf]), Err(Error::IndexOutOfRange));
}

/// RFC 7541 §6.1: "The index value of 0 is not used. It MUST be treated as a decoding error if found in an indexed
/// header field representation."
#[test]
fn index_0_is_an_error() {
    assert_eq!(decode(&mut decoder(), &[0x80]), Err(Error::IndexZero));
}

/// RFC 7541 §5.1
#[test]
fn an_integer_past_32_bits_is_an_error() {
    for block in [&[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f][..], &[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00]] {
        assert_eq!(decode(&mut decoder(), block), Err(Error::IntegerOverflow), "{block:x?}");
    }
    // As a string's length, too.
    assert_eq!(decode(&mut decoder(), &[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x1f]), Err(Error::IntegerOverflow));
}

/// A header block is whole when it comes here, so what ends early is broken, wherever that is.
#[test]
fn a_truncated_representation_is_an_error() {
    let huffman = [0x40, 0x82, 0x94, 0xe7, 0x83, 0x8c, 0x76, 0x7f];
    let indexed = indexed_literal("custom-key", "custom-header");
    let long_index = [0x0f, 0x2e, 0x03, b'a', b'b', b'c'];
    let size_update = [0x3f, 0xe1, 0x1f];
    for block in [&huffman[..], &indexed, &long_index, &size_update] {
        for length in 1..block.len() {
            assert_eq!(decode(&mut decoder(), &block[..length]), Err(Error::Truncated), "{:x?}", &block[..length]);
        }
        assert!(decode(&mut decoder(), &[&indexed[..], &huffman].concat()).is_ok());
    }
}

/// RFC 7541 §5.2, the whole of which the tests beside the Huffman code hold: as a name and as a value.
#[test]
fn broken_huffman_strings_are_errors() {
    for (string, error) in [
        (&[0x84, 0xff, 0xff, 0xff, 0xff][..], Error::HuffmanEos),
        (&[0x81, 0xff], Error::HuffmanPaddingLength),
        (&[0x82, 0x1f, 0xff], Error::HuffmanPaddingLength),
        (&[0x81, 0x18], Error::HuffmanPaddingBits),
    ] {
        assert_eq!(decode(&mut decoder(), &[&[0x40][..], string, &[0x00]].concat()), Err(error), "{string:x?}");
        assert_eq!(decode(&mut decoder(), &[&[0x41][..], string].concat()), Err(error), "{string:x?}");
    }
    assert_eq!(decode(&mut decoder(), &[0x41, 0x80]), Ok(fields(&[(":authority", "")])));
}

/// RFC 7541 §4.2: "This dynamic table size update MUST occur at the beginning of the first header block following the
/// change to the dynamic table size."
#[test]
fn size_updates_stand_at_the_beginning_only() {
    for size in [0x20, 0x3e] {
        assert_eq!(decode(&mut decoder(), &[size, size, 0x82]), Ok(fields(&[(":method", "GET")])));
        assert_eq!(decode(&mut decoder(), &[0x82, size]), Err(Error::SizeUpdateNotAtStart));
        assert_eq!(decode(&mut decoder(), &[0x41, 0x01, b'x', size]), Err(Error::SizeUpdateNotAtStart));
    }
}

/// RFC 7541 §4.2: "The final maximum size is always signaled, resulting in at most two dynamic table size updates."
#[test]
fn a_third_size_update_is_an_error() {
    let sizes: [&[u8]; 3] = [&[0x20], &[0x3e], &[0x3f, 0xe1, 0x1f]];
    for third in sizes {
        for rest in [&[][..], &[0x82]] {
            let block = [&[0x20][..], &[0x3f, 0xe1, 0x1f], third, rest].concat();
            assert_eq!(decode(&mut decoder(), &block), Err(Error::TooManySizeUpdates), "{block:x?}");
        }
    }
    assert_eq!(decode(&mut decoder(), &[0x20; 10_000]), Err(Error::TooManySizeUpdates));
}

/// Honest encoders flush the table by two updates, as often as they like: the limit is a block's, and so it is a header
/// block's that has no fields, or trailers.
#[test]
fn two_size_updates_in_every_block_are_no_fault() {
    let mut decoder = decoder();
    for _ in 0..10_000 {
        assert_eq!(decode(&mut decoder, &[0x20, 0x3f, 0xe1, 0x1f, 0x82]), Ok(fields(&[(":method", "GET")])));
        assert_eq!(decode(&mut decoder, &[0x3e]), Ok(vec![]));
    }
}

/// RFC 7541 §6.3: "A value that exceeds this limit MUST be treated as a decoding error."
#[test]
fn a_size_update_above_the_setting_is_an_error() {
    // 4096 and 4097.
    assert_eq!(decode(&mut decoder(), &[0x3f, 0xe1, 0x1f]), Ok(vec![]));
    assert_eq!(decode(&mut decoder(), &[0x3f, 0xe2, 0x1f]), Err(Error::SizeUpdateTooLarge));
    assert_eq!(decode(&mut Decoder::new(8192, NO_LIMITS), &[0x3f, 0xe2, 0x1f]), Ok(vec![]));
}

/// RFC 9113 §6.5.3: until the peer has seen a smaller setting, it keeps to the initial one.
#[test]
fn a_smaller_setting_is_in_force_from_its_acknowledgement_on() {
    let mut decoder = Decoder::new(100, NO_LIMITS);
    let list = fields(&[("custom-key", "custom-header")]);
    for _ in 0..3 {
        assert_eq!(decode(&mut decoder, &indexed_literal("custom-key", "custom-header")).as_ref(), Ok(&list));
    }
    assert_eq!(dynamic_table(&mut decoder).len(), 3);
    decoder.handle_settings_acknowledged();
    // 100 octets: one entry of 55 is left.
    assert_eq!(decode(&mut decoder, &[0x3f, 0x45, 0xbe]).as_ref(), Ok(&list));
    assert_eq!(dynamic_table(&mut decoder), list);
    // 101 octets.
    assert_eq!(decode(&mut decoder, &[0x3f, 0x46]), Err(Error::SizeUpdateTooLarge));
}

/// RFC 9113 §4.3.1: a field block that follows the acknowledgement of a reduction, but opens with no size update, is a
/// connection error.
#[test]
fn a_missing_size_update_is_an_error() {
    let mut decoder = Decoder::new(4095, NO_LIMITS);
    decoder.handle_settings_acknowledged();
    assert_eq!(decode(&mut decoder, &[0x82]), Err(Error::SizeUpdateMissing));
    // Nothing is owed where the setting is not below the size in use.
    for max_table_size in [4096, 65_536] {
        let mut decoder = Decoder::new(max_table_size, NO_LIMITS);
        decoder.handle_settings_acknowledged();
        assert_eq!(decode(&mut decoder, &[0x82]), Ok(fields(&[(":method", "GET")])));
    }
}

/// RFC 7541 §4.2: a larger setting allows a larger table, which the peer has to ask for.
#[test]
fn the_table_starts_with_the_initial_size() {
    let mut decoder = Decoder::new(65_536, NO_LIMITS);
    let value = "v".repeat(100);
    let literal = indexed_literal("name", &value);
    assert_eq!(decode(&mut decoder, &literal.repeat(50)).unwrap().len(), 50);
    // Of 136 octets each.
    assert_eq!(dynamic_table(&mut decoder).len(), 4096 / 136);
    // 65536
    decode(&mut decoder, &[&[0x3f, 0xe1, 0xff, 0x03][..], &literal.repeat(50)].concat()).unwrap();
    assert_eq!(dynamic_table(&mut decoder).len(), 65);
}

/// RFC 7541 §4.3: "entries are evicted from the end of the dynamic table until the size of the dynamic table is less
/// than or equal to the maximum size."
#[test]
fn a_size_update_evicts_the_oldest() {
    let mut decoder = decoder();
    // 38, 39 and 40 octets.
    decode(&mut decoder, &["1", "12", "123"].map(|value| indexed_literal("name1", value)).concat()).unwrap();
    let list = [("name1", "123"), ("name1", "12"), ("name1", "1")];
    for (size, entries) in [(117, 3), (116, 2), (79, 2), (78, 1), (40, 1), (39, 0)] {
        decode(&mut decoder, &[0x3f, size - 31]).unwrap();
        assert_eq!(dynamic_table(&mut decoder), fields(&list[..entries]), "{size}");
    }
    // What is gone does not come back.
    decode(&mut decoder, &[0x3f, 0xe1, 0x1f]).unwrap();
    assert_eq!(dynamic_table(&mut decoder), vec![]);
}

/// RFC 7541 §4.1, §4.4: the size of an entry is the sum of its lengths, plus 32.
#[test]
fn an_insertion_evicts_the_oldest() {
    let mut decoder = decoder();
    // 70 octets: two entries of 35, or one of 36.
    decode(&mut decoder, &[0x3f, 0x27]).unwrap();
    for (value, table) in [("11", &["11"][..]), ("22", &["22", "11"]), ("33", &["33", "22"]), ("4_4", &["4_4"])] {
        decode(&mut decoder, &indexed_literal("n", value)).unwrap();
        let table: Vec<_> = table.iter().map(|value| ("n", *value)).collect();
        assert_eq!(dynamic_table(&mut decoder), fields(&table));
    }
}

/// RFC 7541 §4.4: "an attempt to add an entry larger than the maximum size causes the table to be emptied of all
/// existing entries and results in an empty table."
#[test]
fn an_entry_larger_than_the_table_empties_it() {
    let mut decoder = decoder();
    // 64 octets.
    decode(&mut decoder, &[0x3f, 0x21]).unwrap();
    decode(&mut decoder, &indexed_literal("name", "value")).unwrap();
    assert_eq!(dynamic_table(&mut decoder).len(), 1);
    let large = "v".repeat(29);
    assert_eq!(decode(&mut decoder, &indexed_literal("name", &large)), Ok(fields(&[("name", &large)])));
    assert_eq!(dynamic_table(&mut decoder), vec![]);
    decode(&mut decoder, &indexed_literal("name", &large[1..])).unwrap();
    assert_eq!(dynamic_table(&mut decoder).len(), 1);
}

/// RFC 7541 §4.4: "A new entry can reference the name of an entry in the dynamic table that will be evicted when adding
/// this new entry into the dynamic table."
#[test]
fn an_evicted_entry_can_lend_its_name() {
    let mut decoder = decoder();
    // 64 octets: one entry.
    decode(&mut decoder, &[0x3f, 0x21]).unwrap();
    decode(&mut decoder, &indexed_literal("a-name", "first")).unwrap();
    for (value, octets) in [("second", &b"\x06second"[..]), ("foo", &[0x82, 0x94, 0xe7])] {
        let block = [&[0x7e][..], octets].concat();
        assert_eq!(decode(&mut decoder, &block), Ok(fields(&[("a-name", value)])));
        assert_eq!(dynamic_table(&mut decoder), fields(&[("a-name", value)]));
    }
}

/// RFC 7541 §6.2.2, §6.2.3
#[test]
fn literals_without_indexing_do_not_enter_the_table() {
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, b"\x00\x01a\x01b\x04\x02/c"), Ok(fields(&[("a", "b"), (":path", "/c")])));
    assert_eq!(decode(&mut decoder, b"\x10\x01a\x01b"), Ok(vec![Field::sensitive(b"a", b"b").into()]));
    assert_eq!(dynamic_table(&mut decoder), vec![]);
}

/// RFC 7541 §2.2, §3.2: order and repetition are the sender's.
#[test]
fn duplicates_are_kept_in_order() {
    let mut decoder = decoder();
    let block = [indexed_literal("a", "1"), indexed_literal("a", "1"), vec![0xbe, 0xbf, 0x82]].concat();
    let pair = ("a", "1");
    assert_eq!(decode(&mut decoder, &block), Ok(fields(&[pair, pair, pair, pair, (":method", "GET")])));
}

/// RFC 9113 §6.5.2: "the length in octets of the uncompressed name and value plus an overhead of 32 octets for each
/// header field".
#[test]
fn a_list_above_the_size_limit_is_an_error() {
    // Two fields of 42 octets, one from each kind of source.
    let block = [vec![0x82], indexed_literal("1234", "567890"), vec![0xbe]].concat();
    for (max_list_size, visited) in [(42 + 42 + 42, 3), (42 + 42 + 41, 2), (42, 1), (41, 0), (0, 0)] {
        let mut decoder = Decoder::new(4096, Limits::new(max_list_size, 3));
        let mut count = 0;
        let result = decoder.decode(&block, |_| count += 1);
        assert_eq!(result, if visited == 3 { Ok(()) } else { Err(Error::ListTooLarge) });
        assert_eq!(count, visited);
    }
}

#[test]
fn a_list_above_the_field_limit_is_an_error() {
    for max_fields in 0..4 {
        let mut decoder = Decoder::new(4096, Limits::new(1000, max_fields));
        let mut count = 0;
        // The limits are a block's, not the connection's.
        assert_eq!(decoder.decode(&vec![0x82; max_fields], |_| count += 1), Ok(()));
        assert_eq!(decoder.decode(&vec![0x82; max_fields + 1], |_| count += 1), Err(Error::TooManyFields));
        assert_eq!(count, 2 * max_fields);
    }
}
