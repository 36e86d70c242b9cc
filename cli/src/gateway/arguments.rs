//! What `sockeye gateway` is told, by flags and by a file.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use sockeye_gateway::config::{ProgramConfig, Time};
use sockeye_gateway::{Config, LogFormat, RouteConfig};

use super::certificates::Identity;
use crate::admission::{Admission, Network};
use crate::listeners::Listen;
use crate::usage::Usage;

/// Where it listens, where nothing else is said.
const LISTEN: &str = "127.0.0.1:4433";
const DRAIN: Duration = Duration::from_secs(30);

#[derive(clap::Args, Clone)]
pub(crate) struct Arguments {
    /// An upstream for everything, as --upstream names it: sockeye gateway http://localhost:3000
    #[arg(value_name = "URL")]
    to_all: Option<String>,
    /// Where to listen: an address or a name, or neither for all addresses, and a port, of which 0 takes a free one; may be
    /// repeated. 127.0.0.1:4433 by default.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Vec<Listen>,
    /// Where requests go: http://host:port, https://host:port or unix:/path/to/socket; may be repeated. Of several, each request
    /// goes to the one that has the fewest requests and WebSockets open.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// Paths that begin with these segments go elsewhere, as in /api=http://localhost:4000; may be repeated, for a path as well.
    #[arg(long, value_name = "PATH=URL", value_parser = parse_route)]
    route: Vec<(String, String)>,
    /// The version of HTTP towards upstreams. By default what TLS agrees on, and HTTP/1.1 in cleartext.
    #[arg(long, value_name = "h1|h2|auto")]
    to: Option<String>,
    /// A file in TOML with all of these but --log-format by the same names, and a table named route for each. Flags come before
    /// it. SIGHUP has it read again, with the certificates.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The certificate chain, in PEM. Without one, a self-signed certificate for localhost is made.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "cleartext")]
    cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// No TLS: HTTP/2 by prior knowledge, and HTTP/1.1, for what stands behind a terminator of TLS.
    #[arg(long)]
    cleartext: bool,
    /// Share the port with other processes (SO_REUSEPORT), as with the one that takes this one's place; Linux only.
    #[arg(long)]
    reuse_port: bool,
    /// The time over which the Closes of the WebSockets are spread when SIGTERM ends the gateway, such as 30s (the default);
    /// what is left after five seconds more is cut off. Ctrl-C closes all at once, and a second signal of either kind ends the
    /// program at once.
    #[arg(long, value_name = "TIME")]
    drain: Option<Time>,
    /// An origin whose pages may open WebSockets, or "any"; may be repeated. Any by default: the upstream gets the Origin, and
    /// decides.
    #[arg(long, value_name = "ORIGIN|any")]
    origin: Vec<String>,
    /// Upstreams get the Host that the client asked for, in place of their own.
    #[arg(long)]
    preserve_host: bool,
    /// What clients say in Forwarded and X-Forwarded-* goes on: for a gateway behind a proxy that sets them.
    #[arg(long)]
    trust_forwarded: bool,
    /// Time for each step to a connection to an upstream: TCP, TLS, the first SETTINGS of HTTP/2; 5s by default.
    #[arg(long, value_name = "TIME")]
    connect_timeout: Option<Time>,
    /// Time for an upstream to begin its answer; 60s by default. An open WebSocket, and content, may be silent for ever.
    #[arg(long, value_name = "TIME")]
    answer_timeout: Option<Time>,
    /// Time for the other side of a WebSocket to end once one has, from the last octet on; 10s by default. Then both are cut off.
    /// It is 5s at most for a client behind its upstream's end, 1s where that came with a Close, and 5s for an upstream behind the
    /// end of a client of HTTP/1.1.
    #[arg(long, value_name = "TIME")]
    close_timeout: Option<Time>,
    /// A path that upstreams are asked for to see whether they are well, which a status of 2xx or 3xx says. By default only what
    /// becomes of requests tells.
    #[arg(long, value_name = "PATH")]
    check: Option<String>,
    /// How often; 5s by default.
    #[arg(long, value_name = "TIME")]
    check_interval: Option<Time>,
    /// The certificates (PEM) that upstreams' are to be signed by, in place of the system's. SIGHUP has it read again.
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// The name that upstreams' certificates are to have, in place of their host's.
    #[arg(long, value_name = "NAME")]
    upstream_name: Option<String>,
    /// Take any certificate of an upstream: for tests.
    #[arg(long)]
    upstream_insecure: bool,
    /// How ended requests and WebSockets are logged: text (the default) or json, a line each, or off. Queries are left out.
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    access_log: Option<LogFormat>,
    /// The file that they are logged to, in place of stdout. SIGHUP has it opened again.
    #[arg(long, value_name = "FILE")]
    access_log_file: Option<PathBuf>,
    /// Where to serve a status page at /, and what is counted at /metrics, in cleartext, as Prometheus reads it; port 0 takes a
    /// free one. By default nowhere.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Option<Listen>,
    /// The status page shows the addresses of clients, too.
    #[arg(long)]
    status_clients: bool,
    /// Time of an HTTP/2 connection's silence after which a PING asks whether its client is there; 30s by default, and 0 never
    /// asks. WebSockets are asked nothing: their Pings pass from end to end.
    #[arg(long, value_name = "TIME")]
    keep_alive: Option<Time>,
    /// Time of silence after which TCP asks whether the system of a client, or of an upstream, is there, which is gone after as long
    /// again; 60s by default, and 0 never asks.
    #[arg(long, value_name = "TIME")]
    tcp_keep_alive: Option<Time>,
    /// Streams of an HTTP/2 connection at once, 1024 by default: each WebSocket of a page is one, and each request beside them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_streams: Option<u32>,
    /// Time for which a client's connection may have neither a request nor a WebSocket; 60s by default. Then it ends.
    #[arg(long, value_name = "TIME")]
    idle_timeout: Option<Time>,
    /// Time for which a stream with octets to send may be blocked by its client, within which 16 KiB must go; 60s by default. Then
    /// it is reset.
    #[arg(long, value_name = "TIME")]
    progress_timeout: Option<Time>,
    /// Time in which 16 KiB of a request's content have to come, or the rest, while the upstream waits for them; 60s by default. A
    /// gRPC stream whose client is silent for longer wants more.
    #[arg(long, value_name = "TIME")]
    receive_timeout: Option<Time>,
    #[command(flatten)]
    admission: Admission,
}

