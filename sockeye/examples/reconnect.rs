//! A client that follows a feed for ever: after each loss it opens its socket again and goes on behind the last event that it
//! has seen, so that none is lost and none comes twice.
//!
//! ```sh
//! cargo run --example reconnect
//! ```
//!
//! The server is here too, and fails now and then.

use std::time::Duration;

use sockeye::{Body, Client, CloseCode, Error, Message, Result, Upgrade, WebSocket, serve};
use tokio::net::TcpListener;

/// Where the feed of this example ends.
const LAST: u64 = 10;

#[tokio::main]
async fn main() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, tower::service_fn(feed)));

    // A client connects again by itself where its connection was lost: after a random time of up to 50 ms, twice as long with
    // each failure that follows, at most 2 s.
    let client = Client::builder().back_off(Duration::from_millis(50), Duration::from_secs(2)).connect(&url).await?;
    let mut seen = 0;
    while seen < LAST {
        match follow(&client, &mut seen).await {
            Ok(()) => {}
            Err(error) if error.is_retryable() => println!("lost: {error}"),
            Err(error) => return Err(error),
        }
        // A server that is there, and closes or refuses, is no lost connection: it is not asked again at once.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.close().await;
    Ok(())
}

/// Follows the feed from behind `seen` until its socket ends.
async fn follow(client: &Client, seen: &mut u64) -> Result {
    let mut socket = client.open(&format!("/feed?after={seen}")).await?;
    while let Some(message) = socket.recv().await? {
        *seen = number(&message)?;
        println!("event {seen}");
    }
    // Every Close ends a socket with `None`. Its code says whether all is well.
    match socket.close_frame() {
        Some(frame) if frame.code != CloseCode::NORMAL => {
            println!("closed with {}, again from {seen}", frame.code);
        }
        _ => {}
    }
    Ok(())
}

fn number(message: &Message) -> Result<u64> {
    message.as_text().unwrap_or_default().parse().map_err(Error::application)
}

/// The server: events with numbers, from behind the one that the client names.
async fn feed(mut request: http::Request<Body>) -> Result<http::Response<Body>> {
    let query = request.uri().query().unwrap_or_default();
    let after = query.strip_prefix("after=").unwrap_or("0").parse().map_err(Error::application)?;
    Ok(match Upgrade::from_request(&mut request) {
        Ok(upgrade) => upgrade.accept(move |socket| send_events(socket, after)),
        Err(refusal) => refusal.response().map(Body::from),
    })
}

async fn send_events(mut socket: WebSocket, after: u64) -> Result {
    for event in after + 1..=LAST {
        socket.send(event.to_string()).await?;
        if event % 4 == 0 {
            return socket.close_with(CloseCode::SERVICE_RESTART, "back in a moment").await;
        }
    }
    Ok(())
}
