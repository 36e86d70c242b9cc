//! Members, each of which counts what it gets, and a publisher on a node of its own: this process.
//!
//! `process` is that of the node to be measured; `members` sockets are opened over `connections` (`http1=1`: one each) to `topics` topics
//! (0: to none) and then, for `seconds`, messages of `octets` go out, `window` of them on their way to all members at a time.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{MAX_CONCURRENT_STREAMS, Result};
use sockeye::{Client, Deflate, Limits, SocketOptions, WebSocket};
use sockeye_hub::Topic;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::ours::SILENT;
use crate::report::{cpu, line, loopback, percentiles, resident};

/// Handshakes under way at once.
const OPENING: usize = 64;
/// Hundredths of a second without a message after which none comes.
const QUIET: u32 = 50;
/// What a message may take at most, to all members.
const PATIENCE: Duration = Duration::from_secs(20);

struct Options<'a> {
    values: HashMap<&'a str, &'a str>,
}

impl<'a> Options<'a> {
    fn parse(arguments: &[&'a str]) -> Result<Self> {
        let pair = |argument: &&'a str| argument.split_once('=').ok_or("KEY=VALUE");
        Ok(Self { values: arguments.iter().map(pair).collect::<std::result::Result<_, &str>>()? })
    }

    fn number(&self, name: &str, default: u64) -> Result<u64> {
        Ok(self.values.get(name).map_or(Ok(default), |value| value.parse())?)
    }
}

/// What all members have got.
#[derive(Default)]
struct Got {
    messages: AtomicU64,
    wanted: AtomicU64,
    all: Notify,
}

impl Got {
    fn count(&self) {
        if self.messages.fetch_add(1, Ordering::Relaxed) + 1 == self.wanted.load(Ordering::Relaxed) {
            self.all.notify_one();
        }
    }

    /// Waits until so many messages came.
    async fn wait(&self, messages: u64) -> Result {
        let all = self.all.notified();
        self.wanted.store(messages, Ordering::Relaxed);
        if self.messages.load(Ordering::Relaxed) < messages {
            timeout(PATIENCE, all)
                .await
                .map_err(|_| format!("{messages} were to come, and {:?} did", self.messages))?;
        }
        Ok(())
    }
}

/// Who publishes: with an axum node the client of NATS, as that node hears it, and with ours a hub; with socket.io a node of its own.
enum Publisher {
    Hub(Topic),
    Client(async_nats::Client),
    Lines(Child),
}

impl Publisher {
    async fn new(nats: &str, by: &str) -> Result<Self> {
        Ok(match by {
            "hub" => Self::Hub(crate::hub(nats, &[]).await?.topic("t0")?),
            "client" => Self::Client(async_nats::connect(nats).await?),
            script => {
                let mut command = Command::new("node");
                Self::Lines(command.args([script, "publish", nats]).stdin(Stdio::piped()).spawn()?)
            }
        })
    }

    async fn publish(&mut self, text: &str) -> Result {
        match self {
            Self::Hub(topic) => topic.send(text).await?,
            Self::Client(client) => client.publish("t0", text.to_owned().into()).await?,
            Self::Lines(process) => {
                let mut input = process.stdin.as_ref().ok_or("its input is piped")?;
                input.write_all(format!("{text}\n").as_bytes())?;
            }
        }
        Ok(())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Self::Lines(process) = self {
            _ = process.kill();
            _ = process.wait();
        }
    }
}

pub async fn run(address: &str, nats: &str, arguments: &[&str]) -> Result {
    let options = Options::parse(arguments)?;
    let process = options.values.get("process").copied().ok_or("process=ID of the node")?;
    let got = Arc::new(Got::default());
    let (before, used) = (resident(process)?, cpu(process)?);
    let members = open(address, &options, &got).await?;
    line("opening_us", (cpu(process)? - used).as_secs_f64() * 1e6 / members as f64);
    let seconds = options.number("seconds", 0)?;
    if seconds == 0 {
        sleep(Duration::from_secs(options.number("settle", 3)?)).await;
        line("resident", (resident(process)? - before) as f64 / members as f64);
        return Ok(());
    }
    let mut publisher = Publisher::new(nats, options.values.get("by").copied().unwrap_or("hub")).await?;
    let text = text(options.number("octets", 32)? as usize);
    let window = options.number("window", 1)?;
    // Whatever a join or a first message takes is over by then: each member has got one.
    first(&mut publisher, &text, &got, members).await?;
    let (used, wire, began) = (cpu(process)?, loopback()?, Instant::now());
    let (mut times, mut sent) = (Vec::new(), 0);
    let already = got.messages.load(Ordering::Relaxed);
    while began.elapsed() < Duration::from_secs(seconds) {
        let moment = Instant::now();
        for _ in 0..window {
            publisher.publish(&text).await?;
        }
        sent += window;
        got.wait(already + sent * members).await?;
        times.push(moment.elapsed());
    }
    let delivered = (sent * members) as f64;
    let time = began.elapsed();
    line("cpu_us", (cpu(process)? - used).as_secs_f64() * 1e6 / delivered);
    line("wire_octets", (loopback()? - wire) as f64 / delivered);
    line("per_second", delivered / time.as_secs_f64());
    percentiles(times);
    Ok(())
}

/// Messages until all members hear them.
async fn first(publisher: &mut Publisher, text: &str, got: &Got, members: u64) -> Result {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = got.messages.load(Ordering::Relaxed);
        publisher.publish(text).await?;
        // A node of axum's subscribes when it does, and nobody is told.
        let (mut came, mut quiet) = (before, 0);
        while came - before < members && quiet < QUIET || quiet < 10 {
            sleep(Duration::from_millis(10)).await;
            let now = got.messages.load(Ordering::Relaxed);
            quiet = if now == came { quiet + 1 } else { 0 };
            came = now;
        }
        if came - before == members {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("of {members} members {} hear", came - before).into());
        }
    }
}

