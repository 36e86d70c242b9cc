use std::path::PathBuf;

use serde::Deserialize;

use super::Time;

/// What goes to which upstreams, and how. What is left out is as the whole configuration has it, and there as the default says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteConfig {
    /// The paths that begin with these segments: `/api` is for `/api` and `/api/users`, and not for `/apis`. All by default.
    pub path: Option<String>,
    /// The host that a client asks for, without a port. Any by default.
    pub host: Option<String>,
    /// Where it goes: `http://host:port`, `https://host:port`, `unix:/path/to/socket`. Of several, the one with the fewest open
    /// exchanges.
    #[serde(default, deserialize_with = "super::list::read")]
    pub upstream: Vec<String>,
    /// The version of HTTP towards them: `h1`, `h2` or `auto`.
    pub to: Option<String>,
    /// See [`Policy::preserve_host`](crate::Policy::preserve_host).
    pub preserve_host: Option<bool>,
    /// See [`Policy::trust_forwarded`](crate::Policy::trust_forwarded).
    pub trust_forwarded: Option<bool>,
    /// The origins whose pages may open WebSockets; all where there is none, and the upstream decides.
    #[serde(default, deserialize_with = "super::list::read")]
    pub origin: Vec<String>,
    /// See [`Timeouts::connect`](crate::Timeouts::connect).
    pub connect_timeout: Option<Time>,
    /// See [`Timeouts::answer`](crate::Timeouts::answer).
    pub answer_timeout: Option<Time>,
    /// See [`Timeouts::close`](crate::Timeouts::close).
    pub close_timeout: Option<Time>,
    /// See [`Timeouts::tcp_keep_alive`](crate::Timeouts::tcp_keep_alive); 0 for never. The program has that of all routes for its
    /// clients, too.
    pub tcp_keep_alive: Option<Time>,
    /// A path that is asked for to see whether an upstream is well, which a status of 2xx or 3xx says. None by default.
    pub check: Option<String>,
    /// How often; 5 seconds by default.
    pub check_interval: Option<Time>,
    /// A PEM file: see [`Tls::roots`](crate::Tls::roots). A [reload](crate::Live::reload) reads it again.
    pub upstream_ca: Option<PathBuf>,
    /// See [`Tls::insecure`](crate::Tls::insecure).
    pub upstream_insecure: Option<bool>,
    /// See [`Tls::server_name`](crate::Tls::server_name).
    pub upstream_name: Option<String>,
}

impl RouteConfig {
    /// The paths that begin with these segments go to one upstream.
    pub fn new(path: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self { path: Some(path.into()), upstream: vec![upstream.into()], ..Self::default() }
    }

    /// With what others say where it says nothing.
    pub(super) fn or(&self, others: &Self) -> Self {
        let some = |own: &Vec<String>, other: &Vec<String>| if own.is_empty() { other.clone() } else { own.clone() };
        Self {
            path: self.path.clone(),
            host: self.host.clone(),
            upstream: some(&self.upstream, &others.upstream),
            to: self.to.clone().or_else(|| others.to.clone()),
            preserve_host: self.preserve_host.or(others.preserve_host),
            trust_forwarded: self.trust_forwarded.or(others.trust_forwarded),
            origin: some(&self.origin, &others.origin),
            connect_timeout: self.connect_timeout.or(others.connect_timeout),
            answer_timeout: self.answer_timeout.or(others.answer_timeout),
            close_timeout: self.close_timeout.or(others.close_timeout),
            tcp_keep_alive: self.tcp_keep_alive.or(others.tcp_keep_alive),
            check: self.check.clone().or_else(|| others.check.clone()),
            check_interval: self.check_interval.or(others.check_interval),
            upstream_ca: self.upstream_ca.clone().or_else(|| others.upstream_ca.clone()),
            upstream_insecure: self.upstream_insecure.or(others.upstream_insecure),
            upstream_name: self.upstream_name.clone().or_else(|| others.upstream_name.clone()),
        }
    }
}
