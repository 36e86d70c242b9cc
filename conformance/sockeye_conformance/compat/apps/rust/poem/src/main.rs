//! `poem PORT CERTIFICATE KEY`: an echo on poem, as its users write it.

use futures_util::{SinkExt, StreamExt};
use poem::listener::{Listener, RustlsCertificate, RustlsConfig, TcpListener};
use poem::web::websocket::WebSocket;
use poem::{IntoResponse, Route, Server, get, handler};

#[handler]
fn echo(socket: WebSocket) -> impl IntoResponse {
    socket.on_upgrade(|mut socket| async move {
        while let Some(Ok(message)) = socket.next().await {
            if !message.is_close() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, certificate, key] = &arguments[..] else { panic!("poem PORT CERTIFICATE KEY") };
    let identity = RustlsCertificate::new().cert(std::fs::read(certificate).unwrap()).key(std::fs::read(key).unwrap());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).rustls(RustlsConfig::new().fallback(identity));
    Server::new(listener).run(Route::new().at("/echo", get(echo))).await.unwrap();
}
