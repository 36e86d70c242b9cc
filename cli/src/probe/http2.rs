//! The probe over HTTP/2: extended CONNECT (RFC 8441), by the protocol machine itself, so that nothing is hidden.

use std::time::Instant;

use bytes::BytesMut;
use http::Response;
use sockeye_proto::h2::{Config, Connection, ConnectionError, Event, OpenError, Reason, Role, StreamId};
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::conversation::{Tunnel, converse};
use super::report::{Attempt, Ending, Problem, Settings, Step};
use super::transport::{Dialer, Transport};
use super::{BODY_SIZE, Result, answered, within};

/// What browsers offer by ALPN (RFC 7301).
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// How every answer of HTTP/1.x begins.
const HTTP_1: &[u8] = b"HTTP/1.";

/// Does all of it, and fails where it cannot go on.
pub(super) async fn probe(dialer: &Dialer<'_>, ask: &ClientHandshake, message: &str, attempt: &mut Attempt) -> Result {
    let transport = dialer.connect(&ALPN, attempt).await?;
    match &attempt.tls {
        Some(tls) if tls.alpn.as_deref() != Some("h2") => {
            let chosen = tls.alpn.as_deref().map_or("chose none".to_owned(), |name| format!("chose {name}"));
            return Err(Problem::new(Step::Settings, format!("the server was offered h2 by ALPN, and {chosen}")));
        }
        _ => {}
    }
    let start = Instant::now();
    let config = Config {
        handshake_timeout: dialer.timeout,
        settings_timeout: dialer.timeout,
        seed: rand::random(),
        ..Config::default()
    };
    let machine = Connection::new(Role::Client, config, start);
    let mut link = Link { transport, machine, input: BytesMut::new(), output: BytesMut::new(), is_http1: false };
    let result = async {
        within(Step::Settings, dialer.timeout, link.settings()).await?;
        attempt.settings = link.machine.peer_settings().map(|settings| Settings::new(settings, start.elapsed()));
        if !link.machine.extended_connect_allowed() {
            return Ok(());
        }
        open(&mut link, ask, message, dialer, attempt).await
    };
    let result = result.await;
    link.machine.close(Reason::NO_ERROR);
    timeout(dialer.timeout, link.finish()).await.ok();
    result
}

/// Opens the WebSocket, and has it talk.
async fn open(
    link: &mut Link,
    ask: &ClientHandshake,
    message: &str,
    dialer: &Dialer<'_>,
    attempt: &mut Attempt,
) -> Result {
    let wrong = |text: String| Problem::new(Step::Handshake, text);
    let request = ask.request(Carrier::Http2).map_err(|error| wrong(error.to_string()))?;
    let start = Instant::now();
    let id = link.machine.open(&request, false).map_err(|error| wrong(describe_open(error)))?;
    let (response, ended) = within(Step::Handshake, dialer.timeout, link.response(id)).await?;
    let elapsed = start.elapsed();
    let checked = ask.check(Carrier::Http2, &response);
    let mut handshake = answered(&response, &checked, elapsed);
    let mut tunnel = StreamTunnel { link, id, ended: ended.then_some(Ending::EndStream) };
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(error) => {
            let mut body = BytesMut::new();
            timeout(dialer.timeout, tunnel.body(&mut body)).await.ok();
            handshake.set_body(&body);
            attempt.handshake = Some(handshake);
            return Err(wrong(error.to_string()));
        }
    };
    attempt.handshake = Some(handshake);
    converse(tunnel, accepted.extensions, message, dialer.timeout, attempt).await;
    Ok(())
}

/// A connection: the machine, and what moves its octets.
struct Link {
    transport: Box<dyn Transport>,
    machine: Connection,
    input: BytesMut,
    output: BytesMut,
    /// Whether the answer to our preface was one of HTTP/1.x.
    is_http1: bool,
}

impl Link {
    /// Waits for the server's first SETTINGS.
    async fn settings(&mut self) -> Result<(), String> {
        loop {
            match self.event().await {
                Event::Settings => return Ok(()),
                Event::Closed(_) if self.is_http1 => return Err("the server answered in HTTP/1.x".to_owned()),
                Event::Closed(error) => return Err(describe_end(error)),
                _ => {}
            }
        }
    }

    /// Waits for the answer, and whether it ended its stream.
    async fn response(&mut self, id: StreamId) -> Result<(Response<()>, bool), String> {
        loop {
            match self.event().await {
                Event::Response { id: of, response, end_stream }
                    if of == id && !response.status().is_informational() =>
                {
                    return Ok((*response, end_stream));
                }
                Event::Reset { id: of, reason, remote } if of == id => return Err(describe_reset(reason, remote)),
                Event::Closed(error) => return Err(describe_end(error)),
                _ => {}
            }
        }
    }

