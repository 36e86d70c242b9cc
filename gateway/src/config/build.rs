//! From what is said to what is run.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs};

use http::Uri;
use http::uri::{Authority, PathAndQuery};
use sockeye::OriginPolicy;

use super::{Config, ConfigError, RouteConfig, Time};
use crate::policy::Policy;
use crate::reach::{Protocol, Target, Timeouts, Tls};
use crate::routes::{self, Routes};
use crate::upstreams::{Route, Settings, Upstream};

/// Between two looks at whether an upstream is well.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

impl Config {
    /// The routes, whose upstreams are those of before where nothing about them has changed: their connections, what is open to
    /// them and what is known of their health stay.
    pub(crate) fn routes(&self, before: &[Arc<Upstream>]) -> Result<Routes, ConfigError> {
        let mut known = before.to_vec();
        let mut routes = Vec::with_capacity(self.routes.len() + 1);
        for (index, route) in self.routes.iter().enumerate() {
            let name = route.path.as_deref().or(route.host.as_deref());
            let name = name.map_or_else(|| format!("route {}", index + 1), |name| format!("the route {name}"));
            if route.path.is_none() && route.host.is_none() {
                return Err(ConfigError::new(format!("{name} has neither a path nor a host: say what goes there")));
            }
            let built = build(&route.or(&self.all), &mut known).and_then(|built| {
                check_tls(route, built.upstreams())?;
                Ok(built)
            });
            routes.push(built.map_err(|error| ConfigError::new(format!("{name}: {error}")))?);
        }
        if !self.all.upstream.is_empty() {
            routes.push(build(&self.all, &mut known)?);
        }
        if routes.is_empty() {
            return Err(ConfigError::new("there is no upstream: name one, such as http://localhost:3000"));
        }
        let routes = Routes::new(routes)?;
        check_tls(&self.all, &routes.upstreams())?;
        Ok(routes)
    }
}

fn build(config: &RouteConfig, known: &mut Vec<Arc<Upstream>>) -> Result<Route, ConfigError> {
    let path = config.path.as_deref().map(path).transpose()?;
    let host = config.host.as_deref().map(host).transpose()?;
    if config.upstream.is_empty() {
        return Err(ConfigError::new("there is no upstream for it: name one, such as http://localhost:3000"));
    }
    let mut upstreams = Vec::with_capacity(config.upstream.len());
    for text in &config.upstream {
        let upstream = upstream(settings(config, text)?, known)?;
        if upstreams.iter().any(|other| Arc::ptr_eq(other, &upstream)) {
            return Err(ConfigError::new(format!("{text} is there twice")));
        }
        upstreams.push(upstream);
    }
    Ok(Route::new(path, host, policy(config)?, upstreams))
}

/// Who says how TLS is to be and has no upstream with TLS takes one for safer than it is.
fn check_tls(config: &RouteConfig, upstreams: &[Arc<Upstream>]) -> Result<(), ConfigError> {
    let said = [("upstream-ca", config.upstream_ca.is_some()), ("upstream-name", config.upstream_name.is_some())];
    match said.into_iter().find(|(_, is_said)| *is_said) {
        Some((name, _)) if !upstreams.iter().any(|upstream| upstream.reach().target().is_secure()) => {
            Err(ConfigError::new(format!(
                "{name} is for upstreams with TLS, and there is none: name one by https://, or leave {name} out"
            )))
        }
        _ => Ok(()),
    }
}

fn upstream(settings: Settings, known: &mut Vec<Arc<Upstream>>) -> Result<Arc<Upstream>, ConfigError> {
    if let Some(upstream) = known.iter().find(|upstream| *upstream.settings() == settings) {
        return Ok(upstream.clone());
    }
    let upstream = Upstream::new(settings, known).map_err(|error| ConfigError::new(error.to_string()))?;
    known.push(upstream.clone());
    Ok(upstream)
}

