#!/usr/bin/env bash
# hyper-util 0.1.21 (crates.io): `Tunnel` and `SocksV5` of `client::legacy::connect::proxy`, over `HttpConnector`.
# Did: connected through a proxy that answers well and has in the same write what the server behind said first, as SSH and SMTP do;
# and the same with 100 ms between the two.
# Surprise: both connectors drop what came together with the proxy's answer, without an error; a read of it waits for ever.
# Printed: Tunnel: together nothing, apart 220 hello; SocksV5: together nothing, apart 220 hello
# Seen: 2026-11-29.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "drop-octets"
edition = "2021"
[dependencies]
http = "=1.5.0"
hyper = "=1.12.0"
hyper-util = { version = "=0.1.21", features = ["client-legacy", "client-proxy", "http1", "tokio"] }
tokio = { version = "=1.54.1", features = ["io-util", "macros", "net", "rt", "time"] }
tower-service = "=0.3.3"
[workspace]
TOML
cat >src/main.rs <<'RUST'
use std::time::Duration;

use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

const GREETING: &[u8] = b"220 hello";

async fn proxy(listener: TcpListener, apart: bool) {
    let (mut client, _) = listener.accept().await.unwrap();
    client.set_nodelay(true).unwrap();
    let mut asked = [0; 1024];
    let count = client.read(&mut asked).await.unwrap();
    let answer: &[u8] = if asked[..count].starts_with(b"CONNECT ") {
        b"HTTP/1.1 200 OK\r\n\r\n"
    } else {
        client.write_all(&[5, 0]).await.unwrap(); // RFC 1928 §3: no authentication
        client.read(&mut asked).await.unwrap();
        &[5, 0, 0, 1, 127, 0, 0, 1, 0, 25] // RFC 1928 §6: succeeded
    };
    if apart {
        client.write_all(answer).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        client.write_all(GREETING).await.unwrap();
    } else {
        client.write_all(&[answer, GREETING].concat()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
}

async fn seen(mut connection: TcpStream) -> String {
    let mut octets = [0; 64];
    match tokio::time::timeout(Duration::from_secs(1), connection.read(&mut octets)).await {
        Ok(count) => String::from_utf8_lossy(&octets[..count.unwrap()]).into_owned(),
        Err(_) => "nothing".to_owned(),
    }
}

async fn attempt(is_socks: bool, apart: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(proxy(listener, apart));
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let server: http::Uri = "https://mail.example:25".parse().unwrap();
    let connection: TokioIo<TcpStream> = if is_socks {
        SocksV5::new(address, connector).call(server).await.unwrap()
    } else {
        Tunnel::new(address, connector).call(server).await.unwrap()
    };
    seen(connection.into_inner()).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (tunnel, socks) = (attempt(false, false).await, attempt(true, false).await);
    let (tunnel_apart, socks_apart) = (attempt(false, true).await, attempt(true, true).await);
    println!("Tunnel: together {tunnel}, apart {tunnel_apart}; SocksV5: together {socks}, apart {socks_apart}");
}
RUST
printed=$(cargo run --quiet)
echo "$printed"
[[ $printed == 'Tunnel: together nothing, apart 220 hello; SocksV5: together nothing, apart 220 hello' ]]
