//! `sockeye gateway`.

mod arguments;
mod certificates;
mod logs;
mod reload;
mod status;

use std::time::Duration;

use anyhow::Result;
use sockeye::server::Listener;
use sockeye::{Limits, Server};
use sockeye_gateway::config::Time;
use sockeye_gateway::status::Page;
use sockeye_gateway::{Gateway, Live};

pub(crate) use self::arguments::Arguments;
use self::arguments::Settings;
use self::certificates::Certificates;
use self::reload::{Hangups, Reload};
use crate::admission;
use crate::ending;
use crate::listeners::{self, Listeners};
use crate::metrics;
use crate::out;
use crate::served::Served;
use crate::systemd;

/// Octets of header lists that a connection may have held: of 300 requests of browsers at once.
const KEPT_HEADS: usize = 1 << 20;
/// Streams of a connection: the sockets of a page that opens hundreds, and its requests beside them.
const MAX_STREAMS: u32 = 1024;
/// Time of silence after which a client is asked whether it is there: by a PING, and by TCP.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const TCP_KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Time to the answer of a PING, after which a connection's peer is given up.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Time for the last lines of the access log: whatever takes them may stand still.
const LAST_LINES: Duration = Duration::from_secs(2);

pub(crate) async fn run(arguments: Arguments) -> Result<()> {
    let settings = arguments.settings()?;
    let live = Live::new(&settings.config).map_err(crate::usage::Usage::of)?;
    live.log_to(logs::open(&settings)?);
    let certificates = Certificates::load(&settings.identity)?;
    let Listeners { all: listeners, shared_ports } = listeners::open(&settings.listen, settings.reuse_port).await?;
    let status = metrics::listen(settings.metrics.as_ref()).await?;
    admission::raise_open_files();
    let mut server = settings.admission.clone().apply(Server::new().limits(limits(&settings)));
    if let Some(certificates) = &certificates {
        server = server.tls(certificates.config());
    }
    let handle = server.handle();
    let scheme = if certificates.is_some() { "https" } else { "http" };
    ending::on_signal(handle.clone(), settings.drain, shared_ports)?;
    let hangups = Hangups::catch()?;
    listeners::announce(&listeners, scheme)?;
    let page = Page::new(live.clone()).server(handle).show_clients(settings.status_clients);
    for listener in status {
        status::serve(listener, page.clone())?;
    }
    introduce(&live, scheme, &settings, &listeners)?;
    Reload { arguments, begun_with: settings, live: live.clone(), certificates }.on(hangups);
    systemd::ready();

    server.serve(listeners, Served::Gateway(Gateway::new(live.clone()))).await?;
    live.flush_log(LAST_LINES);
    Ok(())
}

fn limits(settings: &Settings) -> Limits {
    let told = &settings.limits;
    let mut limits = Limits::new()
        .max_concurrent_streams(told.max_streams.unwrap_or(MAX_STREAMS))
        .kept_heads(KEPT_HEADS)
        .tcp_keep_alive(told.tcp_keep_alive.map_or(TCP_KEEP_ALIVE, Time::duration));
    let keep_alive = told.keep_alive.map_or(KEEP_ALIVE, Time::duration);
    if !keep_alive.is_zero() {
        limits = limits.keep_alive(keep_alive, KEEP_ALIVE_TIMEOUT);
    }
    if let Some(time) = told.idle_timeout {
        limits = limits.idle_timeout(time.duration());
    }
    if let Some(time) = told.progress_timeout {
        limits = limits.progress_timeout(time.duration());
    }
    if let Some(time) = told.receive_timeout {
        limits = limits.receive_timeout(time.duration());
    }
    limits
}

/// Says what goes where, for who has only just begun.
fn introduce(live: &Live, scheme: &str, settings: &Settings, listeners: &[Listener]) -> Result<()> {
    for route in live.routes() {
        let upstreams: Vec<_> =
            route.upstreams().iter().map(|upstream| upstream.reach().target().to_string()).collect();
        out::print(&format!("{} goes to {}", route.name(), upstreams.join(", ")))?;
    }
    if let Some(address) = listeners::first_address(listeners)?
        && settings.identity.is_made()
    {
        let port = address.port();
        out::print(&format!("open {scheme}://localhost:{port}/ in a browser"))?;
    }
    Ok(())
}
