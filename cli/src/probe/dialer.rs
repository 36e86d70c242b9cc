//! The way to a server, and what it tells of the server.

use std::time::{Duration, Instant};

use rustls::{CipherSuite, ClientConfig};
use tokio::net::TcpStream;

use super::attempt::{Attempt, Problem, Step, Tls};
use super::{Result, within};
use crate::dial::{self, Transport, describe};
use sockeye_proto::uri::Target;

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
    pub(crate) async fn connect(&self, alpn: &[&[u8]], attempt: &mut Attempt) -> Result<Transport> {
        let stream = self.connect_tcp(attempt).await?;
        let Some(config) = &self.tls else { return Ok(Transport::Left(stream)) };
        let tls = dial::Tls::new(config, &self.target.host, alpn)
            .map_err(|_| Problem::new(Step::Tls, "the host is no name that a certificate can have"))?;
        let start = Instant::now();
        let secured = within(Step::Tls, self.timeout, tls.secure(stream)).await?;
        let session = secured.get_ref().1;
        let debug = |value: Option<String>| value.unwrap_or_default();
        attempt.tls = Some(Tls {
            version: debug(session.protocol_version().map(|version| format!("{version:?}").replace('_', "."))),
            cipher_suite: debug(session.negotiated_cipher_suite().map(|suite| suite_name(suite.suite()))),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            verified: !self.insecure,
            handshake_ms: start.elapsed().into(),
        });
        Ok(Transport::Right(secured))
    }

    /// Tries one address after the other. One that fails is a problem worth telling even where another works: programs
    /// that try them in this order lose time on it.
    async fn connect_tcp(&self, attempt: &mut Attempt) -> Result<TcpStream> {
        let found = async { dial::look_up(self.target).await.map_err(|error| describe(&error)) };
        let addresses = within(Step::Dns, self.timeout, found).await?;
        let limit = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        for address in addresses {
            let start = Instant::now();
            let connect = async { dial::connect(address, None).await.map_err(|error| describe(&error)) };
            match within(Step::Tcp, limit, connect).await {
                Ok(stream) => {
                    attempt.address = Some(address);
                    attempt.connect_ms = Some(start.elapsed().into());
                    return Ok(stream);
                }
                Err(problem) => attempt.problems.push(Problem::new(Step::Tcp, format!("{address}: {}", problem.text))),
            }
        }
        // Told for each address; the last one stands for the step.
        Err(attempt.problems.pop().unwrap_or_else(|| Problem::new(Step::Tcp, "there is no address")))
    }
}

/// As the registry of TLS names it (RFC 8446 §B.4).
fn suite_name(suite: CipherSuite) -> String {
    suite.as_str().map_or_else(|| "unknown".to_owned(), |name| name.replacen("TLS13_", "TLS_", 1))
}
