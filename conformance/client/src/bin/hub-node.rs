//! A node of a service whose topics span machines: what the suites `hub` and `hub-redis` start several of, before servers of NATS or
//! Redis.
//!
//! `hub-node BACKPLANE SERVER,SERVER,…` prints where it listens. A socket joins the topic of its path and is told "joined"; what it says
//! goes to the other members, and what it missed it is told by "missed N". `/-/counters` is the hub's counters, one line each.

use redis::cluster::ClusterClient;
use sockeye::{BoxError, Result, Server, WebSocket, websocket};
use sockeye_hub::{Hub, HubCounter, Interest, Nats, Redis};
use tokio::net::TcpListener;

const USAGE: &str = "hub-node topics|shards|redis|redis-sharded|redis-cluster SERVER,SERVER,…";

async fn member(mut socket: WebSocket, hub: Hub) -> Result {
    let path = socket.request().uri.path()[1..].to_owned();
    if path == "-/counters" {
        let all = HubCounter::ALL.iter().map(|&counter| format!("{} {}\n", counter.name(), hub.counter(counter)));
        return socket.send(all.collect::<String>()).await;
    }
    let topic = hub.topic(&path)?;
    let member = topic.join(&socket).await?;
    member.send("joined").await;
    loop {
        tokio::select! {
            message = socket.recv() => match message? {
                Some(message) => topic.send_except(&member, message).await?,
                None => return Ok(()),
            },
            // Not by the topic, where it might have to make room itself.
            missed = member.lagged() => socket.send(format!("missed {missed}")).await?,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(backplane), Some(servers)) = (arguments.next(), arguments.next()) else {
        return Err(USAGE.into());
    };
    let hub = match backplane.as_str() {
        "topics" => nats(&servers, Interest::Topics).await?,
        "shards" => nats(&servers, Interest::Shards).await?,
        "redis" => Hub::redis(redis::Client::open(servers)?),
        "redis-sharded" => Hub::with(Redis::new(redis::Client::open(servers)?).sharded()),
        "redis-cluster" => Hub::with(Redis::cluster(ClusterClient::builder(servers.split(',')))?.prefix("conformance")),
        _ => return Err(USAGE.into()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}", listener.local_addr()?);
    Server::new().serve(listener, websocket(move |socket| member(socket, hub.clone()))).await?;
    Ok(())
}

async fn nats(servers: &str, interest: Interest) -> Result<Hub, BoxError> {
    let servers: Vec<async_nats::ServerAddr> = servers.split(',').map(str::parse).collect::<Result<_, _>>()?;
    // In the order in which they are named, so that the suite knows which one it ends.
    let client =
        async_nats::ConnectOptions::new().retain_servers_order().ignore_discovered_servers().connect(servers).await?;
    Ok(Hub::with(Nats::new(client).prefix("conformance").interest(interest)))
}
