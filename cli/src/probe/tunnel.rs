//! What carries a WebSocket: a stream of HTTP/2, or a connection that was HTTP/1.1's.

use std::io;

use bytes::BytesMut;
use sockeye_proto::h2::{ConnectionError, Event, Reason, StreamId, Violation};
use sockeye_proto::{Machine, MachineStream as _};

use super::attempt::Ending;
use super::link::Link;
use crate::dial::describe;

/// A stream, and the connection on which nothing else goes on.
pub(super) struct Tunnel<'a, M> {
    link: &'a mut Link<M>,
    id: StreamId,
    /// What the server's end of it is called.
    finished: Ending,
    ended: Option<Ending>,
}

impl<'a, M: Machine> Tunnel<'a, M> {
    /// A stream of HTTP/2.
    pub(super) fn of_stream(link: &'a mut Link<M>, id: StreamId) -> Self {
        Self { link, id, finished: Ending::EndStream, ended: None }
    }

    /// All of a connection.
    pub(super) fn of_connection(link: &'a mut Link<M>, id: StreamId) -> Self {
        Self { link, id, finished: Ending::Fin, ended: None }
    }

    /// Whether our half ends by itself, before the server's if need be. RFC 6455 §7.1.1 leaves the end of TCP to the server.
    pub(super) fn has_half(&self) -> bool {
        self.finished != Ending::Fin
    }

    /// The server has ended the stream.
    pub(super) fn finish(&mut self) {
        self.ended = Some(self.finished.clone());
    }

    /// Sends octets; with `last` nothing will follow. Fails where the server has ended the tunnel.
    pub(super) async fn send(&mut self, mut octets: &[u8], last: bool) -> Result<(), Ending> {
        let end_stream = last && self.has_half();
        loop {
            {
                let Some(mut stream) = self.link.machine().stream(self.id) else { return Ok(()) };
                octets = &octets[stream.write(octets, end_stream)..];
                // What the server has ended takes nothing, and what arrived on it before is still to be read.
                if octets.is_empty() || stream.is_send_closed() {
                    return Ok(());
                }
            }
            self.step().await?;
        }
    }

    /// Waits for octets, and appends them. Dropping the future loses none.
    pub(super) async fn receive(&mut self, input: &mut BytesMut) -> Result<(), Ending> {
        loop {
            let octets = self.link.machine().stream(self.id).map_or_else(BytesMut::new, |mut stream| stream.read());
            if !octets.is_empty() {
                input.unsplit(octets);
                return Ok(());
            }
            self.step().await?;
        }
    }

    /// Waits for something to happen on the stream.
    async fn step(&mut self) -> Result<(), Ending> {
        if let Some(end) = &self.ended {
            return Err(end.clone());
        }
        let end = match self.link.event().await {
            Event::Finished { id, .. } if id == self.id => self.finished.clone(),
            Event::Reset { id, violation: Some(violation), .. } if id == self.id => {
                Ending::Broken(describe_violation(violation))
            }
            Event::Reset { id, reason, .. } if id == self.id => self.link.reset_by_server(reason),
            Event::Closed(error) => match self.link.failure() {
                Some(failure) if self.finished == Ending::Fin => Ending::Broken(describe_failure(failure)),
                _ => Ending::Broken(describe_end(error)),
            },
            _ => return Ok(()),
        };
        self.ended = Some(end);
        Ok(())
    }
}

fn describe_failure(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "TCP reset".to_owned(),
        _ => describe(error),
    }
}

/// Why there is no answer.
pub(super) fn describe_reset(reason: Reason) -> String {
    match reason {
        // RFC 9113 §7
        Reason::HTTP_1_1_REQUIRED => "the server wants HTTP/1.1 for this (HTTP_1_1_REQUIRED)".to_owned(),
        reason => format!("the server reset the stream: {reason}"),
    }
}

/// Why a stream was reset for its server's fault.
pub(super) fn describe_violation(violation: Violation) -> String {
    format!("the server broke HTTP/2 on the stream: {violation}")
}

/// Why a connection ended.
pub(super) fn describe_end(error: Option<ConnectionError>) -> String {
    match error {
        Some(ConnectionError::GoAway(reason)) => format!("the server ended the connection by GOAWAY: {reason}"),
        Some(ConnectionError::Violation(violation)) => format!("HTTP/2 went wrong: {violation}"),
        Some(_) => "the server ended the whole connection".to_owned(),
        None => "the server ended the connection".to_owned(),
    }
}
