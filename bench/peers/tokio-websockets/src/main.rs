//! An echo of tokio-websockets over HTTP/1.1, which is all it speaks: each socket is a connection. What WebSockets cost without
//! HTTP/2. The broadcast is by a channel of tokio; what waits together is flushed together.

use common::{BACKLOG, HTTP1, Result, Transport};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::broadcast::{Receiver, Sender};
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

type Socket = WebSocketStream<Transport>;

#[tokio::main]
async fn main() -> Result {
    let sender = Sender::new(BACKLOG);
    common::serve(HTTP1, move |transport| serve(transport, sender.clone())).await
}

async fn serve(transport: Transport, sender: Sender<Message>) -> Result {
    let (request, socket) = ServerBuilder::new().accept(transport).await?;
    if request.uri().path() == "/broadcast" {
        let receiver = sender.subscribe();
        broadcast(socket, sender, receiver).await
    } else {
        echo(socket).await
    }
}

async fn echo(mut socket: Socket) -> Result {
    while let Some(message) = socket.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

async fn broadcast(mut socket: Socket, sender: Sender<Message>, mut receiver: Receiver<Message>) -> Result {
    loop {
        tokio::select! {
            message = receiver.recv() => {
                socket.feed(message?).await?;
                while let Ok(message) = receiver.try_recv() {
                    socket.feed(message).await?;
                }
                socket.flush().await?;
            }
            message = socket.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                if message.is_text() || message.is_binary() {
                    sender.send(message)?;
                }
            }
        }
    }
}