fn parse_route(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, url)) if path.starts_with('/') && !url.is_empty() => Ok((path.to_owned(), url.to_owned())),
        _ => Err("a route is a path and where it goes, such as /api=http://localhost:4000".to_owned()),
    }
}

fn parse_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "off" => Ok(LogFormat::Off),
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("it is one of text, json and off".to_owned()),
    }
}

/// Flags and file together.
pub(super) struct Settings {
    pub(super) config: Config,
    pub(super) listen: Vec<Listen>,
    pub(super) identity: Identity,
    pub(super) metrics: Option<Listen>,
    pub(super) status_clients: bool,
    pub(super) drain: Duration,
    pub(super) access_log: LogFormat,
    pub(super) access_log_file: Option<PathBuf>,
    pub(super) limits: Limits,
    pub(super) admission: Admission,
    pub(super) reuse_port: bool,
}

impl Settings {
    /// The settings that differ, of those that nothing but a start can change, by the names of their flags.
    pub(super) fn changed(&self, now: &Self) -> Vec<&'static str> {
        let (limits, new) = (&self.limits, &now.limits);
        let (admission, admits) = (&self.admission, &now.admission);
        let all = [
            ("listen", self.listen != now.listen),
            ("metrics", self.metrics != now.metrics),
            ("status-clients", self.status_clients != now.status_clients),
            ("drain", self.drain != now.drain),
            ("reuse-port", self.reuse_port != now.reuse_port),
            ("max-connections", admission.max_connections != admits.max_connections),
            (
                "max-connections-per-address",
                admission.max_connections_per_address != admits.max_connections_per_address,
            ),
            ("keep-places", admission.keep_places != admits.keep_places),
            ("keep-for", admission.keep_for != admits.keep_for),
            ("keep-alive", limits.keep_alive != new.keep_alive),
            ("tcp-keep-alive", limits.tcp_keep_alive != new.tcp_keep_alive),
            ("max-streams", limits.max_streams != new.max_streams),
            ("idle-timeout", limits.idle_timeout != new.idle_timeout),
            ("progress-timeout", limits.progress_timeout != new.progress_timeout),
            ("receive-timeout", limits.receive_timeout != new.receive_timeout),
            ("cleartext", self.identity.is_cleartext() != now.identity.is_cleartext()),
            ("cert", self.identity.is_made() != now.identity.is_made() && !now.identity.is_cleartext()),
        ];
        all.into_iter().filter(|(_, has_changed)| *has_changed).map(|(name, _)| name).collect()
    }
}

/// The server's limits that have flags, as far as anything is said of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) keep_alive: Option<Time>,
    pub(super) tcp_keep_alive: Option<Time>,
    pub(super) max_streams: Option<u32>,
    pub(super) idle_timeout: Option<Time>,
    pub(super) progress_timeout: Option<Time>,
    pub(super) receive_timeout: Option<Time>,
}

impl Limits {
    /// # Errors
    ///
    /// A limit of nothing.
    fn check(self) -> Result<Self> {
        let times = [
            ("idle-timeout", self.idle_timeout),
            ("progress-timeout", self.progress_timeout),
            ("receive-timeout", self.receive_timeout),
        ];
        for (name, time) in times {
            if time.is_some_and(|time| time.duration().is_zero()) {
                return Err(Usage::new(format!("{name} is zero, in which nothing can happen: try 60s")).into());
            }
        }
        if self.max_streams == Some(0) {
            return Err(Usage::new("max-streams is zero, and nothing could be asked for: try 1024").into());
        }
        Ok(self)
    }
}

