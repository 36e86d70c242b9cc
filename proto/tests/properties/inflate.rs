//! Compressed messages with anything in them: whole, in pieces, in fragments and octet by octet they come to the same, which is
//! within the limit and what another implementation of DEFLATE, `miniz_oxide`, makes of them, unless zlib calls them wrong.

use std::time::Instant;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use sockeye_proto::ws::{
    Config, Deflate, DeflateContext, Event, Extensions, Message, Piece, Role, Violation, WebSocket,
};

use super::choices::{Choices, Random};
use super::ws_common::{BINARY, CONTINUATION, FIN, KEY, RSV1};

/// RFC 7692 §7.2.2 appends this to a message; and an empty final block, for decoders that say of a stream only at its end that it
/// is whole.
const END: [u8; 9] = [0x00, 0x00, 0xFF, 0xFF, 0x01, 0x00, 0x00, 0xFF, 0xFF];

pub fn check(choices: &mut Choices<'_>) {
    let max = choices.pick(&[300, 20_000]);
    // What the message may refer to.
    let history: Vec<u8> = b"abcdefgh".iter().copied().cycle().take(choices.pick(&[0, 0, 5, 200])).collect();
    let mut random = choices.random();
    let payload = choices.rest(|random| any_payload(random, &history));
    // No encoder adds more to what cannot be compressed.
    let outcome = match payload.len() <= max + max / 8 + 64 {
        true => model(&history, &payload, max),
        false => None,
    };
    let whole = receive(max, &history, [&payload[..]], usize::MAX, false);
    if whole.is_some() || is_deflate(&history, &payload) {
        assert_eq!(whole, outcome, "another implementation says otherwise");
    }
    for in_pieces in [false, true] {
        let (first, second) = payload.split_at(random.below(payload.len() + 1));
        let step = random.pick(&[1, 7, 1000]);
        let outcome = receive(max, &history, [first, second], step, in_pieces);
        assert_eq!(outcome, whole, "the outcome depends on how it comes; in pieces: {in_pieces}");
    }
}

/// The message that comes in these fragments, `step` octets at a time.
fn receive<const N: usize>(
    max: usize,
    history: &[u8],
    fragments: [&[u8]; N],
    step: usize,
    in_pieces: bool,
) -> Option<Vec<u8>> {
    let config = Config::default().with(|config| {
        config.max_message_size = max;
        config.max_streamed_message_size = max as u64;
    });
    let context = DeflateContext::new().takeover(true).window_bits(15);
    let deflate = Deflate::new().contexts(context);
    let in_use = Extensions { deflate: Some(deflate), no_masking: false };
    let mut socket = WebSocket::new(Role::Client { mask_key: || KEY }, config).with_extensions(in_use);
    if !history.is_empty() {
        let message = hear(&mut socket, &frame(FIN | RSV1 | BINARY, &stored(history)), usize::MAX, max);
        assert_eq!(message.as_deref(), Some(history));
    }
    if in_pieces {
        socket.receive_in_pieces();
    }
    let mut wire = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let opcode = if index == 0 { RSV1 | BINARY } else { CONTINUATION };
        let fin = if index + 1 == N { FIN } else { 0 };
        wire.extend(frame(fin | opcode, fragment));
    }
    hear(&mut socket, &wire, step, max)
}

/// The message that the socket makes of `wire`, `None` where it fails.
fn hear(socket: &mut WebSocket, wire: &[u8], step: usize, max: usize) -> Option<Vec<u8>> {
    let now = Instant::now();
    let mut heard = Vec::new();
    for octets in wire.chunks(step.min(wire.len())) {
        let mut input = BytesMut::from(octets);
        while !input.is_empty() {
            let (taken, message) = socket.handle_in_place(|| now, &mut input);
            input.advance(taken);
            while let Some(piece) = socket.poll_piece() {
                match piece {
                    Piece::Payload(piece) => heard.extend_from_slice(piece.as_bytes()),
                    Piece::Begin(_) => {}
                    Piece::End => return Some(heard),
                }
                assert!(heard.len() <= max, "{} octets of at most {max}", heard.len());
            }
            match message.map(Event::Message).or_else(|| socket.poll_event()) {
                None => {}
                Some(Event::Message(Message::Binary(message))) => {
                    assert!(message.len() <= max, "{} octets of at most {max}", message.len());
                    return Some(message.to_vec());
                }
                Some(Event::Failed(
                    Violation::Deflate | Violation::MessageTooBig | Violation::StreamedMessageTooBig,
                )) => return None,
                Some(event) => panic!("{event:?}"),
            }
        }
    }
    panic!("nothing came of a message that is whole");
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ ..126 => frame.push(length as u8),
        length @ ..0x1_0000 => frame.extend([&[126], &(length as u16).to_be_bytes()[..]].concat()),
        length => frame.extend([&[127], &(length as u64).to_be_bytes()[..]].concat()),
    }
    frame.extend_from_slice(payload);
    frame
}

