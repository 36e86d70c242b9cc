//! gRPC and WebSockets on one port: tonic's services are ordinary requests of HTTP/2 with trailers, beside the routes of axum.
//!
//! ```sh
//! cargo run --features axum --example grpc
//! ```
//!
//! The service is the standard health check (`grpc.health.v1`), which needs no code to be made; yours goes in the same way.

use axum::routing::any;
use sockeye::axum::WebSocketUpgrade;
use sockeye::{BoxError, Client, Result, WebSocket, serve};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let app =
        Routes::new(health).into_axum_router().route("/chat", any(async |ws: WebSocketUpgrade| ws.on_upgrade(shout)));
    tokio::spawn(serve(listener, app));

    let channel = Endpoint::new(url.clone())?.connect().await?;
    let asked = HealthCheckRequest { service: String::new() };
    let health = HealthClient::new(channel).check(asked).await?;
    println!("gRPC: {:?}", health.into_inner().status());

    let client = Client::builder().http2_only().connect(&url).await?;
    let mut socket = client.open("/chat").await?;
    socket.send("hello").await?;
    if let Some(message) = socket.recv().await? {
        println!("WebSocket over {:?}: {}", socket.version(), message.as_text().unwrap_or_default());
    }
    socket.close().await?;
    Ok(())
}

async fn shout(mut socket: WebSocket) -> Result {
    while let Some(message) = socket.recv().await? {
        socket.send(message.as_text().unwrap_or_default().to_uppercase()).await?;
    }
    Ok(())
}