    /// The next event. [`Event::Closed`] is the last one; none may be asked for after it. Dropping the future loses
    /// nothing.
    async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.machine.poll_event() {
                return event;
            }
            if self.transmit().await.is_err() {
                self.machine.handle_eof(Instant::now());
                continue;
            }
            // What the machine had left until its answers were sent.
            self.machine.handle_data(Instant::now(), &mut self.input);
            if let Some(event) = self.machine.poll_event() {
                return event;
            }
            let deadline = self.machine.poll_timeout();
            tokio::select! {
                read = self.transport.read_buf(&mut self.input) => {
                    let came = read.is_ok_and(|octets| octets > 0);
                    if came {
                        self.is_http1 |= self.machine.peer_settings().is_none() && self.input.starts_with(HTTP_1);
                        self.machine.handle_data(Instant::now(), &mut self.input);
                    } else {
                        self.machine.handle_eof(Instant::now());
                    }
                }
                () = sleep_until(deadline) => self.machine.handle_timeout(Instant::now()),
            }
        }
    }

    async fn transmit(&mut self) -> std::io::Result<()> {
        if self.output.is_empty() {
            self.machine.poll_transmit(&mut self.output);
        }
        while !self.output.is_empty() {
            self.transport.write_buf(&mut self.output).await?;
        }
        self.transport.flush().await
    }

    /// Sends the GOAWAY and ends the transport.
    async fn finish(&mut self) {
        if self.transmit().await.is_ok() {
            self.transmit().await.ok();
        }
        self.transport.shutdown().await.ok();
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// A stream as a WebSocket's tunnel.
struct StreamTunnel<'a> {
    link: &'a mut Link,
    id: StreamId,
    ended: Option<Ending>,
}

impl StreamTunnel<'_> {
    /// Waits for something to happen on the stream.
    async fn step(&mut self) -> Result<(), Ending> {
        if let Some(end) = &self.ended {
            return Err(end.clone());
        }
        let end = match self.link.event().await {
            Event::Finished { id, .. } if id == self.id => Ending::EndStream,
            Event::Reset { id, reason, remote: true } if id == self.id => Ending::Reset(reason),
            Event::Reset { id, reason, remote: false } if id == self.id => {
                Ending::Broken(describe_reset(reason, false))
            }
            Event::Closed(error) => Ending::Broken(describe_end(error)),
            _ => return Ok(()),
        };
        self.ended = Some(end);
        Ok(())
    }

    fn read(&mut self) -> BytesMut {
        self.link.machine.stream(self.id).map_or_else(BytesMut::new, |mut stream| stream.read())
    }

    /// The beginning of a refusal's content.
    async fn body(&mut self, body: &mut BytesMut) {
        while body.len() < BODY_SIZE && self.receive(body).await.is_ok() {}
    }
}

impl Tunnel for StreamTunnel<'_> {
    async fn send(&mut self, mut octets: &[u8], last: bool) -> Result<(), Ending> {
        loop {
            let Some(mut stream) = self.link.machine.stream(self.id) else { return Ok(()) };
            octets = &octets[stream.write(octets, last)..];
            // What the server has ended takes nothing, and what arrived on it before is still to be read.
            if octets.is_empty() || stream.is_send_closed() {
                return Ok(());
            }
            self.step().await?;
        }
    }

    async fn receive(&mut self, input: &mut BytesMut) -> Result<(), Ending> {
        loop {
            let octets = self.read();
            if !octets.is_empty() {
                input.unsplit(octets);
                return Ok(());
            }
            self.step().await?;
        }
    }
}

/// Why there is no answer.
fn describe_reset(reason: Reason, remote: bool) -> String {
    match (reason, remote) {
        // RFC 9113 §7
        (Reason::HTTP_1_1_REQUIRED, true) => "the server wants HTTP/1.1 for this (HTTP_1_1_REQUIRED)".to_owned(),
        (reason, true) => format!("the server reset the stream: {reason}"),
        (reason, false) => format!("the server broke HTTP/2 on the stream: {reason}"),
    }
}

/// Why a connection ended.
fn describe_end(error: Option<ConnectionError>) -> String {
    match error {
        Some(ConnectionError::GoAway(reason)) => format!("the server ended the connection by GOAWAY: {reason}"),
        Some(ConnectionError::Violation(violation)) => format!("HTTP/2 went wrong: {violation}"),
        Some(ConnectionError::Eof) => "the server ended the whole connection".to_owned(),
        None => "the server ended the connection".to_owned(),
    }
}

fn describe_open(error: OpenError) -> String {
    match error {
        OpenError::TooManyStreams => "the server's SETTINGS_MAX_CONCURRENT_STREAMS allow no stream".to_owned(),
        OpenError::GoingAway => "the server sent GOAWAY at once".to_owned(),
        error => error.to_string(),
    }
}
