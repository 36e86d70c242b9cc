//! The `h2` crate with the least WebSocket code on top: what its HTTP/2 costs when nothing else does. It checks neither
//! the handshake nor the text nor any limit, and echoes frame by frame. What is broadcast is encoded once for all sockets.

use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::{BACKLOG, HTTP2, MAX_CONCURRENT_STREAMS, Result, Transport, WINDOW};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::sync::broadcast::{Receiver, Sender};

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

#[tokio::main]
async fn main() -> Result {
    let sender = Sender::new(BACKLOG);
    common::serve(HTTP2, move |transport| serve(transport, sender.clone())).await
}

async fn serve(transport: Transport, sender: Sender<Bytes>) -> Result {
    let mut connection = h2::server::Builder::new()
        .enable_connect_protocol()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(transport)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        if request.uri().path() == "/broadcast" {
            tokio::spawn(broadcast(request, respond, sender.clone(), sender.subscribe()));
        } else {
            tokio::spawn(echo(request, respond));
        }
    }
    Ok(())
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result {
    let mut tunnel = Tunnel { receiver: request.into_body(), input: BytesMut::new() };
    let mut stream = respond.send_response(Response::new(()), false)?;
    let mut open = true;
    while open && tunnel.receive().await? {
        let mut output = BytesMut::new();
        while open && let Some((first, payload)) = tunnel.take_frame() {
            open = first & 0x0F != CLOSE;
            answer(first, &payload, &mut output);
        }
        send(&mut stream, output.freeze()).await?;
    }
    stream.send_data(Bytes::new(), true)?;
    Ok(())
}

async fn broadcast(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    sender: Sender<Bytes>,
    mut receiver: Receiver<Bytes>,
) -> Result {
    let mut tunnel = Tunnel { receiver: request.into_body(), input: BytesMut::new() };
    let mut stream = respond.send_response(Response::new(()), false)?;
    let mut open = true;
    while open {
        tokio::select! {
            frame = receiver.recv() => send(&mut stream, frame?).await?,
            received = tunnel.receive() => {
                open = received?;
                while open && let Some((first, payload)) = tunnel.take_frame() {
                    let mut output = BytesMut::new();
                    answer(first, &payload, &mut output);
                    open = first & 0x0F != CLOSE;
                    if first & 0x08 == 0 {
                        sender.send(output.freeze())?;
                    } else {
                        send(&mut stream, output.freeze()).await?;
                    }
                }
            }
        }
    }
    stream.send_data(Bytes::new(), true)?;
    Ok(())
}

/// What comes in.
struct Tunnel {
    receiver: RecvStream,
    /// Octets of frames that are not whole.
    input: BytesMut,
}

impl Tunnel {
    /// Waits for octets; whether there are any to come.
    async fn receive(&mut self) -> Result<bool> {
        let Some(data) = self.receiver.data().await.transpose()? else { return Ok(false) };
        self.receiver.flow_control().release_capacity(data.len())?;
        self.input.extend_from_slice(&data);
        Ok(true)
    }

    /// The first octet and the payload of a frame, if a whole one has come. An idle tunnel has no buffer.
    fn take_frame(&mut self) -> Option<(u8, BytesMut)> {
        let frame = take_frame(&mut self.input);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        frame
    }
}

/// Takes a whole masked frame off `input`: its first octet and its payload.
fn take_frame(input: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let (length, start) = match input.get(1)? & 0x7F {
        126 => (u16::from_be_bytes(*input.get(2..)?.first_chunk()?) as usize, 4),
        127 => (u64::from_be_bytes(*input.get(2..)?.first_chunk()?) as usize, 10),
        length => (length as usize, 2),
    };
    let key: [u8; 4] = *input.get(start..)?.first_chunk()?;
    let size = start + 4 + length;
    if input.len() < size {
        input.reserve(size - input.len());
        return None;
    }
    let opcode = input[0];
    let mut payload = input.split_to(size);
    payload.advance(start + 4);
    // Whole words make vector code.
    let (words, rest) = payload.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    rest.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
    Some((opcode, payload))
}

fn answer(opcode: u8, payload: &[u8], output: &mut BytesMut) {
    match opcode & 0x0F {
        PONG => return,
        PING => output.put_u8(0x80 | PONG),
        _ => output.put_u8(opcode),
    }
    match payload.len() {
        length @ ..126 => output.put_u8(length as u8),
        length @ ..0x1_0000 => {
            output.put_u8(126);
            output.put_u16(length as u16);
        }
        length => {
            output.put_u8(127);
            output.put_u64(length as u64);
        }
    }
    output.extend_from_slice(payload);
}

async fn send(sender: &mut SendStream<Bytes>, mut data: Bytes) -> Result {
    while !data.is_empty() {
        sender.reserve_capacity(data.len());
        let capacity = match sender.capacity() {
            0 => poll_fn(|cx| sender.poll_capacity(cx)).await.ok_or("the stream is closed")??,
            capacity => capacity,
        };
        sender.send_data(data.split_to(capacity.min(data.len())), false)?;
    }
    Ok(())
}
