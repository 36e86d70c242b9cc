//! What opens a socket, the first time and again; the sockets of an origin share one client.

use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use sockeye::{Client, ClientBuilder, Deflate, Error, WebSocket};
use tokio::sync::OnceCell;

use super::Arguments;
use crate::handshake::MAX_MESSAGE_SIZE;
use crate::reach::Route;
use sockeye_proto::uri::Target;

/// Opens the socket of one URL. Clones share its client.
#[derive(Clone)]
pub(super) struct Opener {
    client: Arc<OnceCell<Client>>,
    builder: ClientBuilder,
    url: String,
    protocols: Vec<String>,
    max_message_size: usize,
    deflate: Option<Deflate>,
    /// By the URL's user information.
    authorization: Option<String>,
    /// What stands before the server, if anything does.
    pub(super) via: Option<String>,
}

impl Opener {
    /// One for each URL, in order.
    ///
    /// # Errors
    ///
    /// An option of the way to a server is wrong.
    pub(super) fn for_all(arguments: &Arguments, builder: &ClientBuilder) -> anyhow::Result<Vec<Self>> {
        let options = &arguments.handshake;
        let has_authorization = options.headers().contains_key(AUTHORIZATION);
        let mut openers: Vec<(&Target, Self)> = Vec::new();
        for target in &arguments.urls {
            let known = openers.iter().find(|(other, _)| origin(other) == origin(target));
            let route = arguments.reach.route(target)?;
            let (client, builder) = match known {
                Some((_, opener)) => (opener.client.clone(), opener.builder.clone()),
                None => (Arc::default(), by_route(&route, arguments.timeout, builder, target)),
            };
            let authorization = target.authorization.clone().filter(|_| !has_authorization);
            let opener = Self {
                client,
                builder,
                url: target.uri.to_string(),
                protocols: options.protocols.clone(),
                max_message_size: options.max_message_size.unwrap_or(MAX_MESSAGE_SIZE),
                deflate: (!arguments.no_deflate).then(Deflate::default),
                authorization: authorization.and_then(|value| value.to_str().map(str::to_owned).ok()),
                via: route.via(),
            };
            openers.push((target, opener));
        }
        Ok(openers.into_iter().map(|(_, opener)| opener).collect())
    }

    /// Opens the socket. Dropping the future gives it up.
    pub(super) async fn open(&self) -> Result<WebSocket, Error> {
        let client = self.client.get_or_try_init(|| self.builder.connect(&self.url)).await?;
        let mut open = client.open(&self.url).protocols(self.protocols.clone()).max_message_size(self.max_message_size);
        if let Some(deflate) = self.deflate {
            open = open.deflate(deflate);
        }
        if let Some(value) = &self.authorization {
            open = open.header(AUTHORIZATION.as_str(), value);
        }
        open.await
    }

    /// Why sockets of this origin that were to go over HTTP/2 went over HTTP/1.1.
    pub(super) fn fell_back(&self) -> Option<Arc<Error>> {
        self.client.get()?.fell_back()
    }
}

/// What shares a client: scheme, host and port (RFC 6454 §4).
fn origin(target: &Target) -> (bool, &str, u16) {
    (target.is_secure, &target.host, target.port)
}

/// The library's own way to a server, where that is the one asked for.
fn by_route(route: &Route, time: Duration, builder: &ClientBuilder, target: &Target) -> ClientBuilder {
    if route.is_usual(&target.host, target.port) {
        return builder.clone();
    }
    let route = route.clone();
    builder.clone().connector(move |_| {
        let route = route.clone();
        async move { route.dial(time).await }
    })
}
