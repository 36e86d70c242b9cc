//! An application that answers a handshake over HTTP/1.1 with anything, in any order: what goes out is framed as one exchange,
//! and a connection that goes on with others was left with that whole.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use sockeye_proto::h1::{Connection, STREAM};
use sockeye_proto::h2::{Config, Event, Reason};
use sockeye_proto::{Machine, MachineStream};

use super::choices::Choices;
use super::h1_common::handshake;

/// What an application might say that frames a message, or speaks of a connection, and other things.
const FIELDS: &[(&str, &str)] = &[
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "300"),
    ("content-length", "+5"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "gzip"),
    ("connection", "close"),
    ("connection", "upgrade, x-hop"),
    ("connection", "keep-alive"),
    ("upgrade", "websocket"),
    ("upgrade", "h2c"),
    ("keep-alive", "timeout=5"),
    ("te", "trailers"),
    ("x-hop", "of this connection"),
    ("x-end", "to end"),
    ("x-end", " white space \t"),
    ("x-empty", ""),
    ("sec-websocket-accept", "x"),
    ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
];

/// The names that [`FIELDS`] has of fields that are for the application alone to say.
const END_TO_END: &[&str] = &["x-end", "x-empty", "sec-websocket-accept"];

const STATUSES: &[u16] = &[101, 101, 100, 103, 200, 200, 204, 205, 304, 404, 426, 500, 599];

pub fn check(choices: &mut Choices<'_>) {
    let config = Config::default().with(|config| {
        config.initial_window_size = choices.pick(&[1, 100, 65_535]);
        config.max_send_buffer = choices.pick(&[1, 1000, 256 << 10]);
        config.date = choices.one_in(2).then_some(|| *b"Sun, 06 Nov 1994 08:49:37 GMT");
    });
    let now = Instant::now();
    let mut request = handshake();
    if choices.one_in(2) {
        request.headers_mut().insert("connection", HeaderValue::from_static("Upgrade"));
    }
    let mut exchange = Exchange {
        machine: Connection::server(request, &config, now),
        now,
        window: config.initial_window_size as usize,
        input: BytesMut::new(),
        output: BytesMut::new(),
        answer: None,
        written: Vec::new(),
        is_finished: false,
        is_cut_off: false,
        is_closed: false,
    };
    let mut rounds = 30;
    while !choices.is_over(rounds) && !exchange.is_closed {
        rounds = usize::saturating_sub(rounds, 1);
        exchange.act(choices);
        exchange.hear();
    }
    exchange.machine.poll_transmit(&mut exchange.output);
    exchange.check();
}

struct Exchange {
    machine: Connection,
    now: Instant,
    window: usize,
    input: BytesMut,
    /// All that was sent.
    output: BytesMut,
    /// The final response that was taken, or the 101.
    answer: Option<Response<()>>,
    /// All that was taken behind it.
    written: Vec<u8>,
    /// The application ended its half, and in these words.
    is_finished: bool,
    /// What waited to be sent may have been dropped.
    is_cut_off: bool,
    is_closed: bool,
}

impl Exchange {
    fn act(&mut self, choices: &mut Choices<'_>) {
        match choices.below(12) {
            0 | 1 => self.respond(choices),
            2..5 => self.write(choices),
            5 => self.send_trailers(choices),
            6 => {
                self.input.extend_from_slice(&vec![b'c'; choices.below(200)]);
                self.machine.handle_data(self.now, &mut self.input);
            }
            7 => self.machine.poll_transmit(&mut self.output),
            8 => drop(self.machine.stream(STREAM).map(|mut stream| stream.read())),
            9 if choices.one_in(4) => self.machine.handle_eof(self.now),
            9 => {
                self.now += Duration::from_millis(choices.below(200) as u64);
                self.machine.handle_timeout(self.now);
            }
            10 if choices.one_in(4) => {
                self.machine.poll_transmit(&mut self.output);
                if let Some(stream) = self.machine.stream(STREAM) {
                    self.is_cut_off = !stream.is_closed();
                    stream.release();
                }
            }
            10 if choices.one_in(4) => {
                self.machine.poll_transmit(&mut self.output);
                self.is_cut_off = true;
                if let Some(mut stream) = self.machine.stream(STREAM) {
                    stream.reset(choices.pick(&[Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::REFUSED_STREAM]));
                }
            }
            11 if choices.one_in(8) => self.machine.drain(self.now),
            _ => self.machine.shrink(),
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            assert!(!self.is_closed, "{event:?} after the last event");
            match event {
                Event::Reset { .. } => self.is_cut_off = true,
                Event::Closed(_) => self.is_closed = true,
                _ => {}
            }
        }
        if let Some(stream) = self.machine.stream(STREAM) {
            assert!(stream.unread() <= self.window);
        }
    }

    fn respond(&mut self, choices: &mut Choices<'_>) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(choices.pick(STATUSES)).expect("a status");
        *response.headers_mut() = any_fields(choices);
        let end_stream = choices.one_in(4);
        let Some(mut stream) = self.machine.stream(STREAM) else { return };
        let status = response.status();
        let is_interim = status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS;
        if stream.respond(&response, end_stream).is_err() {
            return;
        }
        assert!(self.answer.is_none(), "one response");
        if !is_interim {
            self.is_finished = end_stream;
            self.answer = Some(response);
        }
    }

