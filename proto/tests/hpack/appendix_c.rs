//! The examples of RFC 7541 Appendix C.

use sockeye_proto::hpack::{Decoder, Encoder, Field};

use super::{OwnedField, decode, decoder, dynamic_table, encode, fields, hex};

/// A header block, its fields, and the dynamic table after it.
struct Example {
    block: &'static str,
    list: Vec<OwnedField>,
    table: Vec<OwnedField>,
}

fn check(mut decoder: Decoder, examples: &[Example]) {
    for Example { block, list, table } in examples {
        assert_eq!(decode(&mut decoder, &hex(block)).as_ref(), Ok(list));
        assert_eq!(&dynamic_table(&mut decoder), table);
    }
}

#[test]
fn c_2_representations() {
    let custom = fields(&[("custom-key", "custom-header")]);
    let password: OwnedField = Field::sensitive(b"password", b"secret").into();
    for (block, list, table) in [
        ("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", custom.clone(), custom),
        ("040c 2f73 616d 706c 652f 7061 7468", fields(&[(":path", "/sample/path")]), vec![]),
        ("1008 7061 7373 776f 7264 0673 6563 7265 74", vec![password], vec![]),
        ("82", fields(&[(":method", "GET")]), vec![]),
    ] {
        check(decoder(), &[Example { block, list, table }]);
    }
}

fn requests(blocks: [&'static str; 3]) -> [Example; 3] {
    let authority = (":authority", "www.example.com");
    let cache_control = ("cache-control", "no-cache");
    let custom = ("custom-key", "custom-value");
    let lists = [
        fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), authority]),
        fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/"), authority, cache_control]),
        fields(&[(":method", "GET"), (":scheme", "https"), (":path", "/index.html"), authority, custom]),
    ];
    let tables = [&[authority][..], &[cache_control, authority], &[custom, cache_control, authority]].map(fields);
    join(blocks, lists, tables)
}

fn responses(blocks: [&'static str; 3]) -> [Example; 3] {
    let cache_control = ("cache-control", "private");
    let (date, later) = (("date", "Mon, 21 Oct 2013 20:13:21 GMT"), ("date", "Mon, 21 Oct 2013 20:13:22 GMT"));
    let location = ("location", "https://www.example.com");
    let encoding = ("content-encoding", "gzip");
    let cookie = ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1");
    let [found, redirect] = [(":status", "302"), (":status", "307")];
    let lists = [
        fields(&[found, cache_control, date, location]),
        fields(&[redirect, cache_control, date, location]),
        fields(&[(":status", "200"), cache_control, later, location, encoding, cookie]),
    ];
    let tables = [
        &[location, date, cache_control, found][..],
        &[redirect, location, date, cache_control],
        &[cookie, encoding, later],
    ];
    join(blocks, lists, tables.map(fields))
}

fn join(blocks: [&'static str; 3], lists: [Vec<OwnedField>; 3], tables: [Vec<OwnedField>; 3]) -> [Example; 3] {
    let mut rest = lists.into_iter().zip(tables);
    blocks.map(|block| rest.next().map(|(list, table)| Example { block, list, table }).unwrap())
}

const REQUESTS: [&str; 3] = [
    "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "8286 84be 5808 6e6f 2d63 6163 6865",
    "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
];

const REQUESTS_HUFFMAN: [&str; 3] = [
    "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
    "8286 84be 5886 a8eb 1064 9cbf",
    "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
];

const RESPONSES: [&str; 3] = [
    "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d \
     546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
    "4803 3330 37c1 c0bf",
    "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f \
     6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b \
     2076 6572 7369 6f6e 3d31",
];

const RESPONSES_HUFFMAN: [&str; 3] = [
    "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 \
     8f0b 97c8 e9ae 82ae 43d3",
    "4883 640e ffc1 c0bf",
    "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 \
     dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
];

/// The responses' decoder has "the maximum dynamic table size [...] set to 256 octets".
fn small_decoder() -> Decoder {
    let mut decoder = decoder();
    assert_eq!(decode(&mut decoder, &[0x3f, 0xe1, 0x01]), Ok(vec![]));
    decoder
}

#[test]
fn c_3_requests() {
    check(decoder(), &requests(REQUESTS));
}

#[test]
fn c_4_requests_with_huffman_coding() {
    check(decoder(), &requests(REQUESTS_HUFFMAN));
}

#[test]
fn c_5_responses() {
    check(small_decoder(), &responses(RESPONSES));
}

#[test]
fn c_6_responses_with_huffman_coding() {
    check(small_decoder(), &responses(RESPONSES_HUFFMAN));
}

#[test]
fn c_4_is_what_our_encoder_sends() {
    let mut encoder = Encoder::new(4096);
    for Example { block, list, .. } in requests(REQUESTS_HUFFMAN) {
        assert_eq!(encode(&mut encoder, &list), hex(block));
    }
}
