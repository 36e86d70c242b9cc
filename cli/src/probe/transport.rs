//! The way to a server: its addresses, TCP, and TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use super::report::{Attempt, Problem, Step, Tls};
use super::{Result, within};
use crate::target::Target;

/// Whatever octets go over.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// How to get there.
pub(crate) struct Dialer<'a> {
    pub(crate) target: &'a Target,
    pub(crate) tls: Option<ClientConfig>,
    pub(crate) insecure: bool,
    /// Of each step.
    pub(crate) timeout: Duration,
}

impl Dialer<'_> {
    /// Connects, and offers these protocols by ALPN where there is TLS.
    pub(crate) async fn connect(&self, alpn: &[&[u8]], attempt: &mut Attempt) -> Result<Box<dyn Transport>> {
        let transport = self.connect_tcp(attempt).await?;
        let Some(config) = &self.tls else { return Ok(Box::new(transport)) };
        let mut config = config.clone();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        let name = ServerName::try_from(self.target.host.clone())
            .map_err(|_| Problem::new(Step::Tls, "the host is no name that a certificate can have"))?;
        let start = Instant::now();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, transport);
        let handshake = async { handshake.await.map_err(|error| describe_tls(&error, alpn)) };
        let secured = within(Step::Tls, self.timeout, handshake).await?;
        let session = secured.get_ref().1;
        let debug = |value: Option<String>| value.unwrap_or_default();
        attempt.tls = Some(Tls {
            version: debug(session.protocol_version().map(|version| format!("{version:?}").replace('_', "."))),
            cipher_suite: debug(session.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()))),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            verified: !self.insecure,
            handshake_ms: start.elapsed().into(),
        });
        Ok(Box::new(secured))
    }

    /// Tries one address after the other. One that fails is a problem worth telling even where another works: programs
    /// that try them in this order lose time on it.
    async fn connect_tcp(&self, attempt: &mut Attempt) -> Result<TcpStream> {
        let addresses = self.addresses().await?;
        let limit = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let start = Instant::now();
            let connect = async { TcpStream::connect(address).await.map_err(|error| describe(&error)) };
            match within(Step::Tcp, limit, connect).await {
                Ok(stream) => {
                    attempt.address = Some(address);
                    attempt.connect_ms = Some(start.elapsed().into());
                    stream.set_nodelay(true).ok();
                    return Ok(stream);
                }
                Err(problem) => attempt.problems.push(Problem::new(Step::Tcp, format!("{address}: {}", problem.text))),
            }
        }
        // Told for each address; the last one stands for the step.
        Err(attempt.problems.pop().unwrap_or_else(|| Problem::new(Step::Tcp, "there is no address")))
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let lookup = async {
            let found = lookup_host((&*self.target.host, self.target.port)).await.map_err(|error| describe(&error))?;
            let addresses: Vec<_> = found.collect();
            if addresses.is_empty() { Err("the host has no address".to_owned()) } else { Ok(addresses) }
        };
        within(Step::Dns, self.timeout, lookup).await
    }
}

/// An error in few words, without its number.
pub(crate) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

fn describe_tls(error: &io::Error, alpn: &[&[u8]]) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error @ rustls::Error::InvalidCertificate(_)) => format!("{error} (-k takes any certificate)"),
        // RFC 7301 §3.2
        Some(rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)) => {
            format!("by ALPN the server does not take {}", String::from_utf8_lossy(&alpn.join(&b" or "[..])))
        }
        Some(error) => error.to_string(),
        None => describe(error),
    }
}
