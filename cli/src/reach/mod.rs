//! How a server is reached: the options that every command of a client has, in curl's words, and the way that they come to.

mod overrides;
mod proxy;
mod route;

use std::path::PathBuf;

use anyhow::Result;

use self::overrides::{ConnectTo, Overrides, Resolve};
use self::proxy::Proxy;
use crate::tls::TlsOptions;
use sockeye_proto::uri::Target;

pub(crate) use self::route::{Place, Route};

#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "How the server is reached (the words are curl's)")]
pub(crate) struct ReachOptions {
    /// A proxy to go through: http:// or https:// (by CONNECT), socks5:// or socks5h:// (SOCKS 5, where with the h the proxy
    /// looks the server's name up), with user:password@ before its host where it asks for them. An empty URL is none, whatever
    /// the environment says: by default wss_proxy or https_proxy for wss://, ws_proxy or http_proxy for ws://, else all_proxy.
    #[arg(short = 'x', long, value_name = "URL")]
    proxy: Option<String>,
    /// Hosts that no proxy is for, with commas between them: names with all that end in them, addresses, networks, or * for all;
    /// each with a port behind it for that alone. By default those of no_proxy in the environment.
    #[arg(long, visible_alias = "no-proxy", value_name = "HOSTS")]
    noproxy: Option<String>,
    /// Take these addresses for a host at a port, in place of asking for them; * is any host for which there are none, and
    /// -HOST:PORT takes back what was said before. May be repeated.
    #[arg(long, value_name = "HOST:PORT:ADDRESS[,ADDRESS]", allow_hyphen_values = true)]
    resolve: Vec<Resolve>,
    /// Connect to the second host and port where it would be the first; an empty one of the first two stands for any, of the
    /// last two for the same. What is asked for stays the URL's, and so does the name in the certificate. May be repeated.
    #[arg(long, value_name = "HOST1:PORT1:HOST2:PORT2")]
    connect_to: Vec<ConnectTo>,
    /// Connect to this socket of the system's, in place of TCP and of any proxy.
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", conflicts_with = "proxy")]
    unix_socket: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
}

impl ReachOptions {
    /// The way to one server.
    ///
    /// # Errors
    ///
    /// A proxy that is none, by an option or in the environment.
    pub(crate) fn route(&self, target: &Target) -> Result<Route> {
        let overrides = Overrides::new(&self.resolve, &self.connect_to);
        let goal = overrides.goal(&target.host, target.port);
        if let Some(path) = self.unix_socket() {
            return Ok(Route::by_unix_socket(goal, path));
        }
        let proxy = Proxy::choose(self.proxy.as_deref(), self.noproxy.as_deref(), target)?;
        let tls = match &proxy {
            Some(proxy) if proxy.is_secure() => Some(Box::new(self.tls.of_proxy()?)),
            _ => None,
        };
        Ok(Route::by_tcp(goal, proxy, tls, overrides))
    }

    #[cfg(unix)]
    fn unix_socket(&self) -> Option<PathBuf> {
        self.unix_socket.clone()
    }

    #[cfg(not(unix))]
    fn unix_socket(&self) -> Option<PathBuf> {
        None
    }
}
