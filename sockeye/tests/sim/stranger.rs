//! A client that is none of ours: the machine of HTTP/2 alone, whose requests and tunnels are reset, cut and ended at any
//! moment, as nobody does who keeps to an API.

use std::collections::BTreeMap;
use std::time::Instant as Moment;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::{Either, select};
use http::{Method, Request};
use sockeye_proto::Protocol;
use sockeye_proto::h2::{Config, Connection, Event, Reason, Role, StreamId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::random::Random;
use crate::transport::End;
use crate::world::World;

/// Things it does.
const ACTIONS: usize = 40;
/// Milliseconds for which it waits for the server to end.
const PATIENCE: u64 = 30_000;

struct Stranger {
    world: World,
    machine: Connection,
    random: Random,
    streams: BTreeMap<u32, (StreamId, Exchange)>,
    is_over: bool,
}

/// One stream, whose server says again what it is told.
#[derive(Default)]
struct Exchange {
    /// What is to be heard, and how much of it was.
    expected: BytesMut,
    heard: usize,
    /// Octets that the window had no room for.
    unsent: Bytes,
    is_tunnel: bool,
    is_answered: bool,
    is_ended: bool,
    /// What comes now is not ours to foresee.
    is_unclear: bool,
}

/// Speaks to a server for a while.
pub(crate) async fn visit(world: World, transport: End, mut random: Random) {
    let _alive = world.alive();
    let config = Config::default().with(|config| config.initial_window_size = random.pick(&[100, 65_535]));
    let machine = Connection::new(Role::Client, config, now());
    let mut stranger = Stranger { world, machine, random, streams: BTreeMap::new(), is_over: false };
    stranger.run(transport).await;
}

fn now() -> Moment {
    tokio::time::Instant::now().into_std()
}

impl Stranger {
    async fn run(&mut self, mut transport: End) {
        let mut input = BytesMut::new();
        let mut actions = ACTIONS;
        let leaves_abruptly = self.random.one_in(3);
        while !self.is_over {
            self.hear();
            let mut output = BytesMut::new();
            self.machine.poll_transmit(&mut output);
            if !output.is_empty() && transport.write_all(&output).await.is_err() {
                return;
            }
            if actions == 0 && leaves_abruptly {
                return;
            }
            let pause = if actions == 0 { PATIENCE } else { self.random.pick(&[0, 0, 1, 20, 300]) };
            let scheduler = self.world.scheduler.clone();
            let read = {
                let pause = std::pin::pin!(scheduler.sleep(pause));
                let read = std::pin::pin!(transport.read_buf(&mut input));
                match select(read, pause).await {
                    Either::Left((read, _)) => Some(read.unwrap_or(0)),
                    Either::Right(_) => None,
                }
            };
            match read {
                Some(0) => self.machine.handle_eof(now()),
                Some(_) => self.machine.handle_data(now(), &mut input),
                None if actions == 0 => return,
                None => {
                    actions -= 1;
                    if actions == 0 { self.machine.close(Reason::NO_ERROR) } else { self.act() }
                }
            }
        }
        transport.shutdown().await.ok();
    }

    fn act(&mut self) {
        let streams: Vec<_> = self.streams.keys().copied().collect();
        let chosen = streams.get(self.random.below(streams.len())).copied();
        match (self.random.below(12), chosen) {
            (0..=2, _) | (_, None) => self.open(),
            (3..=8, Some(stream)) => self.say(stream),
            (9, Some(stream)) => self.end(stream),
            (10, Some(stream)) => self.reset(stream),
            (_, Some(_)) => self.machine.ping(*b"so far??"),
        }
    }

    fn open(&mut self) {
        let is_tunnel = self.random.one_in(2) && self.machine.extended_connect_allowed();
        let path = if is_tunnel { "http://example.com/stranger" } else { "http://example.com/echo" };
        let mut request = Request::builder().uri(path).method(Method::POST);
        if is_tunnel {
            let version = ("sec-websocket-version", "13");
            let protocol = Protocol::websocket();
            request = request.method(Method::CONNECT).header(version.0, version.1).extension(protocol);
        }
        let Ok(request) = request.body(()) else { return };
        if let Ok(id) = self.machine.open(&request, false) {
            self.world.scheduler.note("a stranger opens", id.value().into(), is_tunnel.into());
            self.streams.insert(id.value(), (id, Exchange { is_tunnel, ..Exchange::default() }));
        }
    }

    /// Sends some octets, as a WebSocket's message where there is one.
    fn say(&mut self, stream: u32) {
        let size = self.random.pick(&[0, 1, 20, 125]);
        let Some((_, exchange)) = self.streams.get_mut(&stream) else { return };
        if exchange.is_ended || !exchange.unsent.is_empty() || exchange.is_tunnel && !exchange.is_answered {
            return;
        }
        let payload = vec![b'a' + (exchange.expected.len() % 26) as u8; size];
        let mut octets = BytesMut::new();
        if exchange.is_tunnel {
            // RFC 6455 §5.2: text, masked by zeros.
            octets.put_slice(&[0x81, 0x80 | size as u8, 0, 0, 0, 0]);
            exchange.expected.put_slice(&[0x81, size as u8]);
        }
        octets.extend_from_slice(&payload);
        exchange.expected.extend_from_slice(&payload);
        exchange.unsent = octets.freeze();
        self.send(stream);
    }

    fn send(&mut self, stream: u32) {
        let Some((id, exchange)) = self.streams.get_mut(&stream) else { return };
        let Some(mut stream) = self.machine.stream(*id) else { return };
        if exchange.unsent.is_empty() || stream.is_send_closed() {
            return;
        }
        let taken = stream.write(&exchange.unsent, false);
        exchange.unsent = exchange.unsent.split_off(taken);
    }

    /// Ends a half; that of a tunnel without a Close.
    fn end(&mut self, stream: u32) {
        let Some((id, exchange)) = self.streams.get_mut(&stream) else { return };
        let Some(mut stream) = self.machine.stream(*id) else { return };
        if !exchange.is_ended && exchange.unsent.is_empty() && !stream.is_send_closed() {
            stream.write(&[], true);
            exchange.is_ended = true;
        }
    }

    fn reset(&mut self, stream: u32) {
        let reason = self.random.pick(&[Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR]);
        let Some((id, _)) = self.streams.remove(&stream) else { return };
        self.world.scheduler.note("a stranger resets", stream.into(), 0);
        if let Some(mut stream) = self.machine.stream(id) {
            stream.reset(reason);
            stream.release();
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.machine.poll_event() {
            match event {
                Event::Response { id, response, .. } => {
                    if let Some((_, exchange)) = self.streams.get_mut(&id.value()) {
                        exchange.is_answered = true;
                        exchange.is_unclear |= response.status() != 200;
                    }
                }
                Event::Readable(id) => self.read(id),
                Event::Writable(id) => self.send(id.value()),
                Event::Finished { id, .. } => {
                    self.read(id);
                    self.finish(id);
                }
                Event::Reset { id, .. } => self.forget(id),
                Event::Closed(_) => self.is_over = true,
                _ => {}
            }
        }
    }

    /// What comes back is what was said, so far.
    fn read(&mut self, id: StreamId) {
        let Some((_, exchange)) = self.streams.get_mut(&id.value()) else { return };
        let Some(mut stream) = self.machine.stream(id) else { return };
        let octets = stream.read();
        for octet in &octets {
            let expected = exchange.expected.get(exchange.heard);
            // A control frame: the Close of a server that drains, or a Ping of its keep-alive.
            exchange.is_unclear |= exchange.is_tunnel && *octet >= 0x88;
            if exchange.is_unclear {
                return;
            }
            if expected != Some(octet) {
                let at = exchange.heard;
                return self.world.scheduler.fail(format!("a stranger heard {octet} and not {expected:?} at {at}"));
            }
            exchange.heard += 1;
        }
    }

    fn finish(&mut self, id: StreamId) {
        let Some((_, exchange)) = self.streams.get_mut(&id.value()) else { return };
        let is_whole = exchange.heard == exchange.expected.len() - exchange.unsent.len();
        if exchange.is_ended && !exchange.is_tunnel && !exchange.is_unclear && !is_whole {
            let (heard, said) = (exchange.heard, exchange.expected.len());
            self.world.scheduler.fail(format!("a stranger said {said} octets and heard {heard}"));
        }
        if exchange.is_ended {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: StreamId) {
        self.streams.remove(&id.value());
        if let Some(stream) = self.machine.stream(id) {
            stream.release();
        }
    }
}