/// Something like what people send: it gets smaller, and not to nothing.
fn text(octets: usize) -> String {
    let mut text = String::new();
    for number in 0_u64.. {
        let noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        text += &format!(
            "{{\"id\":{number},\"symbol\":\"S{}\",\"bid\":{noise},\"ask\":{}}},",
            noise % 97,
            noise + number % 7
        );
        if text.len() >= octets {
            break;
        }
    }
    text.truncate(octets);
    text
}

/// Opens all; how many.
async fn open(address: &str, options: &Options<'_>, got: &Arc<Got>) -> Result<u64> {
    let (members, topics) = (options.number("members", 1)?, options.number("topics", 1)?);
    let connections = options.number("connections", 1)?;
    let is_http1 = options.number("http1", 0)? == 1;
    let deflate = options.number("deflate", 0)? == 1;
    let is_socketio = options.number("socketio", 0)? == 1;
    let url = format!("http://{address}");
    let mut opening = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..if is_http1 { 1 } else { connections } {
        let settings = Client::builder().limits(limits()).options(match deflate {
            true => SocketOptions::new().deflate(Deflate::new()),
            false => SocketOptions::new(),
        });
        clients.push(match is_http1 {
            true => settings.http1_only().lazy(&url)?,
            false => settings.http2_only().max_connections(1).connect(&url).await?,
        });
    }
    for number in 0..members {
        let path = match topics {
            _ if is_socketio => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            0 => format!("/{SILENT}{number}"),
            _ => format!("/t{}", number % topics),
        };
        let client = clients[number as usize % clients.len()].clone();
        let got = got.clone();
        while opening.len() >= OPENING {
            opening.join_next().await.ok_or("some are opening")???;
        }
        opening.spawn(async move {
            let open = client.open(&path);
            let opened = match is_socketio {
                true => open.run(move |socket| listen_to_socketio(socket, got, client)).await,
                false => open.run(move |socket| listen(socket, got, client)).await,
            };
            opened.map_err(|error| error.to_string())
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    Ok(members)
}

fn limits() -> Limits {
    Limits::new().max_concurrent_streams(MAX_CONCURRENT_STREAMS)
}

/// The client is held, or its connection would end.
async fn listen(mut socket: WebSocket, got: Arc<Got>, _client: Client) -> sockeye::Result {
    while socket.recv().await?.is_some() {
        got.count();
    }
    Ok(())
}

/// The same in the protocols of Engine.IO 4 and Socket.IO 5: who is opened connects, and answers pings.
async fn listen_to_socketio(mut socket: WebSocket, got: Arc<Got>, _client: Client) -> sockeye::Result {
    while let Some(message) = socket.recv().await? {
        match message.as_bytes() {
            [b'0', ..] => socket.send("40").await?,
            [b'2'] => socket.send("3").await?,
            [b'4', b'2', ..] => got.count(),
            _ => {}
        }
    }
    Ok(())
}
