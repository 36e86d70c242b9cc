//! Hyper's client, for ordinary requests over either version of HTTP.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::within;

pub(crate) type Content = BoxBody<Bytes, Infallible>;

/// One connection.
pub(crate) enum Http {
    Http1(http1::SendRequest<Content>),
    Http2(http2::SendRequest<Content>),
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) head: http::response::Parts,
    pub(crate) content: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Http {
    pub(crate) async fn over<T>(version: Version, transport: T) -> Self
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let transport = TokioIo::new(transport);
        if version == Version::HTTP_2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), transport).await.unwrap();
            tokio::spawn(connection);
            Self::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(transport).await.unwrap();
            tokio::spawn(connection);
            Self::Http1(sender)
        }
    }

    pub(crate) async fn connect(version: Version, addr: std::net::SocketAddr) -> Self {
        Self::over(version, tokio::net::TcpStream::connect(addr).await.unwrap()).await
    }

    /// A request builder with what the version wants.
    pub(crate) fn request(&self, method: &str, path: &str) -> http::request::Builder {
        match self {
            Self::Http1(_) => Request::builder().method(method).uri(path).header("host", "localhost"),
            Self::Http2(_) => Request::builder().method(method).uri(format!("http://localhost{path}")),
        }
    }

    pub(crate) async fn send(&mut self, request: Request<Content>) -> hyper::Result<Response<Incoming>> {
        within(async {
            match self {
                Self::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
                Self::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await
                }
            }
        })
        .await
    }

    /// Sends a request and reads its response to the end.
    pub(crate) async fn exchange(&mut self, request: Request<Content>) -> Whole {
        let (head, body) = self.send(request).await.unwrap().into_parts();
        let body = within(body.collect()).await.unwrap();
        let trailers = body.trailers().cloned();
        Whole { head, content: body.to_bytes(), trailers }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Whole {
        let request = self.request("GET", path).body(empty()).unwrap();
        self.exchange(request).await
    }
}

pub(crate) fn empty() -> Content {
    Empty::new().boxed()
}

pub(crate) fn full(content: impl Into<Bytes>) -> Content {
    Full::new(content.into()).boxed()
}
