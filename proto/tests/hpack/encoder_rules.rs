//! One test for each thing an encoder has to do, or has chosen to.

use sockeye_proto::hpack::{Encoder, Field};

use super::{OwnedField, decode, decoder, dynamic_table, encode, fields};

/// The octets of the second of two equal blocks.
fn repeated(list: &[OwnedField]) -> usize {
    let mut encoder = Encoder::new(4096);
    encode(&mut encoder, list);
    encode(&mut encoder, list).len()
}

#[test]
fn status_200_is_one_octet() {
    assert_eq!(encode(&mut Encoder::new(4096), &fields(&[(":status", "200")])), [0x88]);
}

#[test]
fn a_repeated_handshake_is_one_octet_a_field() {
    let list = fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "example.com"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ("origin", "https://example.com"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Safari/537.36"),
        ("cookie", "session=31cf64b90210475fb3a3cf9d5b9abdca"),
    ]);
    assert_eq!(repeated(&list), list.len());
}

/// However many fields with one name there are, within the table's size.
#[test]
fn values_of_one_name_are_told_apart() {
    let list: Vec<_> = (0..80).map(|number| OwnedField::new("x-name", number.to_string())).collect();
    let mut encoder = Encoder::new(4096);
    let first = encode(&mut encoder, &list);
    // One octet for the name's index from the second on, and a length and two digits for the value.
    assert!(first.len() < 80 * 4 + 6, "{}", first.len());
    let second = encode(&mut encoder, &list);
    // A few may have been forgotten.
    assert!(second.len() < 80 * 2 + 16, "{}", second.len());
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, &first).as_ref(), Ok(&list));
    assert_eq!(decode(&mut decoder, &second).as_ref(), Ok(&list));
}

/// RFC 7541 §5.2: either form is allowed for any string, so it is the shorter one.
#[test]
fn strings_are_huffman_coded_where_that_is_shorter() {
    let mut encoder = Encoder::new(0);
    encode(&mut encoder, &[]);
    assert_eq!(encode(&mut encoder, &fields(&[("foo", "bar")])), [0x00, 0x82, 0x94, 0xe7, 0x03, b'b', b'a', b'r']);
    assert_eq!(encode(&mut encoder, &fields(&[("age", "~~~~")]))[..4], [0x0f, 0x06, 0x04, b'~']);
}

/// RFC 7541 §7.1.3
#[test]
fn sensitive_fields_are_never_indexed() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = decoder();
    let list: Vec<OwnedField> = vec![
        Field::sensitive(b"x-token", b"secret").into(),
        Field::sensitive(b":path", b"/").into(),
        Field::sensitive(b"accept", b"").into(),
    ];
    for _ in 0..2 {
        let block = encode(&mut encoder, &list);
        assert_eq!(block[0], 0x10);
        assert_eq!(decode(&mut decoder, &block).as_ref(), Ok(&list));
        assert_eq!(dynamic_table(&mut decoder), vec![]);
    }
    // An entry that is there already may lend its name.
    let known = OwnedField::new("x-token", "public");
    let blocks = encode(&mut encoder, &[known.clone(), list[0].clone()]);
    assert_eq!(blocks[blocks.len() - 7..blocks.len() - 5], [0x1f, 0x2f]);
    assert_eq!(decode(&mut decoder, &blocks), Ok(vec![known, list[0].clone()]));
}

/// RFC 7541 §7.1.3
#[test]
fn credentials_are_never_indexed() {
    for (name, value, never_indexed) in [
        ("authorization", "Basic YWxhZGRpbjpvcGVuc2VzYW1l", true),
        ("proxy-authorization", "Bearer mF_9.B5f-4.1JqM", true),
        ("cookie", "1234567890123456789", true),
        ("cookie", "12345678901234567890", false),
        ("cookies", "1", false),
    ] {
        let mut decoder = decoder();
        let block = encode(&mut Encoder::new(4096), &fields(&[(name, value)]));
        let expected = OwnedField { sensitive: never_indexed, ..OwnedField::new(name, value) };
        assert_eq!(decode(&mut decoder, &block), Ok(vec![expected]));
        assert_eq!(dynamic_table(&mut decoder).is_empty(), never_indexed, "{name}: {value}");
    }
}