impl Arguments {
    /// Reads the file, where there is one, and puts the flags before it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or says what cannot be.
    pub(super) fn settings(&self) -> Result<Settings> {
        let mut config = match &self.config {
            Some(path) => Config::read(path).map_err(Usage::of)?,
            None => Config::default(),
        };
        self.overlay(&mut config);
        let program = std::mem::take(&mut config.program);
        let admission = self.admission.clone().or(admission(&program)?);
        let listen = match (&self.listen[..], &program.listen[..]) {
            ([], []) => vec![parse_listen("listen", LISTEN)?],
            ([], file) => file.iter().map(|text| parse_listen("listen", text)).collect::<Result<_>>()?,
            (flags, _) => flags.to_vec(),
        };
        let metrics = match (&self.metrics, &program.metrics) {
            (Some(flag), _) => Some(flag.clone()),
            (None, Some(text)) => Some(parse_listen("metrics", text)?),
            (None, None) => None,
        };
        let is_told = self.cert.is_some() || self.cleartext;
        let (cert, key, cleartext) = match is_told {
            true => (self.cert.clone(), self.key.clone(), self.cleartext),
            false => (program.cert, program.key, program.cleartext.unwrap_or_default()),
        };
        let limits = Limits {
            keep_alive: self.keep_alive.or(program.keep_alive),
            tcp_keep_alive: config.all.tcp_keep_alive,
            max_streams: self.max_streams.or(program.max_streams),
            idle_timeout: self.idle_timeout.or(program.idle_timeout),
            progress_timeout: self.progress_timeout.or(program.progress_timeout),
            receive_timeout: self.receive_timeout.or(program.receive_timeout),
        };
        Ok(Settings {
            config,
            limits: limits.check()?,
            listen,
            identity: Identity::new(cert, key, cleartext)?,
            metrics,
            status_clients: self.status_clients || program.status_clients.unwrap_or_default(),
            drain: self.drain.or(program.drain).map_or(DRAIN, Time::duration),
            access_log: self.access_log.or(program.access_log).unwrap_or_default(),
            access_log_file: self.access_log_file.clone().or(program.access_log_file),
            admission,
            reuse_port: self.reuse_port || program.reuse_port.unwrap_or_default(),
        })
    }

    fn overlay(&self, config: &mut Config) {
        let all = &mut config.all;
        let upstreams: Vec<String> = self.to_all.iter().chain(&self.upstream).cloned().collect();
        if !upstreams.is_empty() {
            all.upstream = upstreams;
        }
        if !self.origin.is_empty() {
            all.origin.clone_from(&self.origin);
        }
        all.to = self.to.clone().or(all.to.take());
        all.preserve_host = self.preserve_host.then_some(true).or(all.preserve_host);
        all.trust_forwarded = self.trust_forwarded.then_some(true).or(all.trust_forwarded);
        all.connect_timeout = self.connect_timeout.or(all.connect_timeout);
        all.answer_timeout = self.answer_timeout.or(all.answer_timeout);
        all.close_timeout = self.close_timeout.or(all.close_timeout);
        all.tcp_keep_alive = self.tcp_keep_alive.or(all.tcp_keep_alive);
        all.check = self.check.clone().or(all.check.take());
        all.check_interval = self.check_interval.or(all.check_interval);
        all.upstream_ca = self.upstream_ca.clone().or(all.upstream_ca.take());
        all.upstream_name = self.upstream_name.clone().or(all.upstream_name.take());
        all.upstream_insecure = self.upstream_insecure.then_some(true).or(all.upstream_insecure);
        self.overlay_routes(&mut config.routes);
    }

    /// A route of a flag stands in place of the file's for the same path.
    fn overlay_routes(&self, routes: &mut Vec<RouteConfig>) {
        let is_flag = |path: &str| self.route.iter().any(|(own, _)| own == path);
        routes.retain(|route| route.host.is_some() || !route.path.as_deref().is_some_and(is_flag));
        let first = routes.len();
        for (path, url) in &self.route {
            match routes[first..].iter_mut().find(|route| route.path.as_ref() == Some(path)) {
                Some(route) => route.upstream.push(url.clone()),
                None => routes.push(RouteConfig::new(path, url)),
            }
        }
    }
}

/// Who is let in, by a file.
fn admission(program: &ProgramConfig) -> Result<Admission> {
    let limits = [
        ("max-connections", program.max_connections),
        ("max-connections-per-address", program.max_connections_per_address),
    ];
    for (name, limit) in limits {
        if limit == Some(0) {
            return Err(Usage::new(format!("{name} is zero, and nobody could connect: try 1024")).into());
        }
    }
    let network = |text: &String| {
        text.parse::<Network>().map_err(|error| Usage::new(format!("keep-for = {text:?}: {error}")).into())
    };
    Ok(Admission {
        max_connections: program.max_connections,
        max_connections_per_address: program.max_connections_per_address,
        keep_places: program.keep_places,
        keep_for: program.keep_for.iter().map(network).collect::<Result<_>>()?,
    })
}

fn parse_listen(name: &str, text: &str) -> Result<Listen> {
    Ok(text.parse().map_err(|error| Usage::new(format!("{name} = {text:?}: {error}")))?)
}
