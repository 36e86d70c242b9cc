//! What a gateway is told: by flags, by a file, by a program.

mod build;
mod error;
mod list;
mod route;
mod time;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use self::error::ConfigError;
pub use self::route::RouteConfig;
pub use self::time::Time;
use crate::log::LogFormat;

/// A gateway's settings. As TOML they have the names of the flags of `sockeye gateway`, and a `[[route]]` for each route:
///
/// ```
/// # fn main() -> Result<(), sockeye_gateway::ConfigError> {
/// let config = sockeye_gateway::Config::parse(
///     r#"
///     listen = ["0.0.0.0:443"]
///     upstream = ["http://10.0.0.5:3000", "http://10.0.0.6:3000"]
///     check = "/healthy"
///     drain = "30s"
///
///     [[route]]
///     path = "/api"
///     upstream = ["unix:/run/api.sock"]
///     "#,
/// )?;
/// assert_eq!(config.all.upstream.len(), 2);
/// # Ok(())
/// # }
/// ```
///
/// The only one of a list needs no brackets. What stands above the first `[[route]]` holds for all of them, but for those that say
/// otherwise. A key that there is none of is an error, and so is a value that cannot be: a file is taken whole or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The route of whatever no other one matches, and the defaults of the others.
    pub all: RouteConfig,
    /// Routes by path or by host.
    pub routes: Vec<RouteConfig>,
    /// What the program takes from it; the library looks at none of this.
    pub program: ProgramConfig,
}

/// What `sockeye gateway` takes from a file beside the routes. The flags of the same names come before it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ProgramConfig {
    /// Where to listen: addresses with their ports.
    pub listen: Vec<String>,
    /// The certificate chain, in PEM.
    pub cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub key: Option<PathBuf>,
    /// No TLS.
    pub cleartext: Option<bool>,
    /// Connections at once.
    pub max_connections: Option<u32>,
    /// Connections at once of one IPv4 address, or of one /64 of IPv6.
    pub max_connections_per_address: Option<u32>,
    /// Of all connections, places that are kept for health checks.
    pub keep_places: Option<u32>,
    /// The addresses and networks that they are kept for.
    pub keep_for: Vec<String>,
    /// Whether other processes may have the port as well.
    pub reuse_port: Option<bool>,
    /// The time of an HTTP/2 connection's silence after which it is asked for a sign of life; 0 for never.
    pub keep_alive: Option<Time>,
    /// Streams of a connection of HTTP/2 at once.
    pub max_streams: Option<u32>,
    /// The time that a connection may have neither a request nor a WebSocket.
    pub idle_timeout: Option<Time>,
    /// The time that a stream with octets to send may be blocked.
    pub progress_timeout: Option<Time>,
    /// The time in which a request's content has to go on.
    pub receive_timeout: Option<Time>,
    /// The time over which a drain spreads the Closes.
    pub drain: Option<Time>,
    /// Where the status page and the metrics are.
    pub metrics: Option<String>,
    /// Whether the status page shows the addresses of clients.
    pub status_clients: Option<bool>,
    /// How ended exchanges are logged.
    pub access_log: Option<LogFormat>,
    /// The file that they are logged to, in place of stdout.
    pub access_log_file: Option<PathBuf>,
}

/// As it stands in a file: flat, since serde refuses no unknown key of a struct that is put together of others.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    #[serde(default, deserialize_with = "list::read")]
    listen: Vec<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    cleartext: Option<bool>,
    max_connections: Option<u32>,
    max_connections_per_address: Option<u32>,
    keep_places: Option<u32>,
    #[serde(default, deserialize_with = "list::read")]
    keep_for: Vec<String>,
    reuse_port: Option<bool>,
    keep_alive: Option<Time>,
    max_streams: Option<u32>,
    idle_timeout: Option<Time>,
    progress_timeout: Option<Time>,
    receive_timeout: Option<Time>,
    drain: Option<Time>,
    metrics: Option<String>,
    status_clients: Option<bool>,
    access_log: Option<LogFormat>,
    access_log_file: Option<PathBuf>,
    #[serde(default, deserialize_with = "list::read")]
    upstream: Vec<String>,
    to: Option<String>,
    preserve_host: Option<bool>,
    trust_forwarded: Option<bool>,
    #[serde(default, deserialize_with = "list::read")]
    origin: Vec<String>,
    connect_timeout: Option<Time>,
    answer_timeout: Option<Time>,
    close_timeout: Option<Time>,
    tcp_keep_alive: Option<Time>,
    check: Option<String>,
    check_interval: Option<Time>,
    upstream_ca: Option<PathBuf>,
    upstream_insecure: Option<bool>,
    upstream_name: Option<String>,
    #[serde(default)]
    route: Vec<RouteConfig>,
}

