//! The `h2` crate with the least WebSocket code on top: what its HTTP/2 costs when nothing else does. It checks neither
//! the handshake nor the text nor any limit, and echoes frame by frame.

use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::{TcpListener, TcpStream};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Octets of flow-control windows, as hyper has them.
const WINDOW: u32 = 1 << 20;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

#[tokio::main]
async fn main() -> Result {
    let address = std::env::args().nth(1).ok_or("usage: h2-echo ADDRESS")?;
    let listener = TcpListener::bind(address).await?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::spawn(serve(socket));
    }
}

async fn serve(socket: TcpStream) -> Result {
    let mut connection = h2::server::Builder::new()
        .enable_connect_protocol()
        .max_concurrent_streams(100_000)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(socket)
        .await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        tokio::spawn(echo(request, respond));
    }
    Ok(())
}

async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) -> Result {
    let mut receiver = request.into_body();
    let mut sender = respond.send_response(Response::new(()), false)?;
    let mut input = BytesMut::new();
    while let Some(data) = receiver.data().await {
        let data = data?;
        receiver.flow_control().release_capacity(data.len())?;
        input.extend_from_slice(&data);
        let mut output = BytesMut::new();
        let mut open = true;
        while open && let Some((opcode, payload)) = take_frame(&mut input) {
            open = opcode & 0x0F != CLOSE;
            answer(opcode, &payload, &mut output);
        }
        if input.is_empty() {
            input = BytesMut::new();
        }
        send(&mut sender, output.freeze()).await?;
        if !open {
            break;
        }
    }
    sender.send_data(Bytes::new(), true)?;
    Ok(())
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
