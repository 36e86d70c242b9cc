//! `restart-load URL …`: WebSockets that outlive the servers they talk to, for `conformance/restart`.
//!
//! Clients have many sockets each, on few connections; pages have one each, on a connection of HTTP/1.1 of its own. Every socket
//! sends numbered messages and checks their echoes. When its server tells it to go (Close 1001) it is opened again at once, and
//! goes on with the first message that was not answered. At the end of standard input all of them come to an end, and a line of
//! JSON says what became of every handshake and every message.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sockeye::{Client, ClientBuilder, CloseCode, SocketOptions, WebSocket};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Messages that a socket sends before it awaits their echoes.
const DEPTH: u64 = 3;
/// A handshake or an echo that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time to the next attempt after one that failed.
const AGAIN: Duration = Duration::from_millis(50);
/// Failures that are told in words.
const MAX_TOLD: usize = 5;

#[derive(Parser)]
struct Arguments {
    /// The origin.
    url: String,
    /// Clients, with so many sockets each.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    #[arg(long, default_value_t = 100)]
    sockets: usize,
    /// Pages, with one socket each.
    #[arg(long, default_value_t = 50)]
    pages: usize,
    /// Milliseconds between two turns of a socket.
    #[arg(long, default_value_t = 100)]
    pause: u64,
    /// The one certificate to trust, in PEM.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

impl Arguments {
    fn builder(&self) -> Result<ClientBuilder> {
        // To open all at first may take a while.
        let builder =
            Client::builder().connect_timeout(PATIENCE).options(SocketOptions::new().answer_timeout(PATIENCE));
        let Some(path) = &self.certificate else { return Ok(builder) };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(path)?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(builder.tls(config.with_root_certificates(roots).with_no_client_auth()))
    }
}

/// What became of all handshakes and messages.
#[derive(Default)]
struct Account {
    is_ending: AtomicBool,
    open: AtomicU64,
    opened: AtomicU64,
    refused: AtomicU64,
    /// Sockets that were told to go, and those that ended without a word.
    told: AtomicU64,
    broken: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    /// Unanswered when their socket was told, and sent again on the next.
    again: AtomicU64,
    /// Unanswered when their socket broke off.
    lost: AtomicU64,
    /// Echoes of something else.
    wrong: AtomicU64,
    slowest_opening: AtomicU64,
    words: Mutex<Vec<String>>,
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

impl Account {
    fn tell(&self, what: &str, why: &dyn std::fmt::Debug) {
        let mut words = self.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if words.len() < MAX_TOLD {
            words.push(format!("{what}: {why:?}").replace(['"', '\\'], "'"));
        }
    }

