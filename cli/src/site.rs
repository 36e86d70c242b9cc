//! What `sockeye serve` answers: `/`, `/echo`, `/stats`, topics, files, and 404.

use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, CACHE_CONTROL, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, request};
use http_body_util::{BodyExt as _, Either};
use sockeye::{Body, BoxError, Peer, Refusal, SocketOptions, WebSocket, websocket};
use tower_service::Service as _;

use crate::files::{self, Folder};
use crate::stats::{Chunks, Stats};
use crate::topics::{self, Topics};

/// The page whose sockets open at once.
pub(crate) const START: &str = "/?start";

const PAGE: &str = concat!(include_str!("head.html"), include_str!("page.html"));
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// What an answer consists of.
type Content = Either<Body, Either<Chunks, files::Content>>;

#[derive(Clone)]
pub(crate) struct Site {
    stats: Stats,
    /// Of its sockets.
    options: SocketOptions,
    folder: Option<Folder>,
    topics: Option<Topics>,
}

/// What is asked for: all that is kept of a request while its content comes.
enum Asked {
    Page,
    /// How much content came.
    Received,
    Stats(Option<Peer>),
    /// Something that only a WebSocket is for.
    Socket(Version),
    /// Something that knows these methods alone.
    Other(&'static str),
    /// How many sockets the topic of this name has.
    Topic(String),
    /// The chat, and the client that it has.
    Chat,
    Client,
    /// A file of the folder.
    File(Box<Request<()>>),
    Nothing,
}

impl Asked {
    fn new(mut head: request::Parts, site: &Site) -> Self {
        let (stats, has_files) = (&site.stats, site.folder.is_some());
        let topic = site.topics.as_ref().and_then(|_| Topics::name(&head.uri));
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        if let Some(name) = topic {
            return if is_get { Self::Topic(name) } else { Self::Other("GET, HEAD") };
        }
        match head.uri.path() {
            "/" if is_get && has_files => Self::File(Box::new(Request::from_parts(head, ()))),
            "/" if is_get => Self::Page,
            "/" if head.method == Method::POST => Self::Received,
            "/" => Self::Other("GET, HEAD, POST"),
            "/stats" if stats.is_off() => Self::Nothing,
            "/stats" if is_get => Self::Stats(head.extensions.remove()),
            "/stats" => Self::Other("GET, HEAD"),
            "/echo" => Self::Socket(head.version),
            "/topics" if site.topics.is_some() && is_get => Self::Chat,
            "/topics.js" if site.topics.is_some() && is_get => Self::Client,
            "/topics" | "/topics.js" if site.topics.is_some() => Self::Other("GET, HEAD"),
            _ if is_get && has_files => Self::File(Box::new(Request::from_parts(head, ()))),
            // Whether there is such a file or not.
            _ if has_files => Self::Other("GET, HEAD"),
            _ => Self::Nothing,
        }
    }
}

impl Site {
    pub(crate) fn new(stats: Stats, options: SocketOptions, folder: Option<Folder>, topics: Option<Topics>) -> Self {
        Self { stats, options, folder, topics }
    }

    pub(crate) async fn answer(self, request: Request<Body>) -> Response<Content> {
        let is_connect = request.method() == Method::CONNECT;
        let is_socket = is_connect || request.headers().contains_key(UPGRADE);
        if is_socket && let (Some(topics), Some(name)) = (&self.topics, Topics::name(request.uri())) {
            let opened = topics.clone().open(&name, request).await;
            return opened.map_or_else(|error| no_topic(&error), |response| response.map(Either::Left));
        }
        if request.uri().path() == "/echo" && is_socket {
            let Ok(response) = websocket(WebSocket::echo).options(self.options).call(request).await;
            return response.map(Either::Left);
        }
        if is_connect {
            // What follows a CONNECT is no content, and has no end to wait for.
            return text(StatusCode::NOT_FOUND, "There is no tunnel here; try /echo.\n");
        }
        let (head, body) = request.into_parts();
        let asked = Asked::new(head, &self);
        // An answer waits for the end of the request's content.
        let received = match count(body).await {
            Ok(received) => received,
            Err(error) => return text(StatusCode::BAD_REQUEST, format!("The content broke off: {error}.\n")),
        };
        match asked {
            Asked::Page => page(),
            Asked::Received => text(StatusCode::OK, format!("{received} octets received.\n")),
            Asked::Stats(peer) => respond(JSON, Either::Right(Either::Left(self.stats.answer(peer.as_ref())))),
            Asked::Socket(version) => {
                Refusal::websocket_required(version).response().map(|text| Either::Left(text.into()))
            }
            Asked::Other(methods) => not_allowed(methods),
            Asked::Chat => respond(HTML, Either::Left(topics::PAGE.into())),
            Asked::Client => client(),
            Asked::Topic(name) => self.topic(&name).await,
            Asked::File(request) => self.file(*request).await,
            Asked::Nothing => nothing(),
        }
    }

    async fn topic(&self, name: &str) -> Response<Content> {
        match &self.topics {
            Some(topics) => match topics.tell(name).await {
                Ok(told) => respond(JSON, Either::Left(told.into())),
                Err(error) => no_topic(&error),
            },
            None => nothing(),
        }
    }

    /// A file; the page where the folder has no index.html.
    async fn file(&self, request: Request<()>) -> Response<Content> {
        let is_root = request.uri().path() == "/";
        let found = match &self.folder {
            Some(folder) => folder.answer(request).await,
            None => None,
        };
        match found {
            Some(response) => response.map(|content| Either::Right(Either::Right(content))),
            None if is_root => page(),
            None => nothing(),
        }
    }
}

/// Reads content to its end, and keeps nothing but its length.
async fn count(mut body: Body) -> Result<usize, BoxError> {
    let mut octets = 0;
    while let Some(frame) = body.frame().await {
        octets += frame?.data_ref().map_or(0, bytes::Bytes::len);
    }
    Ok(octets)
}

fn respond(content_type: &'static str, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn page() -> Response<Content> {
    let mut response = respond(HTML, Either::Left(PAGE.into()));
    // An isolated page gets a clock fine enough for round trips of less than a tenth of a millisecond.
    let headers = response.headers_mut();
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-embedder-policy", HeaderValue::from_static("require-corp"));
    response
}

fn text(status: StatusCode, content: impl Into<Body>) -> Response<Content> {
    let mut response = respond(TEXT, Either::Left(content.into()));
    *response.status_mut() = status;
    response
}

fn nothing() -> Response<Content> {
    text(StatusCode::NOT_FOUND, "There is nothing here; try / or /echo.\n")
}

/// The module for pages, also for those of other origins: which of them may open sockets is said elsewhere.
fn client() -> Response<Content> {
    let mut response = respond(JAVASCRIPT, Either::Left(topics::CLIENT.into()));
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

fn no_topic(error: &sockeye_hub::Error) -> Response<Content> {
    let status = match error {
        sockeye_hub::Error::InvalidSeen => StatusCode::BAD_REQUEST,
        _ => StatusCode::NOT_FOUND,
    };
    text(status, format!("{error}.\n"))
}

fn not_allowed(methods: &'static str) -> Response<Content> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("Here are only {methods}.\n"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}
