//! What is said on a WebSocket once it is open, whatever carries it: a Ping, a message, the Close.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use sockeye_proto::Machine;
use sockeye_proto::ws::{CloseCode, CloseFrame, Config, Event, Extensions, Message, Role, WebSocket};
use tokio::time::timeout;

use super::attempt::{Attempt, Close, Ending, Problem, Step};
use super::dialer::Dialer;
use super::tunnel::Tunnel;
use super::{BODY_SIZE, time};

/// The longest that a message's echo is waited for: a server that echoes does so at once, one that does not never.
const ECHO_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that the server's end of the tunnel is waited for before we end our side, as it is the server that should
/// end it first (RFC 6455 §7.1.1).
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// The payload of the Ping.
const PING: &[u8] = b"sockeye probe";

/// Pings, says the message (unless it is empty), closes, and writes down what comes of it.
pub(crate) async fn converse<M: Machine>(
    tunnel: Tunnel<'_, M>,
    extensions: Extensions,
    message: &str,
    dialer: &Dialer<'_>,
    attempt: &mut Attempt,
) {
    let limit = dialer.timeout;
    let mut conversation = Conversation::new(tunnel, extensions, dialer);
    conversation.ping(limit, attempt).await;
    if !message.is_empty() && conversation.ended.is_none() {
        conversation.echo(message, limit.min(ECHO_TIMEOUT), attempt).await;
    }
    let close = conversation.close(limit, attempt).await;
    attempt.close = Some(close);
    attempt.messages = conversation.messages;
    if let (Beginning::NoFrames(octets), Some(handshake)) = (&conversation.beginning, &mut attempt.handshake) {
        handshake.set_body(octets);
    }
}

/// Closes as Chromium does, whose Close frame stands in a DATA frame with END_STREAM.
pub(crate) async fn close_with_end_stream<M: Machine>(
    tunnel: Tunnel<'_, M>,
    extensions: Extensions,
    dialer: &Dialer<'_>,
) -> Close {
    let limit = dialer.timeout;
    let mut conversation = Conversation::new(tunnel, extensions, dialer);
    // What goes wrong is told by the Close that does not come.
    let mut unused = Attempt::default();
    let start = Instant::now();
    conversation.machine.close(CloseCode::NORMAL, "").ok();
    if let Err(end) = conversation.transmit(true).await {
        conversation.ended = Some(Ended::Broken(Some(end)));
    }
    timeout(limit, conversation.until(|_| false, &mut unused)).await.ok();
    conversation.part(limit, start, false).await
}

struct Conversation<'a, M> {
    tunnel: Tunnel<'a, M>,
    machine: WebSocket,
    input: BytesMut,
    ended: Option<Ended>,
    /// Messages that were not the echo of ours.
    messages: u32,
    beginning: Beginning,
}

/// The first octets on the tunnel, which tell what a server says that speaks no WebSocket there.
enum Beginning {
    /// No frame was whole so far.
    Unknown(BytesMut),
    Frames,
    /// The first frame broke a rule.
    NoFrames(BytesMut),
}

impl Beginning {
    fn add(&mut self, octets: &[u8]) {
        if let Self::Unknown(beginning) = self {
            let room = BODY_SIZE - beginning.len();
            beginning.extend_from_slice(&octets[..octets.len().min(room)]);
        }
    }

    fn settle(&mut self, event: &Event) {
        if let Self::Unknown(octets) = self {
            let failed = matches!(event, Event::Failed(_));
            *self = if failed { Self::NoFrames(std::mem::take(octets)) } else { Self::Frames };
        }
    }
}

/// Why no more events come.
enum Ended {
    Close(CloseFrame),
    /// Without a Close frame.
    Broken(Option<Ending>),
}

impl<'a, M: Machine> Conversation<'a, M> {
    fn new(tunnel: Tunnel<'a, M>, extensions: Extensions, dialer: &Dialer<'_>) -> Self {
        let config = Config::default().with(|config| config.max_message_size = dialer.max_message_size);
        let machine = WebSocket::new(Role::Client { mask_key: rand::random }, config).with_extensions(extensions);
        let beginning = Beginning::Unknown(BytesMut::new());
        Self { tunnel, machine, input: BytesMut::new(), ended: None, messages: 0, beginning }
    }

    async fn ping(&mut self, limit: Duration, attempt: &mut Attempt) {
        let start = Instant::now();
        let pong = async {
            if self.machine.ping(PING).is_err() {
                return false;
            }
            self.until(|event| matches!(event, Event::Pong(payload) if payload == PING), attempt).await
        };
        match timeout(limit, pong).await {
            Ok(true) => attempt.ping_ms = Some(start.elapsed().into()),
            Ok(false) => self.tell_end(Step::Ping, "before the Pong", attempt),
            Err(_) => attempt.problems.push(Problem::new(Step::Ping, format!("no Pong within {}", time(limit)))),
        }
    }

