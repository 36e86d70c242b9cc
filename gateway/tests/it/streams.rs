//! Content that is long, or takes its time: event streams, long polls, trailers both ways, uploads and downloads in flat memory.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use sockeye::Body;
use sockeye_gateway::Protocol;
use tokio::time::sleep;

use crate::common::{gateway, soon, upstream};

type Content = UnsyncBoxBody<Bytes, Infallible>;

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];
const PIECE: usize = 64 * 1024;
/// Pieces of a transfer: 8 MiB, beyond what may be buffered on the way.
const PIECES: usize = 128;

fn content(frames: impl futures_util::Stream<Item = Frame<Bytes>> + Send + 'static) -> Content {
    StreamBody::new(frames.map(Ok)).boxed_unsync()
}

/// As many pieces, each told from its neighbours.
fn pieces() -> impl futures_util::Stream<Item = Frame<Bytes>> {
    stream::iter(0..PIECES).map(|number| Frame::data(Bytes::from(vec![number as u8; PIECE])))
}

/// Behind content, with what counts for nothing there.
fn trailers(value: &'static str) -> Frame<Bytes> {
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", value.parse().unwrap());
    for (name, value) in [("content-length", "1"), ("host", "elsewhere"), ("x-forwarded-for", "6.6.6.6")] {
        fields.insert(name, value.parse().unwrap());
    }
    Frame::trailers(fields)
}

/// The one trailer that there is to be.
fn alone(trailers: &HeaderMap) -> &str {
    if trailers.len() == 1 { trailers["x-sum"].to_str().unwrap() } else { "others" }
}

async fn site(request: Request<Body>) -> Result<Response<Content>, Infallible> {
    let response = Response::builder().header("trailer", "x-sum");
    Ok(match request.uri().path() {
        "/events" => {
            let events = stream::unfold(0, |number| async move {
                sleep(Duration::from_millis(100)).await;
                Some((Frame::data(Bytes::from(format!("data: {number}\n\n"))), number + 1))
            });
            response.header("content-type", "text/event-stream").body(content(events))
        }
        "/poll" => {
            sleep(Duration::from_millis(700)).await;
            response.body(content(stream::iter([Frame::data("news".into())])))
        }
        "/download" => response.body(content(pieces())),
        "/upload" => {
            let (mut body, mut octets, mut found) = (request.into_body(), 0, String::new());
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return Ok(Response::new(content(stream::empty()))) };
                octets += frame.data_ref().map_or(0, Bytes::len);
                if let Some(fields) = frame.trailers_ref() {
                    found = alone(fields).to_owned();
                }
            }
            let told = Frame::data(Bytes::from(format!("{octets} {found}")));
            response.body(content(stream::iter([told, trailers("of the answer")])))
        }
        _ => response.body(request.into_body().map_err(|_| unreachable!()).boxed_unsync()),
    }
    .unwrap())
}

fn http<B>(http2: bool) -> legacy::Client<legacy::connect::HttpConnector, B>
where
    B: hyper::body::Body<Data = Bytes> + Send + Unpin,
{
    legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

/// Each event is there when it is sent, not when there are enough; and a poll takes the time that it takes.
#[tokio::test]
async fn events_come_as_they_are_sent_and_polls_wait() {
    let url = upstream(tower::service_fn(site)).await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&url, protocol).await;
        for http2 in [false, true] {
            let client = http::<Empty<Bytes>>(http2);
            let mut events = soon(client.get(format!("http://{gateway}/events").parse().unwrap())).await.unwrap();
            assert_eq!(events.headers()["content-type"], "text/event-stream");
            for number in 0..3 {
                let event = soon(events.frame()).await.unwrap().unwrap().into_data().unwrap();
                assert_eq!(event, format!("data: {number}\n\n"), "{protocol}, {http2}");
            }
            let poll = soon(client.get(format!("http://{gateway}/poll").parse().unwrap())).await.unwrap();
            assert_eq!(soon(poll.collect()).await.unwrap().to_bytes(), "news");
        }
    }
}

/// RFC 9110 §6.5: trailers pass both ways, behind content that no buffer on the way could hold. §6.5.1: what belongs before the content
/// does not.
#[tokio::test]
async fn trailers_pass_both_ways_behind_long_content() {
    let url = upstream(tower::service_fn(site)).await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&url, protocol).await;
        for http2 in [false, true] {
            let upload = content(pieces().chain(stream::iter([trailers("of the request")])));
            let request = Request::post(format!("http://{gateway}/upload"))
                .header("trailer", "x-sum")
                .header("te", "trailers")
                .body(upload)
                .unwrap();
            let response = soon(http::<Content>(http2).request(request)).await.unwrap();
            let answer = soon(response.collect()).await.unwrap();
            let found = alone(answer.trailers().expect("there are trailers"));
            assert_eq!(found, "of the answer", "{protocol}, {http2}");
            assert_eq!(answer.to_bytes(), format!("{} of the request", PIECES * PIECE), "{protocol}, {http2}");
        }
    }
}

/// The same behind content that is there with them, whose length is known: over HTTP/1.1 it goes on in chunks all the same.
#[tokio::test]
async fn trailers_pass_behind_short_content() {
    let url = upstream(tower::service_fn(site)).await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&url, protocol).await;
        for length in [None, Some("5")] {
            let upload = content(stream::iter([Frame::data("short".into()), trailers("of the request")]));
            let request = Request::post(format!("http://{gateway}/upload")).header("trailer", "x-sum");
            let request = length.iter().fold(request, |request, length| request.header("content-length", *length));
            let response = soon(http::<Content>(true).request(request.body(upload).unwrap())).await.unwrap();
            let answer = soon(response.collect()).await.unwrap();
            assert_eq!(answer.to_bytes(), "5 of the request", "{protocol}, {length:?}");
        }
    }
}

/// Byte for byte.
#[tokio::test]
async fn a_download_is_whole() {
    let url = upstream(tower::service_fn(site)).await;
    for protocol in PROTOCOLS {
        let gateway = gateway(&url, protocol).await;
        for http2 in [false, true] {
            let client = http::<Empty<Bytes>>(http2);
            let mut download = soon(client.get(format!("http://{gateway}/download").parse().unwrap())).await.unwrap();
            let mut octets = 0;
            while let Some(frame) = soon(download.frame()).await {
                let data = frame.unwrap().into_data().unwrap_or_default();
                for (index, octet) in data.iter().enumerate().step_by(997) {
                    assert_eq!(*octet, ((octets + index) / PIECE) as u8);
                }
                octets += data.len();
            }
            assert_eq!(octets, PIECES * PIECE, "{protocol}, {http2}");
        }
    }
}
