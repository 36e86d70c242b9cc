//! Topics of `sockeye serve --hub`: `/topics/NAME` for sockets and for who asks, `/topics` for people.

mod presence;
mod talk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_nats::jetstream::stream;
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use http::{Request, Response, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use sockeye::{Body, SocketOptions, websocket};
use sockeye_hub::{Error, History, Hub, Nats, Start};
use tower_service::Service as _;

use self::presence::Rooms;
use crate::usage::Usage;

#[derive(clap::Args)]
pub(crate) struct HubOptions {
    /// Serve topics: what a WebSocket says at /topics/NAME all others hear that are there. They may be of this process (local), or of
    /// all that have the same NATS servers, of which several have commas between; tls:// is NATS over TLS. By default there are none.
    #[arg(long, value_name = "local|nats://HOST:PORT", value_parser = Place::parse)]
    hub: Option<Place>,
    /// A file with what this server says at NATS to be let in, in one line: USER:PASSWORD, or a token without a colon.
    #[arg(long, value_name = "FILE", requires = "hub")]
    hub_credentials: Option<PathBuf>,
    /// What the subjects of the topics begin with at NATS; servers that are to share topics have the same.
    #[arg(long, value_name = "SUBJECT", default_value = "sockeye", requires = "hub", value_parser = parse_prefix)]
    hub_prefix: String,
    /// Of each topic, so many of the last messages are kept, as far as they have 256 KiB, for sockets that come back and say what they
    /// have seen; 0 keeps none.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "hub")]
    history: u32,
    /// Seconds for which a message is kept, and a topic that nobody is at.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, requires = "hub", value_parser = clap::value_parser!(u32).range(1..))]
    history_time: u32,
    /// Keep the messages at NATS as well (JetStream), so that a server that starts knows what was said before. The stream is made where
    /// it is not there, by the name of the prefix and -topics.
    #[arg(long, requires = "hub")]
    jetstream: bool,
}

/// What carries messages between the sockets of a topic.
#[derive(Clone, Debug)]
enum Place {
    Local,
    Nats(Vec<ServerAddr>),
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let server = |url: &str| {
            let known = url.starts_with("nats://") || url.starts_with("tls://");
            known.then(|| url.parse::<ServerAddr>().ok()).flatten().filter(|server| !server.host().is_empty())
        };
        let servers: Option<Vec<_>> = text.split(',').map(server).collect();
        servers.map(Self::Nats).ok_or_else(|| {
            "it is local, or servers of NATS such as nats://127.0.0.1:4222,nats://10.0.0.2:4222 (tls:// for TLS)"
                .to_owned()
        })
    }
}

fn parse_prefix(prefix: &str) -> Result<String, String> {
    let is_token = |token: &str| {
        !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    match prefix.len() <= 100 && prefix.split('.').all(is_token) {
        true => Ok(prefix.to_owned()),
        false => Err("it has letters, digits, - and _, in parts with dots between, 100 octets at most".to_owned()),
    }
}

impl HubOptions {
    /// The hub, if there is to be one. Over NATS it goes on to look for a server where none is there.
    ///
    /// # Errors
    ///
    /// There are no credentials in their file, or options do not go together.
    pub(crate) async fn hub(&self) -> Result<Option<Hub>> {
        let Some(place) = &self.hub else { return Ok(None) };
        let age = Duration::from_secs(self.history_time.into());
        let mut hub = Hub::builder();
        if self.history > 0 {
            hub = hub.history(History::new(self.history as usize).age(age));
        }
        match place {
            Place::Local if self.jetstream => {
                bail!(Usage::new("--jetstream is of NATS: --hub nats://HOST:PORT".to_owned()))
            }
            Place::Local => Ok(Some(hub.local())),
            Place::Nats(servers) => {
                let client = self.client(servers).await?;
                let mut nats = Nats::new(client).prefix(&self.hub_prefix);
                if self.jetstream && self.history > 0 {
                    nats = nats.jetstream(stream::Config {
                        name: format!("{}-topics", self.hub_prefix.replace('.', "_")),
                        max_messages_per_subject: self.history.into(),
                        max_age: age,
                        max_bytes: MAX_STREAM,
                        ..stream::Config::default()
                    });
                }
                Ok(Some(hub.with(nats)))
            }
        }
    }

    async fn client(&self, servers: &[ServerAddr]) -> Result<Client> {
        let mut options =
            ConnectOptions::new().name("sockeye serve").retry_on_initial_connect().event_callback(|event| async move {
                match event {
                    Event::Connected => tracing::info!("NATS: {event}"),
                    _ => tracing::warn!("NATS: {event}"),
                }
            });
        if let Some(file) = &self.hub_credentials {
            let wrong = |why: String| Usage::new(format!("no credentials in {}: {why}", file.display()));
            let text = tokio::fs::read_to_string(file).await.map_err(|error| wrong(error.to_string()))?;
            options = match text.trim() {
                "" => bail!(wrong("it is empty, in the place of USER:PASSWORD or a token".to_owned())),
                said => match said.split_once(':') {
                    Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
                    None => options.token(said.to_owned()),
                },
            };
        }
        options.connect(servers).await.context("no client of NATS")
    }
}

/// Octets that the stream at NATS may have, past which the oldest messages go.
const MAX_STREAM: i64 = 1 << 30;

/// The subprotocol of sockets that are told each message's number, and more; topics.js is the client's side. All else is as plain
/// messages are.
const PROTOCOL: &str = "sockeye-topic.1";

/// The chat.
pub(crate) const PAGE: &str = concat!(include_str!("../head.html"), include_str!("page.html"));
/// The client for pages.
pub(crate) const CLIENT: &str = include_str!("topics.js");

/// All topics. Clones are the same.
#[derive(Clone)]
pub(crate) struct Topics {
    rooms: Rooms,
    options: SocketOptions,
}

/// What everybody may know of a topic.
#[derive(Serialize)]
struct Told<'a> {
    topic: &'a str,
    /// Sockets on all servers that answered.
    members: usize,
}

