//! The status page, and what is counted, on a listener of their own.

use std::future::ready;
use std::time::Duration;

use anyhow::Result;
use sockeye::Server;
use sockeye::server::Listener;
use sockeye_gateway::status::Page;

use crate::out;
use crate::served::Served;

/// Connections to this listener at once: a few who scrape, and some people who look.
const MAX_CONNECTIONS: usize = 32;

/// Serves them for as long as the program runs: also while the gateway drains.
pub(super) fn serve(listener: Listener, page: Page) -> Result<()> {
    match &listener {
        Listener::Tcp(tcp) => {
            let address = tcp.local_addr()?;
            out::print(&format!("metrics at http://{address}/metrics"))?;
            out::print(&format!("status at http://{address}/"))?;
        }
        other => out::print(&format!("metrics at /metrics, and status at /, of {other}"))?,
    }
    let time = Duration::from_secs(10);
    let server = Server::new().max_connections(MAX_CONNECTIONS).keep_alive(time, time);
    let service = Served::own(move |request| ready(page.answer(&request)));
    tokio::spawn(server.serve(listener, service));
    Ok(())
}
