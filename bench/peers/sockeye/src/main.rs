//! Our own echo, written as a user of the library would. `/echo` runs inside its connection's task, `/spawned` has a task for
//! each socket, and `/broadcast` sends what any socket says to all, by a channel of tokio.

use std::convert::Infallible;

use common::{Arguments, BACKLOG, HTTP2, MAX_CONCURRENT_STREAMS};
use http::{Request, Response, StatusCode};
use sockeye::{Body, Message, Server, Upgrade, WebSocket, http2};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{Receiver, Sender};
use tower::service_fn;

#[tokio::main]
async fn main() -> common::Result {
    let arguments = Arguments::parse()?;
    let config = http2::Config { max_concurrent_streams: MAX_CONCURRENT_STREAMS, ..http2::Config::default() };
    let mut server = Server::new().http2(config);
    if arguments.tls {
        server = server.tls(common::server_config(HTTP2)?);
    }
    let listener = TcpListener::bind(&arguments.address).await?;
    let sender = Sender::new(BACKLOG);
    let answer = move |request| std::future::ready(Ok::<_, Infallible>(answer(request, &sender)));
    server.serve(listener, service_fn(answer)).await?;
    Ok(())
}

fn answer(mut request: Request<Body>, sender: &Sender<Message>) -> Response<Body> {
    let upgrade = match Upgrade::from_request(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.response().map(Body::from),
    };
    match upgrade.request().uri.path() {
        "/echo" => upgrade.accept(echo),
        "/spawned" => upgrade.accept(|socket| async move {
            tokio::spawn(echo(socket));
        }),
        "/broadcast" => {
            let (sender, receiver) = (sender.clone(), sender.subscribe());
            upgrade.accept(|socket| broadcast(socket, sender, receiver))
        }
        _ => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        }
    }
}

async fn echo(mut socket: WebSocket) -> sockeye::Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}

async fn broadcast(mut socket: WebSocket, sender: Sender<Message>, mut receiver: Receiver<Message>) -> sockeye::Result {
    loop {
        tokio::select! {
            message = receiver.recv() => {
                let Ok(message) = message else { return Ok(()) };
                socket.send(message).await?;
            }
            message = socket.recv() => {
                let Some(message) = message? else { return Ok(()) };
                sender.send(message).ok();
            }
        }
    }
}
