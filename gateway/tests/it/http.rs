//! Ordinary requests.

use std::convert::Infallible;

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use sockeye::Body;
use sockeye_gateway::{Config, Gateway, Live, Protocol};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::common::{Place, client, field, gateway, gateway_of, raw_upstream, read_head, soon, upstream};

/// Answers with what came.
fn mirror() -> impl sockeye::server::HttpService {
    tower::service_fn(|request: Request<Body>| async move {
        let (parts, body) = request.into_parts();
        let mut response = Response::new(body);
        for (name, value) in &parts.headers {
            response
                .headers_mut()
                .append(::http::HeaderName::try_from(format!("x-seen-{name}")).unwrap(), value.clone());
        }
        response.headers_mut().insert("x-path", parts.uri.to_string().parse().unwrap());
        Ok::<_, Infallible>(response)
    })
}

fn http_client(http2: bool) -> legacy::Client<legacy::connect::HttpConnector, Full<bytes::Bytes>> {
    legacy::Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

#[tokio::test]
async fn content_and_fields_pass_both_ways() {
    let url = upstream(mirror()).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let gateway = gateway(&url, protocol).await;
        for http2 in [false, true] {
            let content = bytes::Bytes::from(vec![5; 300_000]);
            let request = Request::post(format!("http://{gateway}/a%20b?c=d"))
                .header("x-mine", "1")
                .header("x-forwarded-for", "6.6.6.6")
                .body(Full::new(content.clone()))
                .unwrap();
            let response = soon(http_client(http2).request(request)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let fields = response.headers().clone();
            assert_eq!(fields["x-seen-x-mine"], "1", "{protocol}, {http2}");
            assert_eq!(fields["x-seen-x-forwarded-for"], "127.0.0.1");
            assert_eq!(fields["x-seen-x-forwarded-proto"], "http");
            assert!(fields["x-path"].to_str().unwrap().ends_with("/a%20b?c=d"));
            assert_eq!(soon(response.collect()).await.unwrap().to_bytes(), content);
        }
    }
}

/// RFC 9110 §10.2.2: a redirect to the upstream by the name that the gateway gave it would lead past the gateway. Where it was given the
/// client's name it means what it says.
#[tokio::test]
async fn redirects_to_the_upstream_lead_to_the_gateway() {
    let redirecting = tower::service_fn(|request: Request<Body>| async move {
        let host = request.uri().authority().map(ToString::to_string);
        let host = host.unwrap_or_else(|| request.headers()["host"].to_str().unwrap().to_owned());
        let location = format!("http://{host}{}/", request.uri().path());
        let response = Response::builder().status(StatusCode::TEMPORARY_REDIRECT).header("location", location);
        Ok::<_, Infallible>(response.body(Body::default()).unwrap())
    });
    let url = upstream(redirecting).await;
    for (protocol, preserves_host) in
        [(Protocol::Http1, false), (Protocol::Http2, false), (Protocol::Http1, true), (Protocol::Http2, true)]
    {
        let mut config = Config::to(&url);
        config.all.to = Some(protocol.to_string());
        config.all.preserve_host = Some(preserves_host);
        let (gateway, _) = gateway_of(&config).await;
        let location = if preserves_host { format!("http://{gateway}/items/") } else { "/items/".to_owned() };
        for version in [http::Version::HTTP_11, http::Version::HTTP_2] {
            let request = Request::get(format!("http://{gateway}/items")).body(Full::default()).unwrap();
            let response = soon(http_client(version == http::Version::HTTP_2).request(request)).await.unwrap();
            assert_eq!(response.headers()["location"], location, "{protocol}, {version:?}");
            let refused = soon(client(gateway, version).open("/items")).await;
            let Err(sockeye::Error::Refused(response)) = refused else { panic!("{refused:?}") };
            assert_eq!(response.headers()["location"], location, "a WebSocket: {protocol}, {version:?}");
        }
    }
}

/// However many names clients think of, the upstream is told each (RFC 9113 §8.3.1), over one connection.
#[tokio::test]
async fn names_that_clients_choose_share_a_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = sockeye::Server::new();
    let upstream = server.handle();
    tokio::spawn(async move { server.serve(listener, mirror()).await });
    let mut config = Config::to(&url);
    config.all.preserve_host = Some(true);
    config.all.to = Some(Protocol::Http2.to_string());
    let (gateway, _handle) = gateway_of(&config).await;
    for number in 0..300 {
        let request = Request::get(format!("http://{gateway}/")).header("host", format!("{number}.example"));
        let response = soon(http_client(false).request(request.body(Full::default()).unwrap())).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-path"], format!("http://{number}.example/"));
    }
    assert_eq!(upstream.counter(sockeye::Counter::Connections), 1);
}

