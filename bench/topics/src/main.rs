//! Topics over NATS, for `bench/hub`: a node of ours, one of axum's as its users write it, their load, and publishers.
//!
//!     topics ours|each|axum ADDRESS NATS [--deflate] [--shards]    a node: members of `/NAME` hear the topic, but those of `/xNUMBER`
//!     topics load ADDRESS NATS KEY=VALUE…                          members elsewhere, who publishes to them, and what it took
//!     topics ping NATS SECONDS                                     NATS by its client alone: from publish to subscription
//!     topics nobody ours|client NATS MESSAGES                      what a message costs its publisher that nobody listens to

mod axum_node;
mod each;
mod load;
mod ours;
mod publish;
mod report;

use common::Result;
use sockeye_hub::{Hub, Interest, Nats};
use tokio::runtime::Builder;

/// As in `sockeye serve`: see the echo of the bench.
const SHARED_QUEUE_INTERVAL: u32 = 4;

fn main() -> Result {
    let runtime = Builder::new_multi_thread().enable_all().global_queue_interval(SHARED_QUEUE_INTERVAL).build()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime.block_on(async {
        match &words[..] {
            ["ours", address, nats, flags @ ..] => ours::serve(address, hub(nats, flags).await?, flags).await,
            ["each", address, nats, flags @ ..] => each::serve(address, nats, flags).await,
            ["axum", address, nats] => axum_node::serve(address, nats).await,
            ["load", address, nats, rest @ ..] => load::run(address, nats, rest).await,
            ["ping", nats, seconds] => publish::ping(nats, seconds.parse()?).await,
            // On a worker, as any handler is.
            ["nobody", "ours", nats, messages] => {
                tokio::spawn(publish::nobody(hub(nats, &[]).await?, messages.parse()?)).await?
            }
            ["nobody", "client", nats, messages] => {
                tokio::spawn(publish::nobody_raw((*nats).to_owned(), messages.parse()?)).await?
            }
            _ => Err("see the head of bench/topics/src/main.rs".into()),
        }
    })
}

/// A hub of its own over NATS.
async fn hub(nats: &str, flags: &[&str]) -> Result<Hub> {
    let interest = if flags.contains(&"--shards") { Interest::Shards } else { Interest::Topics };
    Ok(Hub::with(Nats::new(async_nats::connect(nats).await?).interest(interest)))
}
