//! `salvo PORT CERTIFICATE KEY`: an echo on salvo, as its users write it.

use salvo::conn::rustls::{Keycert, RustlsConfig};
use salvo::prelude::*;
use salvo::websocket::WebSocketUpgrade;

#[handler]
async fn echo(request: &mut Request, response: &mut Response) -> Result<(), StatusError> {
    WebSocketUpgrade::new()
        .upgrade(request, response, |mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if !message.is_close() && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
        .await
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, port, certificate, key] = &arguments[..] else { panic!("salvo PORT CERTIFICATE KEY") };
    let identity = Keycert::new().cert(std::fs::read(certificate).unwrap()).key(std::fs::read(key).unwrap());
    let listener = TcpListener::new(format!("127.0.0.1:{port}")).rustls(RustlsConfig::new(identity));
    let router = Router::new().push(Router::with_path("echo").goal(echo));
    Server::new(listener.bind().await).serve(router).await;
}
