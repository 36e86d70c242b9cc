//! The client's side: WebSockets of one connection that send back what comes, to a server in memory.

use std::future::ready;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use http::Response;
use instructions::{Load, data_frames, runtime};
use sockeye::{Client, Limits, Message, Result, WebSocket};
use sockeye_proto::h2::{self, Event, StreamId};
use sockeye_proto::ws;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Octets of a message's frame that the server's has not: the key (RFC 6455 §5.3).
const KEY: usize = 4;

/// A server that answers all that is opened, and then hands out prepared octets and counts what is written.
struct Server {
    stage: Stage,
    load: Load,
    unread: Bytes,
    /// Octets that the client wrote since the rounds began.
    written: usize,
    /// Octets of them after which the next round begins.
    awaited: usize,
    /// Takes the nanoseconds of all rounds once they are over.
    done: Option<oneshot::Sender<u128>>,
}

enum Stage {
    Opening { machine: Box<h2::Connection>, ids: Vec<StreamId>, received: usize },
    Rounds { round: Bytes, left: usize, began: Instant },
}

impl Server {
    fn new(load: Load, done: oneshot::Sender<u128>) -> Self {
        // Nothing here gives credit back (RFC 9113 §6.9.1).
        let config = h2::Config::default().with(|config| {
            // A stream's window is what all of them have room for.
            config.max_concurrent_streams = load.sockets as u32;
            config.max_unread = (1 << 31) - 1;
            config.initial_window_size = (1 << 31) - 1;
        });
        let mut machine = Box::new(h2::Connection::new(h2::Role::Server, config, Instant::now()));
        let mut settings = BytesMut::new();
        machine.poll_transmit(&mut settings);
        let stage = Stage::Opening { machine, ids: Vec::new(), received: 0 };
        Self { stage, load, unread: settings.freeze(), written: 0, awaited: 0, done: Some(done) }
    }

    /// What the client writes as long as not all sockets are open, and each has sent one message.
    fn answer(&mut self, octets: &[u8]) {
        let Stage::Opening { machine, ids, received } = &mut self.stage else { return };
        let (mut input, mut output) = (BytesMut::from(octets), BytesMut::from(&self.unread[..]));
        // The machine may leave something until its events are heard, and its answers out.
        while !input.is_empty() {
            machine.handle_data(Instant::now(), &mut input);
            while let Some(event) = machine.poll_event() {
                match event {
                    Event::Request { id, .. } => {
                        let mut stream = machine.stream(id).expect("it has just begun");
                        stream.respond(&Response::new(()), false).expect("no other response");
                        ids.push(id);
                    }
                    Event::Readable(id) => *received += machine.stream(id).expect("it is open").read().len(),
                    _ => {}
                }
            }
            machine.poll_transmit(&mut output);
        }
        self.unread = output.freeze();
        let message = frame(self.load.octets);
        if *received == self.load.sockets * (message.len() + KEY) {
            let round = data_frames(ids, &message);
            self.stage = Stage::Rounds { round: round.freeze(), left: self.load.rounds, began: Instant::now() };
        }
    }

    /// Goes on to the next round, if the client has done its part of the one before.
    fn advance(&mut self) {
        let Stage::Rounds { round, left, began } = &mut self.stage else { return };
        if !self.unread.is_empty() || self.written < self.awaited {
            return;
        }
        match left.checked_sub(1) {
            Some(rest) => {
                *left = rest;
                self.awaited = self.written.max(self.awaited) + round.len() + KEY * self.load.sockets;
                self.unread = round.clone();
            }
            None => drop(self.done.take().map(|done| done.send(began.elapsed().as_nanos()))),
        }
    }
}

/// A message as a server sends it.
fn frame(octets: usize) -> BytesMut {
    let mut frame = BytesMut::new();
    let mut socket = ws::WebSocket::new(ws::Role::Server, ws::Config::default());
    socket.send(&vec![b'x'; octets].into()).expect("open");
    socket.poll_transmit(&mut frame);
    frame
}

impl AsyncRead for Server {
    /// Whoever writes reads again behind that, so nobody is to be woken.
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.advance();
        if self.unread.is_empty() {
            return Poll::Pending;
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..length]);
        self.unread.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Server {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        match self.stage {
            Stage::Opening { .. } => self.answer(octets),
            Stage::Rounds { .. } => self.written += octets.len(),
        }
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn main() {
    let load = Load::parse();
    load.report(runtime().block_on(run(load)).expect("the client goes on"));
}

/// Opens the sockets and lets each go its rounds; the nanoseconds that these took.
async fn run(load: Load) -> Result<u128> {
    let (done, all_done) = oneshot::channel();
    let server = Mutex::new(Some(Server::new(load, done)));
    let connect = move |_| {
        let server = server.lock().expect("nobody panicked").take();
        ready(server.ok_or_else(|| io::Error::other("there is one connection")))
    };
    let config = Limits::new().max_concurrent_streams(u32::MAX);
    // What is counted must not depend on the clock, by which valgrind is slow.
    let builder = Client::builder().http2_only().limits(config.time_slice(Duration::from_secs(3600)));
    let client = builder.connector(connect).connect("http://localhost").await?;
    let message = Arc::new(vec![b'x'; load.octets]);
    for _ in 0..load.sockets {
        let message = Message::from(message.to_vec());
        if load.apart {
            tokio::spawn(converse(client.open("/").await?, message));
        } else {
            client.open("/").run(|socket| converse(socket, message)).await?;
        }
    }
    Ok(all_done.await.expect("the connection goes on"))
}

/// Sends a message, and then whatever comes.
async fn converse(mut socket: WebSocket, first: Message) -> Result {
    socket.send(first).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
