//! A client and a server, back to back, with an application at each end that does whatever comes to its mind: messages arrive as
//! they went, whole or in pieces, compressed or not, and both ends come to the same Close.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use sockeye_proto::ws::{
    CloseCode, Config, Deflate, DeflateContext, Event, Extensions, Message, MessageKind, Piece, Role, State, WebSocket,
};

use super::choices::Choices;
use super::ws_common::KEY;

pub fn check(choices: &mut Choices<'_>) {
    let in_use = any_extensions(choices);
    let mut client = End::new(Role::Client { mask_key: || KEY }, in_use);
    let mut server = End::new(Role::Server, in_use);
    let mut rounds = 60;
    while !choices.is_over(rounds) {
        rounds = usize::saturating_sub(rounds, 1);
        let (from, to) = if choices.one_in(2) { (&mut client, &mut server) } else { (&mut server, &mut client) };
        if choices.one_in(2) {
            from.act(choices);
        } else {
            let octets = choices.pick(&[1, 2, 7, 100, 5000, usize::MAX]);
            deliver(from, to, octets, choices.one_in(2), choices.one_in(2));
        }
    }
    client.finish(choices);
    server.finish(choices);
    let closer = if choices.one_in(2) { &mut client } else { &mut server };
    closer.close(CloseCode::NORMAL);
    for _ in 0..2 {
        deliver(&mut client, &mut server, usize::MAX, choices.one_in(2), choices.one_in(2));
        deliver(&mut server, &mut client, usize::MAX, choices.one_in(2), choices.one_in(2));
    }
    for end in [&client, &server] {
        assert_eq!((end.socket.state(), end.has_heard_close), (State::Closed, true));
        assert!(!end.socket.is_transmit_pending() && end.socket.buffered() == 0);
    }
    assert!(server.has_heard_all(&client) && client.has_heard_all(&server));
}

fn any_extensions(choices: &mut Choices<'_>) -> Extensions {
    let mut context =
        || DeflateContext::new().takeover(choices.one_in(2)).window_bits(choices.pick(&[8, 9, 9, 10, 12, 15]));
    let (server, client) = (context(), context());
    let deflate = Deflate::new()
        .server(server)
        .client(client)
        .level(choices.below(10) as u8)
        .min_size(choices.pick(&[0, 4, 100]));
    Extensions { deflate: (!choices.one_in(3)).then_some(deflate), no_masking: choices.one_in(3) }
}

struct End {
    socket: WebSocket,
    /// On its way to the other end.
    wire: BytesMut,
    /// Messages that were sent, and have not come.
    sent: VecDeque<Message>,
    /// Of the message that is sent in pieces, what went.
    begun: Option<Message>,
    /// Pings that were sent, and whose answer has not come; an answer stands for those before it.
    pings: VecDeque<Vec<u8>>,
    /// Of the message that comes in pieces, what came.
    pieces: Option<(MessageKind, Vec<u8>)>,
    /// Messages that came after our own Close was sent are dropped.
    has_closed: bool,
    has_heard_close: bool,
}

impl End {
    fn new(role: Role, in_use: Extensions) -> Self {
        // How much and how often one may send is not what this is about.
        let config = Config::default().with(|config| {
            config.max_message_size = 1 << 30;
            config.max_fragments = u32::MAX;
            config.ping_burst = u32::MAX;
            config.pings_per_second = 1;
        });
        Self {
            socket: WebSocket::new(role, config).with_extensions(in_use),
            wire: BytesMut::new(),
            sent: VecDeque::new(),
            begun: None,
            pings: VecDeque::new(),
            pieces: None,
            has_closed: false,
            has_heard_close: false,
        }
    }

    fn is_open(&self) -> bool {
        self.socket.state() == State::Open
    }

