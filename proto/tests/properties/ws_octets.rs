//! Octets of a peer into one WebSocket: however they are cut the outcome is the same, and that of a plain reading of the frames;
//! with verbs of the application between, memory stays within the bound and the peer can read all that is sent. With and without
//! extensions, and with messages whole and in pieces.

use std::time::Instant;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use sockeye_proto::ws::{CloseCode, Config, Deflate, DeflateContext, Event, Extensions, Piece, Role, State, WebSocket};

use super::choices::{Choices, Random};
use super::ws_common::*;
use super::ws_model;

pub fn config() -> Config {
    Config::default().with(|config| {
        config.max_message_size = 300;
        config.max_streamed_message_size = 300;
        config.max_fragments = 6;
        config.ping_burst = 5;
        config.pings_per_second = 1;
    })
}

const SERVER: Role = Role::Server;
const CLIENT: Role = Role::Client { mask_key: || KEY };

pub fn server(choices: &mut Choices<'_>) {
    check(choices, SERVER, CLIENT);
}

pub fn client(choices: &mut Choices<'_>) {
    check(choices, CLIENT, SERVER);
}

fn check(choices: &mut Choices<'_>, role: Role, peers_role: Role) {
    let now = Instant::now();
    let in_use = any_extensions(choices);
    let is_masked = matches!(role, Role::Server) && !in_use.no_masking;
    let mut random = choices.random();
    let wire = choices.rest(|random| any_session(random, is_masked, in_use.deflate.is_some()));

    let new = || WebSocket::new(role, config()).with_extensions(in_use);
    let mut socket = new();
    let mut output = BytesMut::new();
    run(&mut socket, now, &wire, &mut random, Some(&mut output));
    output.extend(sent(&mut socket));
    // Whatever it sent, a peer without limits finds no fault with it.
    let lenient = Config::default().with(|config| config.ping_burst = 1 << 20);
    let mut peer = WebSocket::new(peers_role, lenient).with_extensions(in_use);
    let answers = feed_at(&mut peer, now, &output);
    assert!(!answers.iter().any(|event| matches!(event, Event::Failed(_))), "{answers:?}");

    let cut = run(&mut new(), now, &wire, &mut random, None);
    let mut socket = new();
    let whole = feed_at(&mut socket, now, &wire);
    assert_eq!(cut, whole, "the outcome depends on where it is cut");
    if in_use.deflate.is_none() {
        ws_model::assert_is_outcome(&whole, &wire, is_masked, &config());
    }
    socket.handle_eof();
    assert_eq!(socket.poll_event().is_none(), matches!(whole.last(), Some(Event::Close(_) | Event::Failed(_))));
    assert_eq!(socket.buffered(), 0);
}

/// Extensions in use, mostly none.
fn any_extensions(choices: &mut Choices<'_>) -> Extensions {
    let context = DeflateContext::new().takeover(choices.one_in(2)).window_bits(9);
    let deflate = Deflate::new().contexts(context).level(1).min_size(4);
    Extensions { deflate: choices.one_in(3).then_some(deflate), no_masking: choices.one_in(4) }
}

fn compressed(text: &str) -> Vec<u8> {
    let mut output = Vec::with_capacity(2 * text.len() + 64);
    let mut compress = Compress::new_with_window_bits(Compression::fast(), false, 9);
    compress.compress_vec(text.as_bytes(), &mut output, FlushCompress::Sync).unwrap();
    output.truncate(output.len() - 4);
    output
}

/// A session of frames that are mostly right, so that changes reach far into it; or octets without any structure.
fn any_session(random: &mut Random, masked: bool, deflate: bool) -> Vec<u8> {
    if random.one_in(8) {
        return (0..random.below(64)).map(|_| random.octet()).collect();
    }
    let mut wire = session(random, masked, deflate);
    random.mutate(&mut wire, &[0x00, 0x01, 0x7e, 0x7f, 0x80, 0x81, 0x88, 0xc1, 0xff]);
    wire
}

/// A session of frames that are mostly right, so that mutations reach far into it.
fn session(random: &mut Random, masked: bool, deflate: bool) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut open = false;
    // Of a compressed message that is not finished.
    let mut rest: Option<Vec<u8>> = None;
    for _ in 0..random.below(8) {
        let mut size = [random.below(8), random.below(126), 126 + random.below(200)][random.below(3)];
        let fin = if random.below(3) > 0 { FIN } else { 0 };
        let mut first = match random.below(12) {
            0 => FIN | PING,
            1 => FIN | PONG,
            2 if random.below(3) == 0 => FIN | CLOSE,
            _ if open => fin | CONTINUATION,
            _ => fin | [TEXT, BINARY][random.below(2)],
        };
        if first & 0x8 == 0 {
            open = first & FIN == 0;
        } else {
            size = size.min(125);
        }
        let text: String = "aé€😀".chars().cycle().skip(random.below(4)).take(size).collect();
        let mut payload = text.as_bytes()[..size].to_vec();
        if deflate && matches!(first & 0xF, TEXT | BINARY) && random.below(4) > 0 {
            first |= RSV1;
            rest = Some(compressed(&text));
        }
        if first & 0x8 == 0
            && let Some(mut compressed) = rest.take()
        {
            if first & FIN == 0 {
                rest = Some(compressed.split_off(random.below(compressed.len() + 1)));
            }
            payload = compressed;
        }
        if first == FIN | CLOSE && size > 1 {
            payload[..2].copy_from_slice(&1000u16.to_be_bytes());
        }
        match masked {
            true => wire.extend(frame(first, payload)),
            false => wire.extend(bare(first, &payload[..payload.len().min(125)])),
        }
    }
    wire
}

