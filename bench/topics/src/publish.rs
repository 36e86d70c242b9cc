//! Publishers alone: what they take, and how long a message takes by the client of NATS.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::Result;
use futures_util::StreamExt as _;
use sockeye_hub::Hub;
use tokio::time::sleep;

use crate::report::{cpu, line, percentiles};

/// Messages that are sent before those that wait go out.
const BATCH: u64 = 64;
const PAYLOAD: &str = "a message of thirty-two octets..";

/// A hub's `send` to a topic that nobody listens to, with all that its process does for it.
pub async fn nobody(hub: Hub, messages: u64) -> Result {
    let topic = hub.topic("nobody")?;
    // The connection, and the first position that is told.
    topic.send(PAYLOAD).await?;
    sleep(Duration::from_secs(2)).await;
    let before = cpu("self")?;
    for number in 0..messages {
        topic.send(PAYLOAD).await?;
        if number % BATCH == 0 {
            while hub.queued().0 > 0 {
                tokio::task::yield_now().await;
            }
        }
    }
    while hub.queued().0 > 0 {
        tokio::task::yield_now().await;
    }
    line("us_per_message", (cpu("self")? - before).as_secs_f64() * 1e6 / messages as f64);
    Ok(())
}

/// The same by the client of NATS alone.
pub async fn nobody_raw(nats: String, messages: u64) -> Result {
    let client = async_nats::connect(nats).await?;
    client.publish("nobody", PAYLOAD.into()).await?;
    sleep(Duration::from_secs(1)).await;
    let before = cpu("self")?;
    for _ in 0..messages {
        client.publish("nobody", PAYLOAD.into()).await?;
    }
    client.flush().await?;
    line("us_per_message", (cpu("self")? - before).as_secs_f64() * 1e6 / messages as f64);
    Ok(())
}

/// One message at a time from one connection to another.
pub async fn ping(nats: &str, seconds: f64) -> Result {
    let (publisher, listener) = (async_nats::connect(nats).await?, async_nats::connect(nats).await?);
    let mut subscriber = listener.subscribe("ping").await?;
    listener.flush().await?;
    sleep(Duration::from_millis(100)).await;
    let (mut times, began) = (Vec::new(), Instant::now());
    while began.elapsed().as_secs_f64() < seconds {
        let sent = Instant::now();
        publisher.publish("ping", Bytes::from_static(PAYLOAD.as_bytes())).await?;
        subscriber.next().await.ok_or("NATS is gone")?;
        times.push(sent.elapsed());
    }
    percentiles(times);
    Ok(())
}