fn settings(config: &RouteConfig, text: &str) -> Result<Settings, ConfigError> {
    let wrong = |error: crate::reach::Error| ConfigError::new(error.to_string());
    let target: Target = text.parse().map_err(wrong)?;
    let protocol = config.to.as_deref().map_or(Ok(Protocol::default()), str::parse);
    let protocol = protocol.map_err(|error| ConfigError::new(format!("to: {error}")))?;
    let mut timeouts = Timeouts::default();
    if let Some(time) = some_time("connect-timeout", config.connect_timeout)? {
        timeouts.connect = time;
    }
    if let Some(time) = some_time("answer-timeout", config.answer_timeout)? {
        timeouts.answer = time;
    }
    if let Some(time) = some_time("close-timeout", config.close_timeout)? {
        timeouts.close = time;
    }
    if let Some(time) = config.tcp_keep_alive {
        timeouts.tcp_keep_alive = time.duration();
    }
    let tls = Tls {
        roots: match &config.upstream_ca {
            Some(path) if target.is_secure() => Some(roots(path)?),
            _ => None,
        },
        insecure: config.upstream_insecure.unwrap_or_default(),
        server_name: config.upstream_name.clone(),
    };
    let interval = some_time("check-interval", config.check_interval)?.unwrap_or(CHECK_INTERVAL);
    let check = match &config.check {
        Some(text) if PathAndQuery::try_from(text.as_str()).is_ok() && text.starts_with('/') => {
            Some((text.clone(), interval))
        }
        Some(text) => return Err(ConfigError::new(format!("check: {text:?} is no path, which is such as /healthy"))),
        None => None,
    };
    Ok(Settings { target, protocol, tls, timeouts, check })
}

/// What the file holds now: where it is another than before, so is the upstream.
fn roots(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let wrong = |why: &dyn fmt::Display| ConfigError::new(format!("upstream-ca = {path:?}: {why}"));
    let pem = fs::read(path).map_err(|error| wrong(&error))?;
    sockeye::ClientBuilder::root_tls(&pem).map_err(|error| wrong(&error))?;
    Ok(pem)
}

/// A time that is not nothing.
fn some_time(name: &str, time: Option<Time>) -> Result<Option<Duration>, ConfigError> {
    match time.map(Time::duration) {
        Some(Duration::ZERO) => Err(ConfigError::new(format!("{name} is zero, in which nothing can happen: try 5s"))),
        time => Ok(time),
    }
}

fn policy(config: &RouteConfig) -> Result<Policy, ConfigError> {
    let origins = match &config.origin[..] {
        [] => OriginPolicy::Any,
        list if list.iter().any(|origin| origin == "any") => OriginPolicy::Any,
        list => OriginPolicy::List(list.iter().map(|text| origin(text)).collect::<Result<_, _>>()?),
    };
    Ok(Policy {
        preserve_host: config.preserve_host.unwrap_or_default(),
        trust_forwarded: config.trust_forwarded.unwrap_or_default(),
        origins,
    })
}

/// RFC 6454 §6.2: a scheme, a host, a port, and nothing behind it. It is a page's, and so never that of a WebSocket; nor is it a pattern.
fn origin(text: &str) -> Result<String, ConfigError> {
    let is_pages = |scheme: &str| !matches!(scheme, "ws" | "wss");
    let is_whole = |host: &str| !host.contains('*');
    let is_origin =
        |uri: &Uri| uri.scheme_str().is_some_and(is_pages) && uri.host().is_some_and(is_whole) && uri.path() == "/";
    match text.parse::<Uri>() {
        _ if text == "null" => Ok(text.to_owned()),
        Ok(uri) if is_origin(&uri) && !text.ends_with('/') => Ok(text.to_owned()),
        _ => Err(ConfigError::new(format!(
            "origin: {text:?} is none, which is a scheme and a whole host, such as https://example.com, or any"
        ))),
    }
}

/// Segments, without an end that is empty.
fn path(text: &str) -> Result<String, ConfigError> {
    let is_path = text.starts_with('/') && PathAndQuery::try_from(text).is_ok_and(|path| path.query().is_none());
    if !is_path || routes::is_roundabout(text) {
        return Err(ConfigError::new(format!("{text:?} is no path to route by: it is such as /api")));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn host(text: &str) -> Result<String, ConfigError> {
    match Authority::try_from(text) {
        Ok(authority) if authority.host() == text && !text.contains('*') => {
            Ok(routes::without_root(text).to_ascii_lowercase())
        }
        _ => Err(ConfigError::new(format!(
            "{text:?} is no host to route by: it is such as example.com, without a port, and one alone"
        ))),
    }
}