/// Feeds all of `wire`, cut at random, and checks at each step what must always hold.
///
/// With an `output` for what is sent, there are verbs between.
fn run(
    socket: &mut WebSocket,
    now: Instant,
    wire: &[u8],
    random: &mut Random,
    mut output: Option<&mut BytesMut>,
) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut pieces = Pieces::default();
    let mut rest = wire;
    let largest = 1 + random.below(wire.len() + 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(largest)).min(rest.len()));
        rest = after;
        let mut input = BytesMut::from(piece);
        while !input.is_empty() {
            let before = input.len();
            let message = if random.below(2) == 0 {
                let (taken, message) = socket.handle_in_place(|| now, &mut input);
                input.advance(taken);
                message
            } else {
                socket.handle_data(|| now, &mut input);
                None
            };
            let mut has_piece = false;
            while let Some(piece) = socket.poll_piece() {
                has_piece = true;
                pieces.take(piece);
            }
            assert!(input.len() < before || has_piece, "progress");
            let event = message.map(Event::Message).or_else(|| socket.poll_event());
            let has_work = event.is_some() || has_piece || socket.is_transmit_pending();
            // Some octets of a compressed message may make no piece.
            let may_go_on = output.is_some() && socket.extensions().deflate.is_some();
            assert!(has_work || may_go_on || input.is_empty(), "with nothing to do all input is taken");
            assert_eq!(socket.poll_event(), None, "one event at a time");
            events.extend(event);
            let is_compressed = socket.extensions().deflate.is_some();
            let slack = if is_compressed { config().max_message_size / 8 + 64 } else { 0 };
            assert!(socket.buffered() <= config().max_message_size + slack);
        }
        if let Some(output) = &mut output {
            act(socket, random, output, &mut pieces);
            // What came of a message may be more than one in pieces may have.
            events.extend(socket.poll_event());
        }
    }
    let is_last = |event: &Event| matches!(event, Event::Close(_) | Event::Failed(_));
    let last = events.iter().position(is_last);
    assert!(last.is_none_or(|last| last + 1 == events.len()), "nothing follows the last event");
    assert_eq!(last.is_some(), socket.state() == State::Closed);
    events
}

/// What is known of a message that is received in pieces.
#[derive(Default)]
struct Pieces {
    octets: Option<usize>,
}

impl Pieces {
    fn take(&mut self, piece: Piece) {
        match (piece, &mut self.octets) {
            (Piece::Begin(_), octets @ None) => *octets = Some(0),
            (Piece::Payload(piece), Some(octets)) => {
                assert!(!piece.is_empty());
                *octets += piece.len();
                assert!(*octets as u64 <= config().max_streamed_message_size);
            }
            (Piece::End, octets @ Some(_)) => *octets = None,
            (piece, octets) => panic!("{piece:?} after {octets:?}"),
        }
    }
}

/// A verb of the application, or none.
fn act(socket: &mut WebSocket, random: &mut Random, output: &mut BytesMut, pieces: &mut Pieces) {
    let was_open = socket.state() == State::Open;
    let unfinished = socket.unfinished_kind();
    let text = "text".repeat(random.below(8));
    let (accepted, expected) = match random.below(16) {
        0 => (socket.send(&text.into()).is_ok(), was_open && unfinished.is_none()),
        1 => (socket.ping(b"ping").is_ok(), was_open),
        2 if random.below(4) == 0 => (socket.close(CloseCode::NORMAL, "").is_ok(), was_open),
        3 | 4 => {
            let sent = socket.send_piece(&text.into(), random.below(3) == 0, output);
            output.extend(sent.as_ref().ok().cloned().flatten().unwrap_or_default());
            (sent.is_ok(), was_open)
        }
        5..8 => {
            if random.below(3) == 0 {
                socket.receive_whole()
            } else {
                socket.receive_in_pieces()
            }
            *pieces = Pieces::default();
            return;
        }
        _ => return,
    };
    assert_eq!(accepted, expected, "a verb is taken while the socket is open, and only then");
}
