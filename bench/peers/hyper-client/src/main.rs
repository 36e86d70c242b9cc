//! A client out of hyper and tokio-tungstenite: one connection, and a task for each socket that waits for the echo of what it
//! sent.

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use load::{Arguments, Result, enter, measure, message};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Octets that a socket has room for before it reads. With the default of 128 KiB a small message costs five to ten times
/// as much.
const READ_BUFFER: usize = 8 << 10;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result {
    let arguments = Arguments::parse()?;
    let transport = TcpStream::connect(&arguments.address).await?;
    transport.set_nodelay(true)?;
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(transport)).await?;
    tokio::spawn(connection);
    // With any answer, the server's SETTINGS have come.
    let uri = format!("http://{}/", arguments.address);
    client.send_request(Request::get(uri).body(Empty::new())?).await?;
    let mut sockets = Vec::new();
    for _ in 0..arguments.sockets {
        sockets.push(open(&mut client, &arguments.address).await?);
    }
    for (number, socket) in sockets.into_iter().enumerate() {
        tokio::spawn(echo(socket, number, arguments.octets));
    }
    measure(&arguments).await
}

/// Opens a WebSocket by an extended CONNECT (RFC 8441 §5).
async fn open(client: &mut SendRequest<Empty<Bytes>>, address: &str) -> Result<Socket> {
    let request = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("http://{address}/echo"))
        .header("sec-websocket-version", "13")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())?;
    client.ready().await?;
    let response = client.send_request(request).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("refused with {}", response.status()).into());
    }
    let upgraded = hyper::upgrade::on(response).await?;
    let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await)
}

async fn echo(mut socket: Socket, number: usize, octets: usize) -> Result {
    for turn in 0.. {
        socket.send(Message::from(message(octets, number, turn))).await?;
        let Some(echo) = socket.next().await.transpose()? else { break };
        enter(&echo.into_data(), octets, number, turn);
    }
    Ok(())
}