    /// Tells of an end without a Close frame; a Close and a broken rule are told elsewhere.
    fn tell_end(&self, step: Step, when: &str, attempt: &mut Attempt) {
        if let Some(Ended::Broken(Some(end))) = &self.ended {
            attempt.problems.push(Problem::new(step, format!("{}, without a Close frame, {when}", end.sentence())));
        }
    }

    /// A server need not echo; what is no echo is no problem.
    async fn echo(&mut self, message: &str, limit: Duration, attempt: &mut Attempt) {
        let message = Message::from(message);
        let start = Instant::now();
        let echo = async {
            if self.machine.send(&message).is_err() {
                return false;
            }
            self.until(|event| matches!(event, Event::Message(received) if *received == message), attempt).await
        };
        match timeout(limit, echo).await {
            Ok(true) => attempt.echo_ms = Some(start.elapsed().into()),
            Ok(false) => self.tell_end(Step::Message, "after the message", attempt),
            Err(_) => {}
        }
    }

    /// Closes with 1000, and waits for the server's Close and for the end of the tunnel.
    async fn close(&mut self, limit: Duration, attempt: &mut Attempt) -> Close {
        let by_server = self.ended.is_some();
        let start = Instant::now();
        if !by_server {
            self.machine.close(CloseCode::NORMAL, "").ok();
            if timeout(limit, self.until(|_| false, attempt)).await.is_err() {
                attempt.problems.push(Problem::new(Step::Close, format!("no Close frame within {}", time(limit))));
            }
        }
        self.part(limit, start, by_server).await
    }

    /// Waits for the end of the tunnel, unless that has come.
    async fn part(&mut self, limit: Duration, start: Instant, by_server: bool) -> Close {
        let (frame, end) = match self.ended.take() {
            Some(Ended::Close(frame)) => (Some(frame), None),
            Some(Ended::Broken(end)) => (None, end),
            None => (None, None),
        };
        let ms = start.elapsed().into();
        let (end, ended_first) = match end {
            Some(end) => (Some(end), true),
            None => self.end(limit).await,
        };
        Close {
            clean: frame.is_some() && end.as_ref().is_some_and(Ending::is_clean),
            ended_first,
            code: frame.as_ref().map(|frame| frame.code.into()),
            reason: frame.map(|frame| frame.reason.to_string()).unwrap_or_default(),
            by_server,
            end,
            ms,
        }
    }

    /// Whether an event that is `wanted` came before the end.
    async fn until(&mut self, wanted: impl Fn(&Event) -> bool, attempt: &mut Attempt) -> bool {
        while self.ended.is_none() {
            if let Err(end) = self.exchange().await {
                self.machine.handle_eof();
                self.ended = Some(Ended::Broken(Some(end)));
            }
            let event = self.machine.poll_event();
            event.iter().for_each(|event| self.beginning.settle(event));
            match event {
                Some(event) if wanted(&event) => return true,
                Some(Event::Message(_)) => self.messages += 1,
                Some(Event::Close(frame)) => self.ended = Some(Ended::Close(frame)),
                Some(Event::Failed(violation)) => {
                    attempt.problems.push(Problem::new(Step::Message, format!("the server broke a rule: {violation}")));
                    self.ended = Some(Ended::Broken(None));
                }
                Some(Event::Eof | Event::Pong(_)) | None => {}
            }
        }
        false
    }

    /// Sends what is to be sent, and takes what has come, up to one event.
    async fn exchange(&mut self) -> Result<(), Ending> {
        self.transmit(false).await?;
        if self.input.is_empty() {
            self.tunnel.receive(&mut self.input).await?;
            self.beginning.add(&self.input);
        }
        self.machine.handle_data(Instant::now, &mut self.input);
        Ok(())
    }

    /// After both Closes (or in place of them): the server's end of the tunnel, before ours or after it.
    /// And whether it came before ours.
    async fn end(&mut self, limit: Duration) -> (Option<Ending>, bool) {
        if let Ok(end) = timeout(limit.min(END_TIMEOUT), self.wait_for_end(false)).await {
            // Ours is owed all the same.
            timeout(limit, self.transmit(true)).await.ok();
            return (Some(end), true);
        }
        (timeout(limit, self.wait_for_end(true)).await.ok(), !self.tunnel.has_half())
    }

    /// With `last` our side is ended before.
    async fn wait_for_end(&mut self, last: bool) -> Ending {
        if let Err(end) = self.transmit(last).await {
            return end;
        }
        loop {
            self.input.clear();
            if let Err(end) = self.tunnel.receive(&mut self.input).await {
                return end;
            }
        }
    }

    async fn transmit(&mut self, last: bool) -> Result<(), Ending> {
        let mut output = BytesMut::new();
        self.machine.poll_transmit(&mut output);
        if last || !output.is_empty() { self.tunnel.send(&output, last).await } else { Ok(()) }
    }
}
