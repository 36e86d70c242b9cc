//! `sockeye serve`.

use std::io::{Write as _, stdout};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use sockeye::{Deflate, Handle, OriginPolicy, Server, WebSocketConfig, http2};
use tokio::net::TcpListener;

use crate::admission::{self, Admission};
use crate::certificate;
use crate::metrics;
use crate::signals::Signals;
use crate::site::Site;
use crate::stats::{Shown, Stats};

/// Time to the answer of a PING, or of a WebSocket's Ping, after which its peer is given up.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4433")]
    listen: SocketAddr,
    /// The certificate chain, in PEM. Without one, a self-signed certificate for localhost is made.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "cleartext")]
    cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// No TLS: HTTP/2 by prior knowledge, and HTTP/1.1.
    #[arg(long)]
    cleartext: bool,
    /// Octets in a WebSocket message, beyond which a socket is closed with 1009.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_message_size: usize,
    /// Frames of any size in a WebSocket message; beyond that one of less than 256 octets a frame is closed with 1009.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_fragments: u32,
    /// No compression of WebSocket messages (permessage-deflate), which clients get that offer it.
    #[arg(long)]
    no_deflate: bool,
    /// Streams, and so WebSockets, that one HTTP/2 connection may have open at once.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: u32,
    /// Seconds of an HTTP/2 connection's silence after which a PING asks whether its peer is there; 0 never asks.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    keep_alive: u32,
    /// Seconds of a WebSocket's silence after which a Ping asks whether its other end is there, over any version of HTTP; 0
    /// never asks.
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    ping: u32,
    /// Seconds of silence after which TCP asks whether the peer's system is there, which is gone after as long again; 0 never
    /// asks.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    tcp_keep_alive: u32,
    /// Seconds for which a connection may have neither a request nor a WebSocket; over HTTP/2 at most twice as long.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    idle_timeout: u32,
    /// Seconds in which 16 KiB have to go on, or the rest, of whatever a peer sends or is sent; at most twice as long.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    progress_timeout: u32,
    /// An origin whose pages may open WebSockets, or "any"; may be repeated. By default the same origin.
    #[arg(long, value_name = "ORIGIN|any", value_parser = parse_origin)]
    origin: Vec<String>,
    #[command(flatten)]
    admission: Admission,
    /// Where to serve what is counted, in cleartext at /metrics, as Prometheus reads it; port 0 takes a free one. By default
    /// nowhere.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// What is shown at /stats: nothing, counters with the connection that asks, or with all connections and their addresses.
    #[arg(long, value_name = "WHOSE", value_enum, default_value_t = Shown::Own)]
    stats: Shown,
}

fn parse_origin(origin: &str) -> Result<String, String> {
    let is_origin = |uri: &http::Uri| uri.scheme().is_some() && uri.authority().is_some() && uri.path() == "/";
    match origin.parse::<http::Uri>() {
        _ if matches!(origin, "any" | "null") => Ok(origin.to_owned()),
        Ok(uri) if is_origin(&uri) && !origin.ends_with('/') => Ok(origin.to_owned()),
        _ => Err("an origin is a scheme and a host, such as https://example.com, or any".to_owned()),
    }
}

impl Arguments {
    fn origins(&self) -> OriginPolicy {
        match &self.origin[..] {
            [] => OriginPolicy::SameOrigin,
            list if list.iter().any(|origin| origin == "any") => OriginPolicy::Any,
            list => OriginPolicy::List(list.to_vec()),
        }
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let (listen, origins) = (arguments.listen, arguments.origins());
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let metrics = metrics::listen(arguments.metrics).await?;
    let progress = Duration::from_secs(arguments.progress_timeout.into());
    let config = http2::Config {
        max_concurrent_streams: arguments.max_streams,
        progress_timeout: progress,
        ..http2::Config::default()
    };
    admission::raise_open_files();
    let mut server = arguments
        .admission
        .apply(Server::new().http2(config))
        .write_timeout(progress)
        .receive_timeout(progress)
        .idle_timeout(Duration::from_secs(arguments.idle_timeout.into()))
        .tcp_keep_alive(Duration::from_secs(arguments.tcp_keep_alive.into()));
    if arguments.keep_alive > 0 {
        server = server.keep_alive(Duration::from_secs(arguments.keep_alive.into()), KEEP_ALIVE_TIMEOUT);
    }
    // An interval of zero never asks.
    server = server.ping(Duration::from_secs(arguments.ping.into()), KEEP_ALIVE_TIMEOUT);
    if !arguments.cleartext {
        server = server.tls(match (&arguments.cert, &arguments.key) {
            (Some(cert), Some(key)) => certificate::load(cert, key)?,
            (None, None) => certificate::make()?,
            _ => bail!("--cert and --key go together"),
        });
    }
    let handle = server.handle();
    shut_down_on_signal(handle.clone())?;
    let scheme = if arguments.cleartext { "http" } else { "https" };
    // A reader of this line may have gone away, which is no reason to stop.
    writeln!(stdout(), "listening on {scheme}://{}", listener.local_addr()?).ok();
    if let Some(listener) = metrics {
        metrics::serve(listener, handle.clone())?;
    }

    let websockets = WebSocketConfig {
        max_message_size: arguments.max_message_size,
        max_fragments: arguments.max_fragments,
        ..WebSocketConfig::default()
    };
    let stats = Stats::new(handle, arguments.stats);
    let site = Site::new(stats, websockets, origins, (!arguments.no_deflate).then(Deflate::default));
    server.serve(listener, tower::service_fn(move |request| site.clone().answer(request))).await?;
    Ok(())
}

/// From now on the first signal asks for a graceful end, and a second one does not wait for it.
fn shut_down_on_signal(handle: Handle) -> Result<()> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        for _ in 0..2 {
            signals.next().await;
            handle.shutdown();
        }
        std::process::exit(130);
    });
    Ok(())
}
