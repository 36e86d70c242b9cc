//! An axum application whose pages have sockets: routes, state, other extractors, and who the client is.
//!
//! ```sh
//! cargo run --features axum --example axum_app
//! ```
//!
//! Then open the address that it prints in two windows of a browser. `axum::serve` serves it as well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::response::{Html, Response};
use axum::routing::{any, get};
use sockeye::axum::WebSocketUpgrade;
use sockeye::{Group, Result, WebSocket, serve};
use tokio::net::TcpListener;

#[derive(Clone, Default)]
struct App {
    room: Group,
    visitors: Arc<AtomicUsize>,
}

#[tokio::main]
async fn main() -> Result {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);
    let app = Router::new()
        .route("/", get(page))
        // Over HTTP/2 the method of a socket is CONNECT, which `get` would not take.
        .route("/room/{name}", any(enter))
        .with_state(App::default());
    serve(listener, app).await
}

async fn page(State(app): State<App>) -> Html<String> {
    let visitors = app.visitors.load(Ordering::Relaxed);
    Html(PAGE.replace("VISITORS", &visitors.to_string()))
}

async fn enter(
    ws: WebSocketUpgrade,
    Path(name): Path<String>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    State(app): State<App>,
) -> Response {
    println!("{name} comes from {}", address.ip());
    app.visitors.fetch_add(1, Ordering::Relaxed);
    ws.max_message_size(16 * 1024).on_upgrade(move |socket| chat(socket, name, app.room))
}

async fn chat(mut socket: WebSocket, name: String, room: Group) -> Result {
    let _member = room.join(&socket)?;
    room.send(format!("{name} came in")).await;
    let result = talk(&mut socket, &name, &room).await;
    // Whichever way it went: by a Close, or by an error.
    room.send(format!("{name} left")).await;
    result
}

async fn talk(socket: &mut WebSocket, name: &str, room: &Group) -> Result {
    while let Some(message) = socket.recv().await? {
        room.send(format!("{name}: {}", message.as_text().unwrap_or("(octets)"))).await;
    }
    Ok(())
}

const PAGE: &str = r#"<!doctype html>
<title>Room</title>
<p>Visitors so far: VISITORS</p>
<form><input autofocus></form>
<pre></pre>
<script>
  const [form, input, output] = ["form", "input", "pre"].map(name => document.querySelector(name));
  const scheme = location.protocol.replace("http", "ws");
  const socket = new WebSocket(`${scheme}//${location.host}/room/guest${Math.floor(Math.random() * 1000)}`);
  socket.onmessage = event => output.append(event.data, "\n");
  form.onsubmit = event => {
    event.preventDefault();
    socket.send(input.value);
    form.reset();
  };
</script>
"#;
