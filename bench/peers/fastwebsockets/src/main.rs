//! An echo of fastwebsockets over hyper's HTTP/2. Its own upgrade is HTTP/1.1's; over HTTP/2 the answer to the extended
//! CONNECT (RFC 8441) is ours, and what hyper upgrades is handed over after the handshake. To broadcast, the socket is split:
//! its `read_frame` loses octets when it is given up for something else.

use std::convert::Infallible;

use bytes::Bytes;
use common::{BACKLOG, HTTP2, MAX_CONCURRENT_STREAMS, Result, Transport, WINDOW};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, Role, WebSocket, after_handshake_split,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result {
    let sender = Sender::new(BACKLOG);
    common::serve(HTTP2, move |transport| serve(transport, sender.clone())).await
}

async fn serve(transport: Transport, sender: Sender<Message>) -> Result {
    let service = service_fn(move |request| {
        let response = accept(request, &sender);
        async { Ok::<_, Infallible>(response) }
    });
    http2::Builder::new(TokioExecutor::new())
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .serve_connection(TokioIo::new(transport), service)
        .await?;
    Ok(())
}

/// Answers a request for a WebSocket.
fn accept(mut request: Request<Incoming>, sender: &Sender<Message>) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    if request.method() != Method::CONNECT {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        return response;
    }
    let upgrade = hyper::upgrade::on(&mut request);
    if request.uri().path() == "/broadcast" {
        tokio::spawn(broadcast(upgrade, sender.clone(), sender.subscribe()));
    } else {
        tokio::spawn(echo(upgrade));
    }
    response
}

async fn echo(upgrade: OnUpgrade) -> Result {
    let socket = WebSocket::after_handshake(TokioIo::new(upgrade.await?), Role::Server);
    let mut socket = FragmentCollector::new(socket);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            // It answers by itself.
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

/// What is sent to all.
#[derive(Clone, Debug)]
struct Message {
    opcode: OpCode,
    payload: Bytes,
}

async fn broadcast(upgrade: OnUpgrade, sender: Sender<Message>, mut receiver: Receiver<Message>) -> Result {
    let (reader, writer) = tokio::io::split(TokioIo::new(upgrade.await?));
    let (reader, mut writer) = after_handshake_split(reader, writer, Role::Server);
    let mut reader = FragmentCollectorRead::new(reader);
    // Pongs and the Close, which the reader asks the writer for.
    let (obliged, mut obligations) = mpsc::unbounded_channel::<Frame<'static>>();
    let reading = async {
        loop {
            let frame = reader.read_frame(&mut |frame| std::future::ready(obliged.send(frame))).await?;
            match (frame.opcode, frame.payload) {
                (OpCode::Close, _) => return Result::Ok(()),
                (opcode @ (OpCode::Text | OpCode::Binary), Payload::Bytes(payload)) => {
                    sender.send(Message { opcode, payload: payload.freeze() })?;
                }
                _ => {}
            }
        }
    };
    let writing = async {
        while !writer.is_closed() {
            tokio::select! {
                message = receiver.recv() => {
                    let Message { opcode, payload } = message?;
                    writer.write_frame(Frame::new(true, opcode, None, Payload::Borrowed(&payload))).await?;
                }
                Some(frame) = obligations.recv() => writer.write_frame(frame).await?,
            }
        }
        Ok(())
    };
    tokio::try_join!(reading, writing)?;
    Ok(())
}