/// RFC 1951 §3.2.4, and the header of the empty block whose rest is not sent.
fn stored(octets: &[u8]) -> Vec<u8> {
    let length = octets.len() as u16;
    [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes(), octets, &[0]].concat()
}

/// What the payload is decompressed to by another implementation, a stream after the other where blocks are final (RFC 7692
/// §7.2.3.4); `None` where it is not whole, or more than `max`.
fn model(history: &[u8], payload: &[u8], max: usize) -> Option<Vec<u8>> {
    let mut output = history.to_vec();
    output.resize(history.len() + max + 1, 0);
    let mut inflater = Inflater { state: DecompressorOxide::new(), output, from: 0, to: history.len() };
    inflater.run(payload)?;
    let length = inflater.to - history.len();
    let is_final = inflater.run(&END)?;
    let is_whole = is_final && inflater.to - history.len() == length && length <= max;
    is_whole.then(|| inflater.output[history.len()..][..length].to_vec())
}

/// Whether zlib finds nothing wrong. `miniz_oxide` takes a code of one symbol however long it is, where RFC 1951 §3.2.7 gives it one
/// bit.
fn is_deflate(history: &[u8], payload: &[u8]) -> bool {
    let mut inflate = Decompress::new(false);
    if !history.is_empty() {
        inflate.set_dictionary(history).expect("a dictionary before the first octet");
    }
    let mut octets = payload;
    let mut output = vec![0; 1 << 16];
    loop {
        let before = inflate.total_in();
        let status = inflate.decompress(octets, &mut output, FlushDecompress::None);
        octets = &octets[(inflate.total_in() - before) as usize..];
        match status {
            Err(_) => return false,
            Ok(Status::StreamEnd) => inflate.reset(false),
            Ok(Status::Ok) if !octets.is_empty() => {}
            Ok(_) => return true,
        }
    }
}

struct Inflater {
    state: DecompressorOxide,
    output: Vec<u8>,
    /// Where the stream begins that is being read, with what it may refer to.
    from: usize,
    to: usize,
}

impl Inflater {
    /// Whether the octets end with a final block; `None` where they are wrong, or there is no room.
    fn run(&mut self, mut octets: &[u8]) -> Option<bool> {
        loop {
            let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let output = &mut self.output[self.from..];
            let (status, read, written) = decompress(&mut self.state, octets, output, self.to - self.from, flags);
            octets = &octets[read..];
            self.to += written;
            match status {
                TINFLStatus::Done => {
                    self.state.init();
                    self.from = self.to;
                    if octets.is_empty() {
                        return Some(true);
                    }
                }
                TINFLStatus::NeedsMoreInput if octets.is_empty() => return Some(false),
                _ => return None,
            }
        }
    }
}

/// A compressed payload, with a few octets changed.
fn any_payload(random: &mut Random, history: &[u8]) -> Vec<u8> {
    let length = random.pick(&[0, 10, 100, 290, 310, 3000, 19_990, 20_010]);
    let pattern: Vec<u8> = (0..1 + random.below(40)).map(|_| random.octet()).collect();
    let mut message: Vec<u8> = pattern.iter().copied().cycle().take(length).collect();
    if random.one_in(2) {
        message.extend_from_slice(history);
    }
    let mut compress = Compress::new(Compression::new(random.below(10) as u32), false);
    let mut payload = Vec::with_capacity(2 * message.len() + 100);
    let flush = random.pick(&[FlushCompress::Sync, FlushCompress::Sync, FlushCompress::Finish]);
    if random.one_in(2) && !history.is_empty() {
        compress.set_dictionary(history).expect("a dictionary before the first octet");
    }
    compress.compress_vec(&message, &mut payload, flush).expect("room for all of it");
    match payload.strip_suffix(&[0x00, 0x00, 0xFF, 0xFF]) {
        Some(stripped) => payload.truncate(stripped.len()),
        None => payload.push(0),
    }
    random.mutate(&mut payload, &[0x00, 0x01, 0x03, 0x05, 0xff]);
    payload
}
