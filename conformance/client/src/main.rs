//! Sockeye's client against one of other people's servers, which has the paths of `conformance/servers`.

mod checks;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http::Version;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sockeye::{Client, ClientBuilder, Limits};
use tokio::time::timeout;

use self::checks::{CHECKS, Need};

/// Beyond what the slowest of them takes on a busy machine.
const CHECK_TIME: Duration = Duration::from_secs(60);
/// Not all of them end their half of a stream after the closing handshake: these keep nothing waiting for longer.
const CLOSE_TIME: Duration = Duration::from_secs(2);

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// What to call the server in the report.
    name: String,
    /// Its origin.
    url: String,
    /// The version of HTTP that its WebSockets have to go over: 1.1 or 2.
    #[arg(long, value_parser = parse_version)]
    version: Version,
    /// HTTP/2 in cleartext, by prior knowledge.
    #[arg(long)]
    prior_knowledge: bool,
    /// An HTTP proxy to go through, by CONNECT.
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// The one certificate to trust, in PEM.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// What the server does not do.
    #[arg(long, value_delimiter = ',')]
    without: Vec<Need>,
    /// Only the checks whose title contains this text.
    #[arg(long, default_value = "")]
    filter: String,
    /// The server's process, which is killed in the end.
    #[arg(long)]
    pid: u32,
}

fn parse_version(version: &str) -> std::result::Result<Version, &'static str> {
    match version {
        "1.1" => Ok(Version::HTTP_11),
        "2" => Ok(Version::HTTP_2),
        _ => Err("the versions are 1.1 and 2"),
    }
}

/// The server under test, and what is expected of it.
struct Subject {
    url: String,
    version: Version,
    builder: ClientBuilder,
    pid: u32,
}

impl Subject {
    fn new(arguments: &Arguments) -> Result<Self> {
        let mut builder =
            Client::builder().limits(Limits::new().close_timeout(CLOSE_TIME).shutdown_timeout(CLOSE_TIME));
        if arguments.prior_knowledge {
            builder = builder.http2_only();
        }
        if let Some(proxy) = &arguments.proxy {
            builder = builder.proxy(proxy);
        }
        if let Some(path) = &arguments.certificate {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(path)?)?;
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            builder = builder.tls(config.with_root_certificates(roots).with_no_client_auth());
        }
        Ok(Self { url: arguments.url.clone(), version: arguments.version, builder, pid: arguments.pid })
    }

    async fn client(&self) -> Result<Client> {
        Ok(self.builder.connect(&self.url).await?)
    }
}

#[tokio::main]
async fn main() -> Result {
    let arguments = Arguments::parse();
    let subject = Subject::new(&arguments)?;
    let (mut passed, mut failed) = (0, 0);
    for (title, need, check) in CHECKS {
        if need.is_some_and(|need| arguments.without.contains(&need)) || !title.contains(&arguments.filter) {
            continue;
        }
        let outcome = timeout(CHECK_TIME, check(&subject)).await.unwrap_or_else(|_| Err("it does not end".into()));
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok    {}: {title}", arguments.name);
            }
            Err(error) => {
                failed += 1;
                println!("FAIL  {}: {title}: {}", arguments.name, with_causes(&*error));
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

fn with_causes(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
