//! Connections that are kept to an upstream, and that it ends.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use sockeye_gateway::{Config, Live, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::common::{client, gateway, gateway_of_live, open_tunnel, raw_upstream, read_head, soon};

/// What an upstream was asked for.
type Asked = Arc<Mutex<Vec<String>>>;

type HttpClient = legacy::Client<legacy::connect::HttpConnector, Full<bytes::Bytes>>;

fn http_client() -> HttpClient {
    legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http()
}

async fn status(
    client: &HttpClient,
    gateway: SocketAddr,
    method: Method,
    path: &str,
    content: &'static str,
) -> StatusCode {
    let request = Request::builder().method(method).uri(format!("http://{gateway}{path}"));
    let request = request.body(Full::from(content)).unwrap();
    soon(client.request(request)).await.unwrap().status()
}

/// Answers the first request of each connection. Under the second, which is read where `sees_another`, the connection ends.
async fn upstream_that_answers_once(sees_another: bool) -> (String, Asked) {
    let (url, listener) = raw_upstream().await;
    let asked = Asked::default();
    let heads = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = heads.clone();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                heads.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.ok();
                if sees_another {
                    let mut octets = [0; 4096];
                    let read = stream.read(&mut octets).await.unwrap_or_default();
                    let head = String::from_utf8_lossy(&octets[..read]).into_owned();
                    heads.lock().unwrap().extend(head.lines().next().map(str::to_owned));
                }
            });
        }
    });
    (url, asked)
}

/// RFC 9110 §9.2.2, RFC 9112 §9.3.1: a request under which a kept connection ends is made again where that does no harm.
#[tokio::test]
async fn a_get_under_which_a_kept_connection_ends_is_made_again() {
    for sees_another in [false, true] {
        let (url, asked) = upstream_that_answers_once(sees_another).await;
        let (client, gateway) = (http_client(), gateway(&url, Protocol::Http1).await);
        for _ in 0..100 {
            assert_eq!(status(&client, gateway, Method::GET, "/", "").await, StatusCode::OK);
        }
        let mut requests = JoinSet::new();
        for _ in 0..200 {
            let client = client.clone();
            requests.spawn(async move { status(&client, gateway, Method::GET, "/", "").await });
        }
        while let Some(status) = soon(requests.join_next()).await {
            assert_eq!(status.unwrap(), StatusCode::OK, "seen: {sees_another}");
        }
        assert!(!sees_another || asked.lock().unwrap().len() > 300, "some were made again");
    }
}

/// RFC 9110 §9.2.2: nobody knows what came of the first.
#[tokio::test]
async fn a_post_arrives_once() {
    for content in ["", "content"] {
        let (url, asked) = upstream_that_answers_once(true).await;
        let (client, gateway) = (http_client(), gateway(&url, Protocol::Http1).await);
        for number in 0..20 {
            assert_eq!(status(&client, gateway, Method::GET, "/", "").await, StatusCode::OK);
            status(&client, gateway, Method::POST, &format!("/{number}"), content).await;
        }
        let asked = asked.lock().unwrap();
        for number in 0..20 {
            let line = format!("POST /{number} HTTP/1.1");
            assert!(asked.iter().filter(|asked| **asked == line).count() <= 1, "{line}: {asked:?}");
        }
        assert!(asked.iter().any(|line| line.starts_with("POST")), "some arrived");
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Speaks HTTP/2 by hand. The first stream of each connection is answered; at such a frame of the second, which it has not looked at,
/// the connection begins to end (RFC 9113 §6.8).
async fn serve_one_stream(mut stream: TcpStream, last: u8) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (RFC 8441 §3)
    stream.write_all(&frame(SETTINGS, 0, 0, &[0, 8, 0, 0, 0, 1])).await?;
    let mut first = None;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let (kind, flags) = (head[3], head[4]);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await?;
        match (kind, first) {
            (SETTINGS, _) if flags == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            (HEADERS, None) => {
                first = Some(id);
                // `:status: 200` by its number (RFC 7541, Appendix A); a request that has ended has its answer at once.
                stream.write_all(&frame(HEADERS, 4 | flags & 1, id, &[0x88])).await?;
            }
            (_, Some(first)) if kind == last && id > first => {
                let payload = [first.to_be_bytes(), [0; 4]].concat();
                stream.write_all(&frame(GOAWAY, 0, 0, &payload)).await?;
            }
            (DATA, Some(first)) if id == first => stream.write_all(&frame(DATA, flags & 1, id, &payload)).await?,
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

async fn upstream_of_one_stream(last: u8) -> String {
    let (url, listener) = raw_upstream().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve_one_stream(stream, last));
        }
    });
    url
}

/// RFC 9113 §6.8: nothing was done for a stream above the last one that a GOAWAY names, whatever was asked for by it.
#[tokio::test]
async fn what_a_goaway_leaves_out_is_made_again() {
    let url = upstream_of_one_stream(HEADERS).await;
    let (client, gateway) = (http_client(), gateway(&url, Protocol::Http2).await);
    for method in [Method::GET, Method::POST] {
        for _ in 0..20 {
            assert_eq!(status(&client, gateway, method.clone(), "/", "").await, StatusCode::OK, "{method}");
        }
    }
}

/// The same with content, all of which the upstream gets, and which is thought no less of.
#[tokio::test]
async fn content_that_a_goaway_leaves_out_is_sent_again() {
    let mut config = Config::to(upstream_of_one_stream(DATA).await);
    config.all.to = Some(Protocol::Http2.to_string());
    let live = Live::new(&config).unwrap();
    let (client, (gateway, _handle)) = (http_client(), gateway_of_live(live.clone()).await);
    // The upstream heeds no window, and this is one.
    for octets in [7, 8 << 10] {
        for number in 0..20 {
            let content = bytes::Bytes::from(vec![number; octets]);
            let request = Request::post(format!("http://{gateway}/")).body(Full::new(content.clone())).unwrap();
            let response = soon(client.request(request)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{octets} octets, {number}");
            assert!(soon(response.collect()).await.unwrap().to_bytes() == content);
            assert_eq!(live.upstreams()[0].trouble(), None);
        }
    }
}

/// The same of handshakes.
#[tokio::test]
async fn a_socket_that_a_goaway_leaves_out_is_opened_again() {
    let url = upstream_of_one_stream(HEADERS).await;
    let client = client(gateway(&url, Protocol::Http2).await, Version::HTTP_2);
    for number in 0..20 {
        let mut tunnel = open_tunnel(&client).await;
        tunnel.write_all(&[number]).await.unwrap();
        assert_eq!(soon(tunnel.read_u8()).await.unwrap(), number);
    }
}