    fn report(&self) -> String {
        let counters = [
            ("opened", &self.opened),
            ("refused", &self.refused),
            ("told", &self.told),
            ("broken", &self.broken),
            ("sent", &self.sent),
            ("answered", &self.answered),
            ("again", &self.again),
            ("lost", &self.lost),
            ("wrong", &self.wrong),
            ("slowest_opening_ms", &self.slowest_opening),
        ];
        let counters = counters.map(|(name, counter)| format!("\"{name}\": {}", counter.load(Ordering::Relaxed)));
        let words = self.words.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        format!("{{{}, \"words\": [{}]}}", counters.join(", "), words.join(", "))
    }
}

/// Where a socket is opened.
#[derive(Clone)]
enum Place {
    /// On a connection that it shares.
    Client(Client),
    /// On one of its own.
    Page(ClientBuilder, Arc<str>),
}

impl Place {
    async fn open(&self) -> Result<WebSocket> {
        let opening = async {
            match self {
                Self::Client(client) => client.open("/echo").await,
                Self::Page(builder, url) => builder.open(url).await,
            }
        };
        Ok(timeout(PATIENCE, opening).await??)
    }
}

/// How a conversation ended.
enum End {
    Told,
    Broken,
    /// It was to end.
    Over,
}

/// One socket after another: the life of a subscriber.
async fn live(place: Place, number: usize, pause: Duration, account: Arc<Account>) {
    // The next message to be answered.
    let mut next = 0;
    while !account.is_ending.load(Ordering::Relaxed) {
        let start = Instant::now();
        let mut socket = match place.open().await {
            Ok(socket) => socket,
            Err(error) => {
                add(&account.refused, 1);
                account.tell("a handshake failed", &error);
                sleep(AGAIN).await;
                continue;
            }
        };
        add(&account.opened, 1);
        add(&account.open, 1);
        account.slowest_opening.fetch_max(start.elapsed().as_millis() as u64, Ordering::Relaxed);
        let (mut sent, before) = (next, next);
        let end = converse(&mut socket, number, pause, &account, (&mut sent, &mut next)).await;
        account.open.fetch_sub(1, Ordering::Relaxed);
        add(&account.sent, sent - before);
        add(&account.answered, next - before);
        match end {
            End::Told => {
                add(&account.told, 1);
                add(&account.again, sent - next);
            }
            End::Broken => {
                add(&account.broken, 1);
                add(&account.lost, sent - next);
            }
            End::Over => return drop(socket.close().await),
        }
    }
}

async fn converse(
    socket: &mut WebSocket,
    number: usize,
    pause: Duration,
    account: &Account,
    (sent, next): (&mut u64, &mut u64),
) -> End {
    loop {
        let mut is_open = true;
        for _ in 0..DEPTH {
            is_open = socket.send(message(number, *sent)).await.is_ok();
            if !is_open {
                break;
            }
            *sent += 1;
        }
        // Why a message did not go is what is received, also where no echo is awaited.
        while *next < *sent || !is_open {
            match timeout(PATIENCE, socket.recv()).await {
                Ok(Ok(Some(echo))) => {
                    if echo.as_bytes() != message(number, *next).as_bytes() {
                        add(&account.wrong, 1);
                    }
                    *next += 1;
                }
                Ok(Ok(None)) => {
                    let code = socket.close_frame().map(|frame| frame.code);
                    if code == Some(CloseCode::GOING_AWAY) {
                        return End::Told;
                    }
                    account.tell("a socket was closed", &code);
                    return End::Broken;
                }
                Ok(Err(error)) => {
                    account.tell("a socket broke off", &error);
                    return End::Broken;
                }
                Err(_) => {
                    account.tell("no echo", &*next);
                    return End::Broken;
                }
            }
        }
        if account.is_ending.load(Ordering::Relaxed) {
            return End::Over;
        }
        sleep(pause).await;
    }
}

fn message(number: usize, turn: u64) -> String {
    format!("message {turn} of socket {number}")
}

#[tokio::main]
async fn main() -> Result {
    let arguments = Arguments::parse();
    let (account, pause) = (Arc::new(Account::default()), Duration::from_millis(arguments.pause));
    let builder = arguments.builder()?;
    let mut lives = JoinSet::new();
    for client in 0..arguments.clients {
        let client_of = builder.clone().http2_only().connect(&arguments.url).await?;
        for socket in 0..arguments.sockets {
            let place = Place::Client(client_of.clone());
            lives.spawn(live(place, client * arguments.sockets + socket, pause, account.clone()));
        }
    }
    let url: Arc<str> = format!("{}/echo", arguments.url).into();
    let page = Place::Page(builder.http1_only(), url);
    for number in 0..arguments.pages {
        lives.spawn(live(page.clone(), arguments.clients * arguments.sockets + number, pause, account.clone()));
    }
    let all = lives.len() as u64;
    while account.open.load(Ordering::Relaxed) < all {
        sleep(AGAIN).await;
    }
    println!("open");
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    account.is_ending.store(true, Ordering::Relaxed);
    while lives.join_next().await.is_some() {}
    println!("{}", account.report());
    Ok(())
}