#[test]
fn values_of_one_message_are_not_indexed() {
    let (common, long) = (format!("/{}", "p".repeat(63)), format!("/{}", "p".repeat(64)));
    for (name, value, indexed) in [
        ("content-length", "1234", false),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"", false),
        ("set-cookie", "a=b", false),
        (":path", &common, true),
        (":path", &long, false),
        (":path", "/a?b", false),
        ("content-type", "text/html", true),
        (":status", "403", true),
    ] {
        let mut decoder = decoder();
        let list = fields(&[(name, value)]);
        assert_eq!(decode(&mut decoder, &encode(&mut Encoder::new(4096), &list)).as_ref(), Ok(&list));
        assert_eq!(dynamic_table(&mut decoder).is_empty(), !indexed, "{name}: {value}");
    }
    // But for those that the static table has.
    assert_eq!(encode(&mut Encoder::new(4096), &fields(&[("etag", "")])), [0x80 | 34]);
}

/// Or they would drive out everything else.
#[test]
fn fields_above_half_of_the_table_are_not_indexed() {
    for (length, indexed) in [(2048 - 32 - 1, true), (2048 - 32, false), (100_000, false)] {
        let mut decoder = decoder();
        let list = fields(&[("n", &"~".repeat(length))]);
        assert_eq!(decode(&mut decoder, &encode(&mut Encoder::new(4096), &list)).as_ref(), Ok(&list));
        assert_eq!(dynamic_table(&mut decoder).is_empty(), !indexed, "{length}");
    }
}

/// RFC 7541 §4.2: "the smallest maximum table size that occurs in that interval MUST be signaled in a dynamic table
/// size update. The final maximum size is always signaled".
#[test]
fn size_updates_are_the_smallest_and_the_final() {
    const INITIAL: &[u8] = &[0x3f, 0xe1, 0x1f];
    for (settings, updates) in [
        (&[][..], &[][..]),
        (&[4096], &[]),
        (&[u32::MAX as usize], &[]),
        (&[0], &[0x20]),
        (&[30], &[0x3e]),
        (&[100, 30], &[0x3e]),
        (&[30, 0, 10], &[0x20, 0x2a]),
        (&[0, 4096], &[&[0x20], INITIAL].concat()),
        (&[0, 65_536], &[&[0x20], INITIAL].concat()),
    ] {
        let mut encoder = Encoder::new(4096);
        encode(&mut encoder, &fields(&[("custom-key", "custom-header")]));
        settings.iter().for_each(|&size| encoder.set_max_table_size(size));
        // Even on a block without fields; and once.
        assert_eq!(encode(&mut encoder, &[]), updates, "{settings:?}");
        assert!(encode(&mut encoder, &[]).is_empty());
    }
}

/// RFC 7541 §4.2: "An encoder can choose to use less capacity than this maximum size".
#[test]
fn the_table_stays_within_our_own_limit() {
    let mut encoder = Encoder::new(100);
    let mut decoder = decoder();
    let list: Vec<_> = (0..20).map(|number| OwnedField::new("name", number.to_string())).collect();
    for peer in [None, Some(4096), Some(65_536), Some(50)] {
        peer.into_iter().for_each(|size| encoder.set_max_table_size(size));
        let block = encode(&mut encoder, &list);
        // At first and for the last peer; in between, nothing changes for us.
        let update: &[u8] = match peer {
            None => &[0x3f, 0x45],
            Some(50) => &[0x3f, 0x13],
            Some(_) => &[],
        };
        let first_field = block.strip_prefix(update).unwrap()[0];
        assert!(!(0x20..0x40).contains(&first_field));
        assert_eq!(decode(&mut decoder, &block).as_ref(), Ok(&list));
        assert!(dynamic_table(&mut decoder).len() <= 2);
    }
}

/// A peer that raises its setting is told when we use more of it.
#[test]
fn a_larger_table_is_used_up_to_our_limit() {
    let mut encoder = Encoder::new(8192);
    assert!(encode(&mut encoder, &[]).is_empty());
    encoder.set_max_table_size(65_536);
    // 8192
    assert_eq!(encode(&mut encoder, &[]), [0x3f, 0xe1, 0x3f]);
}

/// After a change of size, what stayed in the table can still be referred to, and nothing else is.
#[test]
fn both_sides_stay_in_step_across_size_changes() {
    let list: Vec<_> =
        (0..40).map(|number| OwnedField::new(format!("name-{}", number % 7), number.to_string())).collect();
    let mut encoder = Encoder::new(4096);
    let mut decoder = decoder();
    for size in [4096, 300, 4096, 0, 40, 100, 4096, 1000, 33] {
        encoder.set_max_table_size(size);
        for _ in 0..3 {
            assert_eq!(decode(&mut decoder, &encode(&mut encoder, &list)).as_ref(), Ok(&list));
        }
    }
}