    /// A verb of the application.
    fn act(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0..4 => self.send(choices),
            4..8 => self.send_piece(choices),
            8 => {
                let payload = vec![choices.octet(); choices.pick(&[0, 1, 125])];
                if self.socket.ping(&payload).is_ok() {
                    self.pings.push_back(payload);
                }
            }
            9 => drop(self.socket.ping(&[0; 126])),
            10 if choices.one_in(4) => {
                let code = choices.pick(&[1000, 1001, 1005, 1006, 3000, 5000]);
                self.close(code.into());
            }
            _ => self.socket.poll_transmit(&mut self.wire),
        }
    }

    fn close(&mut self, code: CloseCode) {
        let is_good = code.is_sendable() || code == CloseCode::NO_STATUS;
        let is_closed = self.socket.close(code, "").is_ok();
        assert_eq!(is_closed, is_good && !self.has_closed && !self.has_heard_close);
        if is_closed {
            self.has_closed = true;
            self.begun = None;
        }
    }

    fn send(&mut self, choices: &mut Choices<'_>) {
        let kind = choices.pick(&[MessageKind::Text, MessageKind::Binary]);
        let message = any_message(choices, kind);
        let is_free = self.is_open() && self.begun.is_none();
        let sent = match choices.below(3) {
            0 => self.socket.send(&message),
            1 => self.socket.send_into(&message, &mut self.wire),
            _ => match self.socket.send_head_into(&message, &mut self.wire) {
                Ok(payload) => {
                    self.wire.extend_from_slice(&payload.unwrap_or_default());
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        assert_eq!(sent.is_ok(), is_free);
        self.sent.extend(is_free.then_some(message));
    }

    fn send_piece(&mut self, choices: &mut Choices<'_>) {
        let kind = self
            .begun
            .as_ref()
            .map_or_else(|| choices.pick(&[MessageKind::Text, MessageKind::Binary]), |message| message.kind());
        let piece = any_message(choices, kind);
        self.put_piece(piece, choices.one_in(3));
    }

    fn put_piece(&mut self, piece: Message, is_last: bool) {
        if !self.is_open() {
            assert!(self.socket.send_piece(&piece, is_last, &mut self.wire).is_err());
            return;
        }
        let payload = self.socket.send_piece(&piece, is_last, &mut self.wire).expect("it is open");
        self.wire.extend_from_slice(&payload.unwrap_or_default());
        let message = match self.begun.take() {
            None => piece,
            Some(begun) => joined(&begun, &piece),
        };
        if is_last {
            self.sent.push_back(message)
        } else {
            self.begun = Some(message)
        }
        assert_eq!(self.socket.unfinished_kind(), self.begun.as_ref().map(Message::kind));
    }

    /// A message that was begun comes to its end.
    fn finish(&mut self, choices: &mut Choices<'_>) {
        if let Some(kind) = self.begun.as_ref().map(Message::kind) {
            self.put_piece(any_message(choices, kind), true);
        }
    }

    fn hear_piece(&mut self, piece: Piece, from: &mut Self) {
        match (piece, &mut self.pieces) {
            (Piece::Begin(kind), pieces @ None) => *pieces = Some((kind, Vec::new())),
            (Piece::Payload(piece), Some((kind, octets))) => {
                assert!(piece.kind() == *kind && !piece.is_empty());
                octets.extend_from_slice(piece.as_bytes());
            }
            (Piece::End, pieces @ Some(_)) => {
                let Some((kind, octets)) = pieces.take() else { unreachable!() };
                let message = match kind {
                    MessageKind::Text => String::from_utf8(octets).expect("text").into(),
                    MessageKind::Binary => octets.into(),
                };
                from.has_arrived(&message);
            }
            (piece, pieces) => panic!("{piece:?} after {pieces:?}"),
        }
    }

    fn has_arrived(&mut self, message: &Message) {
        let sent = self.sent.pop_front();
        assert!(sent.as_ref() == Some(message), "{message:?} came, and {sent:?} was sent");
    }

    fn hear(&mut self, event: Event, from: &mut Self) {
        match event {
            Event::Message(message) => from.has_arrived(&message),
            Event::Pong(payload) => while self.pings.pop_front().expect("a ping that was sent") != payload {},
            Event::Close(frame) => {
                self.has_heard_close = true;
                // What was begun will not be finished.
                self.begun = None;
                assert!(from.has_closed || from.has_heard_close, "{frame:?} from nowhere");
            }
            event => panic!("{event:?}"),
        }
    }

    /// Whether all came that `from` sent, as far as it mattered.
    fn has_heard_all(&self, from: &Self) -> bool {
        self.has_closed || from.sent.is_empty()
    }
}

/// Carries octets over, and lets the other end hear of them.
fn deliver(from: &mut End, to: &mut End, octets: usize, in_place: bool, in_pieces: bool) {
    let now = Instant::now();
    from.socket.poll_transmit(&mut from.wire);
    let mut input = from.wire.split_to(octets.min(from.wire.len()));
    loop {
        if to.pieces.is_none() {
            if in_pieces { to.socket.receive_in_pieces() } else { to.socket.receive_whole() }
        }
        while let Some(piece) = to.socket.poll_piece() {
            to.hear_piece(piece, from);
        }
        if input.is_empty() {
            break;
        }
        let before = input.len();
        let mut message = None;
        if in_place {
            let (taken, whole) = to.socket.handle_in_place(|| now, &mut input);
            input.advance(taken);
            message = whole;
        } else {
            to.socket.handle_data(|| now, &mut input);
        }
        let mut has_piece = false;
        while let Some(piece) = to.socket.poll_piece() {
            has_piece = true;
            to.hear_piece(piece, from);
        }
        let event = message.map(Event::Message).or_else(|| to.socket.poll_event());
        assert!(input.len() < before || has_piece || event.is_some(), "progress");
        if let Some(event) = event {
            to.hear(event, from);
        }
        // A Pong goes at once, so that each Ping is answered by its own.
        to.socket.poll_transmit(&mut to.wire);
    }
}

fn joined(begun: &Message, piece: &Message) -> Message {
    let octets = [begun.as_bytes(), piece.as_bytes()].concat();
    match begun.kind() {
        MessageKind::Text => String::from_utf8(octets).expect("text").into(),
        MessageKind::Binary => octets.into(),
    }
}

fn any_message(choices: &mut Choices<'_>, kind: MessageKind) -> Message {
    let size = if choices.one_in(32) { 65_536 } else { choices.pick(&[0, 1, 5, 20, 125, 126, 300, 4000]) };
    match (kind, choices.below(4)) {
        (MessageKind::Text, skip) => {
            "aé€😀, over and over".chars().cycle().skip(skip).take(size).collect::<String>().into()
        }
        (MessageKind::Binary, 0) => vec![choices.octet(); size].into(),
        (MessageKind::Binary, _) => {
            // Nothing that can be compressed.
            let mut random = choices.random();
            (0..size).map(|_| random.octet()).collect::<Vec<_>>().into()
        }
    }
}
