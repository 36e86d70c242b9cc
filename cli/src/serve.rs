//! `sockeye serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use sockeye::{Deflate, Limits, OriginPolicy, Server, SocketOptions};

use crate::admission::{self, Admission};
use crate::certificate;
use crate::ending;
use crate::files::Folder;
use crate::listeners::{self, Listen, Listeners};
use crate::metrics;
use crate::out;
use crate::served::Served;
use crate::site::{START, Site};
use crate::stats::{Shown, Stats};
use crate::systemd;
use crate::topics::{HubOptions, Topics};

/// Octets of header lists that a connection may have held: of 300 requests of browsers at once.
const KEPT_HEADS: usize = 1 << 20;
/// Time to the answer of a PING, or of a WebSocket's Ping, after which its peer is given up.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to listen: an address or a name, or neither for all addresses, and a port, of which 0 takes a free one; or
    /// unix:/run/sockeye.sock for a Unix socket, as behind a proxy on the same machine. May be repeated.
    #[arg(long, value_name = "HOST:PORT|unix:PATH", default_value = "127.0.0.1:4433")]
    listen: Vec<Listen>,
    /// A folder of files to serve beside /echo, such as a page of one's own that opens WebSockets; its index.html stands in place
    /// of the page at /. Hidden files are left out, and links that lead out of it.
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Share the port with other processes (SO_REUSEPORT), as with the one that takes this one's place; Linux only. At the end
    /// new connections go to the other process before this one closes its socket, so that none is lost. A socket that systemd
    /// hands over (LISTEN_FDS) is taken in place of all this.
    #[arg(long)]
    reuse_port: bool,
    /// Seconds over which the Closes of the WebSockets are spread when SIGTERM ends the server; what is left after five more is
    /// cut off. Ctrl-C closes all at once, and a second signal of either kind ends the program at once.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    drain: u32,
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
    topics: HubOptions,
    #[command(flatten)]
    admission: Admission,
    /// Where to serve what is counted, in cleartext at /metrics, as Prometheus reads it; port 0 takes a free one. By default
    /// nowhere.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<Listen>,
    /// What is shown at /stats: nothing, counters with the connection that asks, or with all connections and their addresses.
    #[arg(long, value_name = "WHOSE", value_enum, default_value_t = Shown::Own)]
    stats: Shown,
}

fn parse_origin(origin: &str) -> Result<String, String> {
    let is_origin = |uri: &http::Uri| {
        uri.scheme().is_some() && uri.host().is_some_and(|host| !host.contains('*')) && uri.path() == "/"
    };
    match origin.parse::<http::Uri>() {
        _ if matches!(origin, "any" | "null") => Ok(origin.to_owned()),
        Ok(uri) if is_origin(&uri) && !origin.ends_with('/') => Ok(origin.to_owned()),
        _ => Err("an origin is a scheme and a whole host, such as https://example.com, or any".to_owned()),
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
    let origins = arguments.origins();
    let folder = arguments.dir.as_deref().map(Folder::new).transpose()?;
    let hub = arguments.topics.hub().await?;
    let Listeners { all: listeners, shared_ports } = listeners::open(&arguments.listen, arguments.reuse_port).await?;
    let metrics = metrics::listen(arguments.metrics.as_ref()).await?;
    let progress = Duration::from_secs(arguments.progress_timeout.into());
    let mut limits = Limits::new()
        .max_concurrent_streams(arguments.max_streams)
        .progress_timeout(progress)
        .kept_heads(KEPT_HEADS)
        .write_timeout(progress)
        .receive_timeout(progress)
        .idle_timeout(Duration::from_secs(arguments.idle_timeout.into()))
        .tcp_keep_alive(Duration::from_secs(arguments.tcp_keep_alive.into()))
        // An interval of zero never asks.
        .ping(Duration::from_secs(arguments.ping.into()), KEEP_ALIVE_TIMEOUT);
    if arguments.keep_alive > 0 {
        limits = limits.keep_alive(Duration::from_secs(arguments.keep_alive.into()), KEEP_ALIVE_TIMEOUT);
    }
    admission::raise_open_files();
    let mut server = arguments.admission.apply(Server::new().limits(limits));
    if !arguments.cleartext {
        server = server.tls(match (&arguments.cert, &arguments.key) {
            (Some(cert), Some(key)) => certificate::load(cert, key)?,
            (None, None) => certificate::make()?,
            _ => bail!("--cert and --key go together"),
        });
    }
    let handle = server.handle();
    ending::on_signal(handle.clone(), Duration::from_secs(arguments.drain.into()), shared_ports)?;
    let scheme = if arguments.cleartext { "http" } else { "https" };
    listeners::announce(&listeners, scheme)?;
    for listener in metrics {
        metrics::serve(listener, handle.clone(), hub.clone())?;
    }
    if let Some(first) = listeners::first_address(&listeners)? {
        let has_page = arguments.dir.is_some_and(|folder| folder.join("index.html").is_file());
        let (what, path) =
            if has_page { ("the folder's page", "/") } else { ("a page that opens WebSockets at once", START) };
        out::print(&format!("{what}: {}", link(scheme, first, path)))?;
    }
    systemd::ready();

    let mut options = SocketOptions::new()
        .origins(origins)
        .max_message_size(arguments.max_message_size)
        .max_fragments(arguments.max_fragments);
    if !arguments.no_deflate {
        options = options.deflate(Deflate::default());
    }
    let stats = Stats::new(handle, hub.clone(), arguments.stats);
    let topics = hub.map(|hub| Topics::new(hub, options.clone()));
    let site = Site::new(stats, options.protocols(["echo"]), folder, topics);
    let service = Served::own(move |request| site.clone().answer(request));
    Ok(server.serve(listeners, service).await?)
}

/// Where a browser on this machine finds a page. The name is one of the certificate's.
fn link(scheme: &str, address: SocketAddr, path: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    match ip.is_loopback() || ip.is_unspecified() {
        true => format!("{scheme}://localhost:{port}{path}"),
        false => format!("{scheme}://{address}{path}"),
    }
}
