use std::borrow::Cow;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use http::header::{ORIGIN, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, Request, Response};
use sockeye_proto::ws::handshake::{Accepted, ClientHandshake, ResponseError};
use sockeye_proto::ws::{self, Role};

use super::origin::{Target, parse_path};
use super::settings::field;
use super::{Client, ClientBuilder};
use crate::engine::stream::StreamHandle;
use crate::error::{Error, Result};
use crate::socket::handler::{Handler, run_in_place};
use crate::socket::options::{Agreement, Key};
use crate::socket::{SocketOptions, WebSocket};

/// A WebSocket that is to be opened: await it, or say more about it first. From [`Client::open`] and
/// [`connect`](super::connect).
///
/// Dropping its future before it is ready gives the socket up.
#[must_use = "nothing is opened until it is awaited"]
#[derive(Clone)]
pub struct Open {
    place: Place,
    url: String,
    options: SocketOptions,
    headers: HeaderMap,
    invalid: Option<String>,
}

/// Where a socket is opened.
#[derive(Clone)]
enum Place {
    On(Client),
    Once(ClientBuilder),
}

/// What came back.
pub(super) struct Answer {
    pub(super) response: Response<()>,
    pub(super) accepted: Accepted,
}

impl Open {
    pub(super) fn on(client: &Client, path: &str) -> Self {
        Self::new(Place::On(client.clone()), path)
    }

    pub(super) fn once(builder: &ClientBuilder, url: &str) -> Self {
        Self::new(Place::Once(builder.clone()), url)
    }

    fn new(place: Place, url: &str) -> Self {
        let options = match &place {
            Place::On(client) => client.0.settings.options.clone(),
            Place::Once(builder) => builder.options_of_all().clone(),
        };
        Self { place, url: url.to_owned(), options, headers: HeaderMap::new(), invalid: None }
    }

    /// All that is settled of the socket, in place of what the client's builder said of all and of what was said before.
    pub fn options(mut self, options: SocketOptions) -> Self {
        self.options = options;
        self
    }

    /// The subprotocols to offer, the preferred one first (RFC 6455 §1.9); [`WebSocket::protocol`] says which was taken.
    pub fn protocols<S: Into<String>>(mut self, protocols: impl IntoIterator<Item = S>) -> Self {
        self.options = self.options.protocols(protocols);
        self
    }