impl Config {
    /// One upstream for everything, with every setting at its default: `http://host:port`, `https://host:port` or
    /// `unix:/path/to/socket`.
    pub fn to(upstream: impl Into<String>) -> Self {
        Self { all: RouteConfig { upstream: vec![upstream.into()], ..RouteConfig::default() }, ..Self::default() }
    }

    /// Another route.
    #[must_use]
    pub fn route(mut self, route: RouteConfig) -> Self {
        self.routes.push(route);
        self
    }

    /// Reads a file of TOML.
    ///
    /// # Errors
    ///
    /// It cannot be read, or says what cannot be. The error names the file and the line.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::new(format!("cannot read the configuration in {shown}: {error}")))?;
        Self::parse(&text).map_err(|error| ConfigError::new(format!("{shown}: {error}")))
    }

    /// Reads TOML.
    ///
    /// # Errors
    ///
    /// What is no TOML, a key that there is none of, a value of another kind. The error shows the line.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::new(error.to_string().trim_end()))?;
        Ok(file.into())
    }
}

impl From<File> for Config {
    fn from(file: File) -> Self {
        let all = RouteConfig {
            path: None,
            host: None,
            upstream: file.upstream,
            to: file.to,
            preserve_host: file.preserve_host,
            trust_forwarded: file.trust_forwarded,
            origin: file.origin,
            connect_timeout: file.connect_timeout,
            answer_timeout: file.answer_timeout,
            close_timeout: file.close_timeout,
            tcp_keep_alive: file.tcp_keep_alive,
            check: file.check,
            check_interval: file.check_interval,
            upstream_ca: file.upstream_ca,
            upstream_insecure: file.upstream_insecure,
            upstream_name: file.upstream_name,
        };
        let program = ProgramConfig {
            listen: file.listen,
            cert: file.cert,
            key: file.key,
            cleartext: file.cleartext,
            max_connections: file.max_connections,
            max_connections_per_address: file.max_connections_per_address,
            keep_places: file.keep_places,
            keep_for: file.keep_for,
            reuse_port: file.reuse_port,
            keep_alive: file.keep_alive,
            max_streams: file.max_streams,
            idle_timeout: file.idle_timeout,
            progress_timeout: file.progress_timeout,
            receive_timeout: file.receive_timeout,
            drain: file.drain,
            metrics: file.metrics,
            status_clients: file.status_clients,
            access_log: file.access_log,
            access_log_file: file.access_log_file,
        };
        Self { all, routes: file.route, program }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_file_has_the_names_of_the_flags() {
        let text = r#"
            listen = ["[::]:443"]
            drain = "90s"
            access-log = "json"
            upstream = ["http://a:1"]
            to = "h1"
            answer-timeout = 5
            [[route]]
            path = "/api"
            upstream = ["http://b:2"]
            preserve-host = true
        "#;
        let config = Config::parse(text).unwrap();
        assert_eq!(config.program.drain.unwrap().duration(), Duration::from_secs(90));
        assert_eq!(config.program.access_log, Some(LogFormat::Json));
        assert_eq!(config.all.answer_timeout.unwrap().duration(), Duration::from_secs(5));
        assert_eq!(config.routes[0].path.as_deref(), Some("/api"));
        assert_eq!(config.routes[0].preserve_host, Some(true));
    }

    #[test]
    fn the_only_one_of_a_list_needs_no_brackets() {
        let alone = "listen = '[::]:443'\nupstream = 'http://a:1'\norigin = 'any'\n[[route]]\npath = '/b'\nupstream = 'http://b:1'";
        let listed = "listen = ['[::]:443']\nupstream = ['http://a:1']\norigin = ['any']\n[[route]]\npath = '/b'\nupstream = ['http://b:1']";
        assert_eq!(Config::parse(alone).unwrap(), Config::parse(listed).unwrap());
    }

    #[test]
    fn what_is_wrong_in_a_file_is_shown_by_its_line() {
        for (text, line, word) in [
            ("listen = []\nupstreams = []", "line 2", "upstreams"),
            ("drain = \"soon\"", "line 1", "30s"),
            ("[[route]]\npath = \"/\"\nport = 1", "line 3", "port"),
            ("access-log = \"xml\"", "line 1", "xml"),
            ("upstream = 3000", "line 1", "a text in quotes, or several in brackets"),
        ] {
            let error = Config::parse(text).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains(word), "{text}: {error}");
        }
    }
}