/// An upstream that leads back here, as where a name has come to mean the gateway itself: the circle ends at once, also where another
/// gateway stands in it, which takes away what it does not trust.
#[tokio::test]
async fn a_gateway_whose_upstream_leads_back_to_it_says_so() {
    for another_stands_between in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let another = gateway(&format!("http://{address}"), Protocol::Http1).await;
        let leads_to = if another_stands_between { another } else { address };
        let live = Live::new(&Config::to(format!("http://{leads_to}"))).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(sockeye::Server::new().serve(listener, Gateway::new(live)));
        for gateway in [address, another] {
            let request = Request::get(format!("http://{gateway}/")).body(Full::default()).unwrap();
            let response = soon(http_client(true).request(request)).await.unwrap();
            assert_eq!(response.status(), StatusCode::LOOP_DETECTED);
            let socket = soon(client(gateway, http::Version::HTTP_2).open("/")).await;
            assert!(
                matches!(socket, Err(sockeye::Error::Refused(response)) if response.status() == StatusCode::LOOP_DETECTED)
            );
        }
    }
}

/// RFC 9110 §15.6.3: nobody is there.
#[tokio::test]
async fn an_upstream_that_is_down_is_502_with_a_reason() {
    let place = Place::new();
    let url = place.url();
    let gateway = gateway(&url, Protocol::Http1).await;
    let request = Request::get(format!("http://{gateway}/")).body(Full::default()).unwrap();
    let response = soon(http_client(true).request(request)).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    let text = soon(response.collect()).await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains(&url) && text.contains("running"), "{text}");
}

/// RFC 9110 §9.2.2: nothing of it has been seen, so that it may be made elsewhere, whatever it does and with all of its content.
#[tokio::test]
async fn content_that_no_upstream_has_seen_goes_to_another() {
    let (place, other) = (Place::new(), Place::new());
    let up = upstream(mirror()).await;
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut config = Config::to(place.url());
        config.all.upstream.extend([other.url(), up.clone()]);
        config.all.to = Some(protocol.to_string());
        let gateway = gateway_of(&config).await.0;
        for number in 0..6 {
            for expect in [None, Some("100-continue")] {
                let content = bytes::Bytes::from(vec![number; 100_000]);
                let mut request = Request::post(format!("http://{gateway}/")).body(Full::new(content.clone())).unwrap();
                request.headers_mut().extend(expect.map(|value| (header::EXPECT, HeaderValue::from_static(value))));
                let response = soon(http_client(true).request(request)).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK, "{protocol}, {number}");
                assert_eq!(soon(response.collect()).await.unwrap().to_bytes(), content);
            }
        }
    }
}

/// A request that its client gives up is given up upstream, before and within its answer: at once where its connection is reset, and
/// within a second where it is closed.
#[tokio::test]
async fn what_a_client_gives_up_is_given_up_upstream() {
    for (answers, resets) in [(false, false), (false, true), (true, false), (true, true)] {
        let (url, listener) = raw_upstream().await;
        let gateway = gateway(&url, Protocol::Http1).await;
        let mut client = TcpStream::connect(gateway).await.unwrap();
        client.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let (mut upstream, _) = soon(listener.accept()).await.unwrap();
        let head = soon(read_head(&mut upstream)).await;
        assert_eq!(field(&head, "host"), url.strip_prefix("http://"));
        if answers {
            upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n").await.unwrap();
            let mut some = [0; 64];
            assert!(soon(client.read(&mut some)).await.unwrap() > 0);
        }
        if resets {
            client.set_zero_linger().unwrap();
        }
        drop(client);
        let mut rest = Vec::new();
        soon(upstream.read_to_end(&mut rest)).await.ok();
        assert!(rest.is_empty());
    }
}

/// RFC 9110 §9.3.2, §15.3.5: what has no content has none, and its length is what it would be.
#[tokio::test]
async fn head_and_204_have_no_content() {
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    tokio::spawn(async move {
        let (mut upstream, _) = listener.accept().await.unwrap();
        loop {
            let head = read_head(&mut upstream).await;
            let answer: &[u8] = if head.starts_with("HEAD") {
                b"HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n"
            } else {
                b"HTTP/1.1 204 No Content\r\n\r\n"
            };
            upstream.write_all(answer).await.unwrap();
        }
    });
    let client = http_client(true);
    let head = Request::head(format!("http://{gateway}/")).body(Full::default()).unwrap();
    let response = soon(client.request(head)).await.unwrap();
    assert_eq!(response.headers()["content-length"], "42");
    assert!(soon(response.collect()).await.unwrap().to_bytes().is_empty());
    let get = Request::get(format!("http://{gateway}/")).body(Full::default()).unwrap();
    assert_eq!(soon(client.request(get)).await.unwrap().status(), StatusCode::NO_CONTENT);
}
