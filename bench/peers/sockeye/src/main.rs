//! Our own echo, written as a user of the library would. `/echo` runs inside its connection's task, `/spawned` has a task for
//! each socket, `/pieces` sends each message back while it comes, and `/broadcast` sends what any socket says to all of a group.

use std::convert::Infallible;

use common::{Arguments, HTTP2, MAX_CONCURRENT_STREAMS};
use http::{Request, Response, StatusCode};
use sockeye::{Body, Group, Limits, Server, Upgrade, WebSocket};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower::service_fn;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
#[cfg(all(feature = "mimalloc", not(feature = "jemalloc")))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As in `sockeye serve`: of how many turns of a worker one goes to the queue that all workers share, where the tasks stand
/// that find no room among the 256 of its own.
const SHARED_QUEUE_INTERVAL: u32 = 4;

fn main() -> common::Result {
    let runtime = Builder::new_multi_thread().enable_all().global_queue_interval(SHARED_QUEUE_INTERVAL).build()?;
    runtime.block_on(run(Arguments::parse()?))
}

async fn run(arguments: Arguments) -> common::Result {
    let limits = Limits::new()
        .max_concurrent_streams(MAX_CONCURRENT_STREAMS)
        // Which leaves each of them some KiB.
        .max_unread(i32::MAX as u32);
    let mut server = Server::new().limits(limits);
    if arguments.tls {
        server = server.tls(common::server_config(HTTP2)?);
    }
    let listener = TcpListener::bind(&arguments.address).await?;
    let group = Group::new();
    let answer = move |request| std::future::ready(Ok::<_, Infallible>(answer(request, &group)));
    server.serve(listener, service_fn(answer)).await?;
    Ok(())
}

fn answer(mut request: Request<Body>, group: &Group) -> Response<Body> {
    let upgrade = match Upgrade::from_request(&mut request) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refusal.response().map(Body::from),
    };
    match upgrade.request().uri.path() {
        "/echo" => upgrade.accept(echo),
        "/spawned" => upgrade.accept(|socket| async move {
            tokio::spawn(echo(socket));
        }),
        "/pieces" => upgrade.accept(forward),
        "/broadcast" => {
            let group = group.clone();
            upgrade.accept(|socket| broadcast(socket, group))
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

async fn forward(socket: WebSocket) -> sockeye::Result {
    let (mut sender, mut receiver) = socket.split();
    while let Some(mut message) = receiver.recv_stream().await? {
        let mut echo = sender.send_stream(message.kind());
        while let Some(piece) = message.next().await? {
            echo.write(piece).await?;
        }
        echo.finish().await?;
    }
    Ok(())
}

async fn broadcast(mut socket: WebSocket, group: Group) -> sockeye::Result {
    let _member = group.join(&socket)?;
    while let Some(message) = socket.recv().await? {
        group.send(message);
    }
    Ok(())
}