    fn write(&mut self, choices: &mut Choices<'_>) {
        let data: Vec<u8> = (0..choices.below(400)).map(|at| (at + self.written.len()) as u8).collect();
        let end_stream = choices.one_in(4);
        let Some(mut stream) = self.machine.stream(STREAM) else { return };
        if stream.is_send_closed() || self.answer.is_none() {
            assert_eq!(stream.write(&data, end_stream), 0);
            return;
        }
        let taken = stream.write(&data, end_stream);
        self.written.extend_from_slice(&data[..taken]);
        self.is_finished |= end_stream && taken == data.len();
    }

    fn send_trailers(&mut self, choices: &mut Choices<'_>) {
        let trailers = any_fields(choices);
        let Some(mut stream) = self.machine.stream(STREAM) else { return };
        self.is_finished |= stream.send_trailers(&trailers).is_ok();
    }

    /// What was sent is what a client can make out.
    fn check(&self) {
        let mut rest = &self.output[..];
        while let Some((head, after)) = Head::read(rest) {
            rest = after;
            if head.status == 101 {
                assert!(self.is_cut_off || rest == self.written, "a tunnel's octets go as they are");
                return;
            }
            if head.status < 200 {
                assert!(head.length.is_none() && !head.is_chunked, "an informational response frames nothing");
                continue;
            }
            let Some(answer) = &self.answer else {
                // A reset of a client that waits is told so.
                assert!(self.is_cut_off && (head.status == 500 || head.status == 503));
                assert_eq!((head.length, rest), (Some(0), &b""[..]));
                return;
            };
            assert_eq!(head.status, answer.status().as_u16());
            head.check_fields(answer.headers());
            let content = self.read_content(&head, rest);
            if self.machine.is_left() {
                assert!(content.is_whole, "another exchange would follow within the content of this one");
            }
            return;
        }
        assert!(rest.is_empty(), "{} is no head", rest.escape_ascii());
        assert!(self.answer.is_none() || self.is_cut_off, "a response that was never sent");
    }

    /// RFC 9112 §6.3
    fn read_content(&self, head: &Head, octets: &[u8]) -> Content {
        if matches!(head.status, 204 | 304) {
            assert!(octets.is_empty() && !head.is_chunked);
            return Content { is_whole: true };
        }
        if let Some(length) = head.length {
            let announced = self.written.len().min(length);
            assert!(self.is_cut_off || octets == &self.written[..announced]);
            return Content { is_whole: octets.len() == length };
        }
        assert!(head.is_chunked, "nothing says where it ends");
        let (content, is_whole) = read_chunks(octets);
        assert!(self.is_cut_off || content == self.written);
        assert!(self.is_cut_off || is_whole == self.is_finished);
        Content { is_whole }
    }
}

struct Content {
    is_whole: bool,
}

/// A response's head as a client reads it.
struct Head {
    status: u16,
    fields: Vec<(String, Vec<u8>)>,
    length: Option<usize>,
    is_chunked: bool,
}

impl Head {
    /// `None` where nothing is left.
    fn read(octets: &[u8]) -> Option<(Self, &[u8])> {
        if octets.is_empty() {
            return None;
        }
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(octets).expect("a head");
        let httparse::Status::Complete(length) = parsed else { panic!("half a head: {}", octets.escape_ascii()) };
        let fields: Vec<_> =
            response.headers.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect();
        let values = |name: &str| -> Vec<_> {
            fields.iter().filter(|field| field.0 == name).map(|field| field.1.clone()).collect()
        };
        let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
        assert!(lengths.len() + codings.len() <= 1, "one framing: {fields:?}");
        assert!(values("connection").len() <= 1, "{fields:?}");
        assert!(codings.iter().all(|coding| coding == b"chunked"), "{fields:?}");
        let number = |digits: &Vec<u8>| String::from_utf8_lossy(digits).parse().expect("a number");
        let head = Self {
            status: response.code.expect("a status"),
            length: lengths.first().map(number),
            is_chunked: !codings.is_empty(),
            fields,
        };
        Some((head, &octets[length..]))
    }

    /// The application's own fields are there, in order, and nothing of what is for us to say.
    fn check_fields(&self, said: &HeaderMap) {
        for name in END_TO_END {
            let sent = self.fields.iter().filter(|field| field.0 == **name).map(|field| &field.1[..]);
            let said = said.get_all(*name).into_iter().map(|value| value.as_bytes().trim_ascii());
            assert!(sent.eq(said), "{name} in {:?}", self.fields);
        }
        for name in ["keep-alive", "te"] {
            assert!(self.fields.iter().all(|field| field.0 != name), "{name} in {:?}", self.fields);
        }
    }
}

/// RFC 9112 §7.1: the content, and whether its last chunk came.
fn read_chunks(mut octets: &[u8]) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    loop {
        let Some(end) = octets.windows(2).position(|pair| pair == b"\r\n") else {
            assert!(octets.is_empty(), "half a chunk");
            return (content, false);
        };
        let line = str::from_utf8(&octets[..end]).expect("digits");
        let length = usize::from_str_radix(line, 16).expect("digits");
        octets = &octets[end + 2..];
        if length == 0 {
            // The trailers, and an empty line.
            let mut fields = [httparse::EMPTY_HEADER; 100];
            let parsed = httparse::parse_headers(octets, &mut fields).expect("trailers");
            assert!(matches!(parsed, httparse::Status::Complete((length, _)) if length == octets.len()));
            return (content, true);
        }
        content.extend_from_slice(&octets[..length]);
        assert_eq!(octets[length..length + 2], *b"\r\n");
        octets = &octets[length + 2..];
    }
}

fn any_fields(choices: &mut Choices<'_>) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for _ in 0..choices.below(5) {
        let (name, value) = choices.pick(FIELDS);
        fields.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    fields
}
