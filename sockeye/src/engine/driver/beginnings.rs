//! How streams begin: with a request that came, a request that is made, or as the tunnel that a connection has become.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;
use http::{Method, Request, Response, Version};
use sockeye_proto::h2::StreamId;
use sockeye_proto::{Machine, MachineStream, Reason, content_length};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Application, Driver, Opening};
use crate::engine::body::Body;
use crate::engine::content::expects_continue;
use crate::engine::heads;
use crate::engine::link::Phase;
use crate::engine::peer::Peer;
use crate::engine::slice;
use crate::engine::stream::{Ending, Received, Start, StreamCell, StreamHandle};
use crate::engine::tunnel::{self, Handler};

/// Pieces of work that an answer to a request takes, be it a refusal.
const REQUEST: u32 = 16;

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// Server: has the application answer a request.
    pub(super) fn accept(&mut self, id: StreamId, mut request: Request<()>, end_stream: bool, now: Instant) {
        slice::spend(REQUEST);
        if self.link.info.version == Version::HTTP_2 && !heads::hold(&self.link, &mut request) {
            // Nothing was done for it: its peer may try it elsewhere, or later (RFC 9113 §8.7).
            self.refuse_head(id, Reason::REFUSED_STREAM);
            return self.machine.stream(id).map_or((), MachineStream::release);
        }
        self.link.count_request();
        let cell = StreamCell::new(self.link.clone(), id.slot() as u32);
        let handle = StreamHandle::new(&cell);
        let length = content_length(request.headers()).unwrap_or_default();
        if end_stream {
            cell.end(BytesMut::new(), None, Received::Finished);
        }
        let is_upgrade = request.version() == Version::HTTP_11;
        if is_upgrade && expects_continue(request.headers()) {
            // RFC 9110 §7.8: the 100 goes before the 101.
            handle.send_continue();
        }
        let body = if end_stream || is_upgrade || request.method() == Method::CONNECT {
            // RFC 9110 §9.3.6: what follows a CONNECT is the tunnel's, and no content; so it is with an upgrade (§7.8).
            Body::empty()
        } else if expects_continue(request.headers()) {
            Body::expected_stream(handle.share(), length)
        } else {
            Body::stream(handle.share(), length)
        };
        let mut request = request.map(|()| body);
        request.extensions_mut().insert(Peer { link: self.link.clone(), cell: Some(cell.clone()) });
        let start = Start { is_woken: true, ..cell.start() };
        self.insert(id, cell, A::Permit::default());
        // A service is cloned for each request, which is foreign code.
        let handler = tunnel::catch(self.link.metrics(), || self.application.accept(request, handle));
        if let Some(slot) = self.streams.at(id.slot()) {
            slot.handler = handler.unwrap_or_default();
        }
        self.look_after(id.slot(), start, now);
    }

    fn insert(&mut self, id: StreamId, cell: Arc<StreamCell>, permit: A::Permit) {
        if self.phase >= Phase::Draining {
            cell.go_away();
        }
        cell.set_stamp(self.stamp);
        self.streams.insert(id, cell, permit);
    }

    /// The stream of a machine that begins as a tunnel.
    pub(super) fn insert_tunnel(&mut self, cell: Arc<StreamCell>, handler: Option<Handler>) {
        cell.wake_handler();
        self.insert(sockeye_proto::h1::STREAM, cell, A::Permit::default());
        if let Some(slot) = self.streams.at(sockeye_proto::h1::STREAM.slot()) {
            slot.handler = handler;
        }
    }

    /// Client: opens the streams that the application asks for; whether anything happened.
    pub(super) fn open(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Poll::Ready(opening) = self.application.poll_opening(cx) {
            progress = true;
            let Some(Opening { request, end_stream, interims, permit, reply }) = opening else {
                self.link.enter(Phase::Closing);
                break;
            };
            // Whoever asked may have gone away in the meantime.
            if reply.is_closed() {
                continue;
            }
            let opened = self.machine.open(&request, end_stream).map(|id| {
                self.link.count_request();
                let cell = StreamCell::new(self.link.clone(), id.slot() as u32);
                if let Some(interims) = interims {
                    cell.hear_interims(interims);
                }
                let handle = StreamHandle::new(&cell);
                if end_stream {
                    handle.append_last(Ending::Now(None), |_| {});
                }
                self.insert(id, cell, permit);
                handle
            });
            // A handle that nobody takes gives its stream up.
            reply.send(opened).ok();
        }
        progress
    }

    /// Client: hands a response over, or an interim one (RFC 9110 §15.2) to whoever hears of those.
    pub(super) fn respond(&mut self, id: StreamId, response: Response<()>, end_stream: bool, now: Instant) {
        let Some(slot) = self.streams.find(id) else { return };
        if response.status().is_informational() {
            if let Some(interims) = slot.cell.interims() {
                // What hears of them is foreign code.
                tunnel::catch(self.link.metrics(), || interims(response)).ok();
            }
            return;
        }
        slot.cell.respond(response);
        if end_stream {
            self.end(id, None, Received::Finished, now);
        }
    }
}
