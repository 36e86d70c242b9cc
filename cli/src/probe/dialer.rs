//! The way to a server, and what it tells of the server.

use std::time::{Duration, Instant};

use rustls::{CipherSuite, ClientConfig};

use super::attempt::{Attempt, Problem, Step, Tls};
use super::{Result, within};
use crate::dial::{self, Stream, Transport, describe};
use crate::reach::{Place, Route};
use sockeye_proto::uri::Target;

/// How to get there.
pub(crate) struct Dialer<'a> {
    pub(crate) target: &'a Target,
    pub(crate) route: Route,
    pub(crate) tls: Option<ClientConfig>,
    pub(crate) insecure: bool,
    /// Of each step.
    pub(crate) timeout: Duration,
    pub(crate) max_message_size: usize,
}

impl Dialer<'_> {
    /// Connects, and offers these protocols by ALPN where there is TLS.
    pub(crate) async fn connect(&self, alpn: &[&[u8]], attempt: &mut Attempt) -> Result<Transport> {
        let stream = self.connect_to_place(attempt).await?;
        let passed = async { self.route.pass(stream).await.map_err(|error| error.to_string()) };
        let stream = within(Step::Proxy, self.timeout, passed).await?;
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
    async fn connect_to_place(&self, attempt: &mut Attempt) -> Result<Stream> {
        attempt.via = self.route.via();
        let found = async { self.route.places().await.map_err(|error| describe(&error)) };
        let places = within(Step::Dns, self.timeout, found).await?;
        let limit = self.timeout / u32::try_from(places.len()).unwrap_or(u32::MAX);
        for place in places {
            let start = Instant::now();
            let connect = async { self.route.connect(&place, None).await.map_err(|error| describe(&error)) };
            match within(Step::Tcp, limit, connect).await {
                Ok(stream) => {
                    if let Place::Tcp(address) = place {
                        attempt.address = Some(address);
                    }
                    attempt.connect_ms = Some(start.elapsed().into());
                    return Ok(stream);
                }
                Err(problem) => attempt
                    .problems
                    .push(Problem::new(Step::Tcp, format!("{}{place}: {}", self.before(), problem.text))),
            }
        }
        // Told for each address; the last one stands for the step.
        Err(attempt.problems.pop().unwrap_or_else(|| Problem::new(Step::Tcp, "there is no address")))
    }

    /// What stands before an address that is not the server's.
    fn before(&self) -> String {
        self.route.via().map(|via| format!("{via}, ")).unwrap_or_default()
    }
}

/// As the registry of TLS names it (RFC 8446 §B.4).
fn suite_name(suite: CipherSuite) -> String {
    suite.as_str().map_or_else(|| "unknown".to_owned(), |name| name.replacen("TLS13_", "TLS_", 1))
}
