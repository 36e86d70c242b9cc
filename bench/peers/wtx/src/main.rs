//! An echo of wtx over its own HTTP/2, by its low-level interface: its framework's server needs a nightly compiler.
//!
//! What it cannot do: `WebSocketOverStream` takes whatever DATA has come for exactly one WebSocket frame, so messages that
//! wait together are merged, and a message that is split over DATA frames is cut. With a thousand sockets on a connection
//! some answers never come.

mod halves;

use common::{BACKLOG, HTTP2, MAX_CONCURRENT_STREAMS, Result, Transport, WINDOW};
use tokio::sync::broadcast::{Receiver, Sender};
use wtx::collection::Vector;
use wtx::http::{Headers, HttpRecvParams};
use wtx::http2::{Http2, Http2Buffer, ServerStream, WebSocketOverStream};
use wtx::rng::{SeedableRng as _, Xorshift64};
use wtx::web_socket::{Frame, OpCode};

use crate::halves::Writer;

type Socket = WebSocketOverStream<ServerStream<Http2Buffer, Writer>>;

/// What is sent to all.
#[derive(Clone, Debug)]
struct Message {
    opcode: OpCode,
    payload: Vec<u8>,
}

#[tokio::main]
async fn main() -> Result {
    let sender = Sender::new(BACKLOG);
    common::serve(HTTP2, move |transport| serve(transport, sender.clone())).await
}

async fn serve(transport: Transport, sender: Sender<Message>) -> Result {
    let parameters = HttpRecvParams::with_optioned_params()
        .set_enable_connect_protocol(true)
        .set_initial_window_len(WINDOW)
        .set_max_concurrent_streams_num(MAX_CONCURRENT_STREAMS)
        // These two count what a connection and a stream have ever had.
        .set_max_recv_streams_num(u32::MAX)
        .set_max_body_len(u32::MAX);
    let buffer = Http2Buffer::new(&mut Xorshift64::from_simple_seed()?);
    let (reader, connection) = Http2::accept(buffer, parameters, halves::split(transport)).await?;
    tokio::spawn(reader);
    while let Some((stream, is_broadcast)) =
        connection.stream(|request, _| request.rrd.uri.path() == "/broadcast").await?
    {
        let sender = is_broadcast.then(|| sender.clone());
        tokio::spawn(async move {
            let mut end = stream.clone();
            converse(stream, sender).await?;
            end.common().send_data(&[], true).await?;
            end.common().clear(true).await?;
            Result::Ok(())
        });
    }
    Ok(())
}

async fn converse(stream: ServerStream<Http2Buffer, Writer>, sender: Option<Sender<Message>>) -> Result {
    let receiver = sender.as_ref().map(Sender::subscribe);
    let random = Xorshift64::from_simple_seed()?;
    let mut socket = WebSocketOverStream::new(&Headers::new(), false, random, stream).await?;
    match sender.zip(receiver) {
        Some((sender, receiver)) => broadcast(&mut socket, sender, receiver).await,
        None => echo(&mut socket).await,
    }
}

async fn echo(socket: &mut Socket) -> Result {
    let mut buffer = Vector::new();
    loop {
        let mut frame = socket.read_frame(&mut buffer).await?;
        match frame.op_code() {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => {
                let opcode = frame.op_code();
                socket.write_frame(&mut Frame::new_fin(opcode, &mut **frame.payload_mut())).await?;
            }
            _ => {}
        }
    }
}

async fn broadcast(socket: &mut Socket, sender: Sender<Message>, mut receiver: Receiver<Message>) -> Result {
    let mut buffer = Vector::new();
    loop {
        tokio::select! {
            message = receiver.recv() => {
                let Message { opcode, mut payload } = message?;
                socket.write_frame(&mut Frame::new_fin(opcode, &mut payload[..])).await?;
            }
            frame = socket.read_frame(&mut buffer) => {
                let frame = frame?;
                match frame.op_code() {
                    OpCode::Close => return Ok(()),
                    opcode @ (OpCode::Text | OpCode::Binary) => {
                        sender.send(Message { opcode, payload: frame.payload().to_vec() })?;
                    }
                    _ => {}
                }
            }
        }
    }
}