    /// Adds a header field, none of the handshake's own. It goes after those of the client. A `sec-websocket-key` is one of the
    /// handshake's over HTTP/1.1, and goes out over HTTP/2 alone; see
    /// [`SocketOptions::send_key`].
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match field(name, value) {
            Ok((name, value)) => drop(self.headers.append(name, value)),
            Err(error) => drop(self.invalid.get_or_insert_with(|| error.into_reason())),
        }
        self
    }

    /// The origin to name, such as `https://example.com`, as a browser's page would (RFC 6455 §10.2). None by default.
    pub fn origin(mut self, origin: &str) -> Self {
        self.headers.remove(ORIGIN);
        self.header(ORIGIN.as_str(), origin)
    }

    /// Octets in a message, beyond which the socket fails with 1009. Default: 1 MiB.
    pub fn max_message_size(mut self, octets: usize) -> Self {
        self.options = self.options.max_message_size(octets);
        self
    }

    /// Offers to compress messages (`permessage-deflate`, RFC 7692), which is up to the server:
    /// [`WebSocket::extensions`] says what is in use. Off by default.
    ///
    /// ```no_run
    /// # async fn run(client: sockeye::Client) -> sockeye::Result {
    /// let mut log = client.open("/log").deflate(sockeye::Deflate::default()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "deflate")]
    pub fn deflate(mut self, deflate: ws::Deflate) -> Self {
        self.options = self.options.deflate(deflate);
        self
    }

    /// Opens the socket and gives it to a handler that runs inside the connection's task, as a server's does: next to the
    /// transport, where a message costs a fraction of what it takes to wake another task for it. Ready once the socket is open.
    /// When the handler ends, its result closes the socket: see [`Outcome`](crate::socket::Outcome).
    ///
    /// What keeps a processor busy for long holds up the connection's other sockets, and should be spawned. Cancel safe: where
    /// the future is dropped before it is ready, the handler never runs.
    ///
    /// ```no_run
    /// use sockeye::{Client, Result, WebSocket};
    ///
    /// async fn follow(client: Client) -> Result {
    ///     client.open("/prices").run(print).await
    /// }
    ///
    /// async fn print(mut socket: WebSocket) -> Result {
    ///     while let Some(message) = socket.recv().await? {
    ///         println!("{message:?}");
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As where the socket is awaited.
    pub async fn run<H: Handler>(self, handler: H) -> Result {
        run_in_place(self.open().await?, handler);
        Ok(())
    }

    async fn open(self) -> Result<WebSocket> {
        if let Some(why) = self.invalid {
            return Err(Error::invalid(why));
        }
        let (client, path) = match self.place {
            Place::On(client) => {
                let path = parse_path(&self.url, &client.0.origin)?;
                (client, path)
            }
            Place::Once(builder) => {
                builder.check()?;
                let target = Target::parse(&self.url)?;
                (builder.client(&target).await?, target.path)
            }
        };
        let shared = &client.0;
        let mut handshake = ClientHandshake::new(shared.origin.uri(path)?);
        handshake.protocols.clone_from(&self.options.protocols);
        handshake.extensions = self.options.extensions;
        handshake.headers.clone_from(&shared.headers);
        for (name, value) in &self.headers {
            handshake.headers.append(name, value.clone());
        }
        shared.open(handshake, &self.options).await
    }
}

impl IntoFuture for Open {
    type Output = Result<WebSocket>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<WebSocket>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open").field("url", &self.url).field("options", &self.options).finish_non_exhaustive()
    }
}

/// The handshake for HTTP/2, with a key of its own where one was asked for.
pub(super) fn with_key<'a>(options: &SocketOptions, handshake: &'a ClientHandshake) -> Cow<'a, ClientHandshake> {
    let mut handshake = Cow::Borrowed(handshake);
    if options.key == Key::Always && !handshake.headers.contains_key(SEC_WEBSOCKET_KEY) {
        handshake.to_mut().set_key(rand::random());
    }
    handshake
}

/// Whether the server chose a subprotocol, where one is required.
pub(super) fn check_protocol(options: &SocketOptions, accepted: &Accepted) -> Result {
    match (options.protocol, &accepted.protocol) {
        (Agreement::Required, None) => Err(Error::handshake(ResponseError::ProtocolMissing)),
        _ => Ok(()),
    }
}

/// The socket of a handshake that was accepted.
pub(super) fn socket(options: &SocketOptions, handle: StreamHandle, request: Request<()>, answer: Answer) -> WebSocket {
    let (mut request, ()) = request.into_parts();
    request.extensions.clear();
    let (response, ()) = answer.response.into_parts();
    let role = Role::Client { mask_key };
    let version = response.version;
    tracing::debug!(path = request.uri.path(), protocol = answer.accepted.protocol, ?version, "a WebSocket was opened");
    let extensions = answer.accepted.extensions;
    let mut machine = ws::WebSocket::new(role, options.config).with_extensions(extensions);
    if extensions.deflate.is_some() {
        machine = machine.with_inflation(handle.link().inflation());
    }
    WebSocket::new(machine, handle, request, answer.accepted.protocol).with_response(&response)
}

/// The key of one frame, which must be unpredictable (RFC 6455 §5.3): the thread's generator draws blocks of them in advance,
/// from ChaCha. It is asked for one word, since for an array it would draw a word for each octet.
fn mask_key() -> [u8; 4] {
    rand::random::<u32>().to_ne_bytes()
}