impl Topics {
    pub(crate) fn new(hub: Hub, options: SocketOptions) -> Self {
        Self { rooms: Rooms::new(hub), options: options.protocols([PROTOCOL]) }
    }

    /// The name of a topic in a request's path.
    pub(crate) fn name(uri: &Uri) -> Option<String> {
        let escaped = uri.path().strip_prefix("/topics/")?;
        // What is no UTF-8 is no name: its replacement would be one for many.
        Some(percent_decode_str(escaped).decode_utf8().map(Into::into).unwrap_or_default())
    }

    /// A socket for a topic: one that follows it, where it says so by its subprotocol.
    ///
    /// # Errors
    ///
    /// No topic is called so, or this is not what was seen of one.
    pub(crate) async fn open(self, name: &str, request: Request<Body>) -> Result<Response<Body>, Error> {
        let room = self.rooms.enter(name)?;
        let start = start(request.uri().query().unwrap_or_default())?;
        let handler = move |socket| talk::talk(socket, room.clone(), start.clone());
        let Ok(response) = websocket(handler).options(self.options).call(request).await;
        Ok(response)
    }

    /// How many sockets a topic has on all servers, in JSON.
    ///
    /// # Errors
    ///
    /// No topic is called so.
    pub(crate) async fn tell(&self, name: &str) -> Result<String, Error> {
        let room = self.rooms.enter(name)?;
        let members = room.known().await;
        Ok(serde_json::to_string(&Told { topic: name, members }).unwrap_or_default() + "\n")
    }
}

/// Where a socket begins, by the query of its URL: `seen=SEEN` before `last=N`.
fn start(query: &str) -> Result<Start, Error> {
    let field = |name: &str| query.split('&').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    if let Some(seen) = field("seen") {
        let seen = percent_decode_str(seen).decode_utf8().map_err(|_| Error::InvalidSeen)?;
        return Ok(Start::After(seen.parse()?));
    }
    Ok(field("last").and_then(|count| count.parse().ok()).map_or(Start::Now, Start::Last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_local_or_servers() {
        assert!(matches!(Place::parse("local"), Ok(Place::Local)));
        for (text, count) in [("nats://127.0.0.1:4222", 1), ("nats://a:1,tls://b", 2), ("nats://[::1]:4222", 1)] {
            assert!(matches!(Place::parse(text), Ok(Place::Nats(servers)) if servers.len() == count), "{text}");
        }
        for text in ["", "127.0.0.1:4222", "http://a", "nats://", "nats://a,", "nats://a b", "redis://a"] {
            assert!(Place::parse(text).unwrap_err().contains("nats://127.0.0.1:4222"), "{text}");
        }
    }

    #[test]
    fn a_prefix_is_a_subject_without_wildcards() {
        assert!(parse_prefix("shop.eu-1").is_ok());
        for text in ["", ".", "a.", "a..b", "*", "a.>", "a b", "$JS.API", &"x".repeat(101)] {
            assert!(parse_prefix(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_says_where_to_begin() {
        assert!(matches!(start(""), Ok(Start::Now)));
        assert!(matches!(start("last=x&a"), Ok(Start::Now)));
        assert!(matches!(start("a=1&last=5"), Ok(Start::Last(5))));
        assert!(
            matches!(start("last=5&seen=a.0%3A1%2Cb.0:2"), Ok(Start::After(seen)) if seen.to_string() == "a.0:1,b.0:2")
        );
        assert!(matches!(start("seen="), Ok(Start::After(seen)) if seen.is_empty()));
        for wrong in ["seen=x", "seen=%FF", "seen=a.0:-1", "seen=a.0:18446744073709551616"] {
            assert!(matches!(start(wrong), Err(Error::InvalidSeen)), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_what_the_path_says() {
        let name = |path: &str| Topics::name(&path.parse().unwrap());
        assert_eq!(name("/topics/a%20b/c?x").as_deref(), Some("a b/c"));
        assert_eq!(name("/topics/%FF").as_deref(), Some(""));
        assert_eq!(name("/topics"), None);
    }
}
