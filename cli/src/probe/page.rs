//! What a page does beyond one WebSocket over HTTP/2: it opens many on one connection, and closes them as Chromium does.

use bytes::BytesMut;
use sockeye_proto::h2::{Connection, Event, StreamId};
use sockeye_proto::ws::handshake::{Carrier, ClientHandshake};
use sockeye_proto::ws::{CloseCode, Config, Extensions, Role, WebSocket};
use tokio::time::timeout;

use super::attempt::{Attempt, Problem, Sockets, Step};
use super::conversation::close_with_end_stream;
use super::dialer::Dialer;
use super::link::Link;
use super::tunnel::{Tunnel, describe_end};
use super::{Result, http2};

/// Opens up to `count` WebSockets at once on a connection of its own, and closes the first one.
pub(super) async fn probe(dialer: &Dialer<'_>, ask: &ClientHandshake, count: u32, attempt: &mut Attempt) -> Result {
    // How the connection is reached was told before.
    let mut again = Attempt::default();
    let mut link = http2::connect(dialer, &mut again).await?;
    let mut page = Page { ask, sockets: Sockets::default(), streams: Vec::new() };
    page.ask_for(count, &mut link)?;
    let end = timeout(dialer.timeout, page.receive_answers(&mut link)).await;
    attempt.sockets = Some(page.counts());
    if let Ok(Err(problem)) = end {
        return Err(problem);
    }
    let mut open = page.into_open();
    if let Some((id, extensions)) = open.next() {
        let tunnel = Tunnel::of_stream(&mut link, id);
        attempt.close_with_end_stream = Some(close_with_end_stream(tunnel, extensions, dialer).await);
    }
    for (id, extensions) in open {
        if let Some(mut stream) = link.machine().stream(id) {
            stream.write(&close_frame(extensions), true);
        }
    }
    http2::leave(&mut link, dialer).await;
    Ok(())
}

/// The WebSockets of a page, on one connection.
struct Page<'a> {
    ask: &'a ClientHandshake,
    sockets: Sockets,
    /// In the order in which they were asked for.
    streams: Vec<(StreamId, Answer)>,
}

enum Answer {
    Awaited,
    Open(Extensions),
    /// Refused, or ended by the server since.
    Over,
}

impl Page<'_> {
    fn ask_for(&mut self, count: u32, link: &mut Link<Connection>) -> Result {
        let wrong = |text: String| Problem::new(Step::Handshake, text);
        let most = link.machine().peer_settings().and_then(|settings| settings.max_concurrent_streams);
        let request = self.ask.request(Carrier::Http2).map_err(|error| wrong(error.to_string()))?;
        for _ in 0..count.min(most.unwrap_or(u32::MAX)) {
            let id = link.machine().open(&request, false).map_err(|error| wrong(http2::describe_open(error)))?;
            self.streams.push((id, Answer::Awaited));
            self.sockets.asked += 1;
        }
        Ok(())
    }

    /// Until each has its answer.
    async fn receive_answers(&mut self, link: &mut Link<Connection>) -> Result {
        while self.streams.iter().any(|(_, answer)| matches!(answer, Answer::Awaited)) {
            match link.event().await {
                Event::Response { id, response, end_stream } if !response.status().is_informational() => {
                    let checked = self.ask.check(Carrier::Http2, &response).ok().filter(|_| !end_stream);
                    self.settle(id, checked.map_or(Answer::Over, |accepted| Answer::Open(accepted.extensions)));
                }
                Event::Finished { id, .. } | Event::Reset { id, .. } => self.settle(id, Answer::Over),
                Event::Closed(error) => {
                    let text = format!("with {} WebSockets, {}", self.sockets.asked, describe_end(error));
                    return Err(Problem::new(Step::Sockets, text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn settle(&mut self, id: StreamId, answer: Answer) {
        let Some((_, before)) = self.streams.iter_mut().find(|(other, _)| *other == id) else { return };
        match (&*before, &answer) {
            (Answer::Awaited, Answer::Open(_)) => self.sockets.opened += 1,
            (Answer::Awaited, _) => self.sockets.refused += 1,
            _ => {}
        }
        *before = answer;
    }

    /// How many got which answer.
    fn counts(&self) -> Sockets {
        let unanswered = self.sockets.asked - self.sockets.opened - self.sockets.refused;
        Sockets { unanswered, ..self.sockets }
    }

    /// Those that are open.
    fn into_open(self) -> impl Iterator<Item = (StreamId, Extensions)> {
        self.streams.into_iter().filter_map(|(id, answer)| match answer {
            Answer::Open(extensions) => Some((id, extensions)),
            Answer::Awaited | Answer::Over => None,
        })
    }
}

/// What says Close to the server.
fn close_frame(extensions: Extensions) -> BytesMut {
    let role = Role::Client { mask_key: rand::random };
    let mut machine = WebSocket::new(role, Config::default()).with_extensions(extensions);
    machine.close(CloseCode::NORMAL, "").ok();
    let mut frame = BytesMut::new();
    machine.poll_transmit(&mut frame);
    frame
}
