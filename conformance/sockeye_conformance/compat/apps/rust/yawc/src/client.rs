//! `yawc-client 1|2 URL`: one echo over this version of HTTP, and what was seen as a line of JSON.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use yawc::{Frame, HttpVersion, OpCode, WebSocket, WebSocketError};

/// `sockeye serve` makes its certificate at the start.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// What was seen so far.
#[derive(Default)]
struct Said {
    opened: bool,
    echoed: bool,
    code: Option<u16>,
    error: Option<String>,
}

impl Said {
    async fn ask<S>(&mut self, mut socket: S) -> Result<(), WebSocketError>
    where
        S: Stream<Item = Frame> + Sink<Frame, Error = WebSocketError> + Unpin,
    {
        self.opened = true;
        socket.send(Frame::text("hello")).await?;
        self.echoed = socket.next().await.is_some_and(|frame| frame.payload()[..] == b"hello"[..]);
        socket.send(Frame::close(yawc::close::CloseCode::Normal, "done")).await?;
        while let Some(frame) = socket.next().await {
            if frame.opcode() == OpCode::Close {
                self.code = frame.close_code().map(u16::from);
            }
        }
        Ok(())
    }

    fn json(&self) -> String {
        let code = self.code.map(|code| format!(r#", "code": {code}"#)).unwrap_or_default();
        let error = self.error.as_ref().map(|error| format!(r#", "error": {error:?}"#)).unwrap_or_default();
        format!(r#"{{"opened": {}, "echoed": {}{code}{error}}}"#, self.opened, self.echoed)
    }
}

async fn run(said: &mut Said, version: &str, url: &str) -> Result<(), WebSocketError> {
    let config = ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![if version == "2" { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let builder = WebSocket::connect(url.parse().unwrap()).with_connector(TlsConnector::from(Arc::new(config)));
    match version {
        "2" => said.ask(builder.http_version(HttpVersion::Http2).await?).await,
        _ => said.ask(builder.await?).await,
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, version, url] = &arguments[..] else { panic!("yawc-client 1|2 URL") };
    let mut said = Said::default();
    match tokio::time::timeout(Duration::from_secs(15), run(&mut said, version, url)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => said.error = Some(error.to_string()),
        Err(_) => said.error = Some("not done after 15 s".to_owned()),
    }
    println!("{}", said.json());
}
