//! A folder of files beside the echo (`serve --dir`), by tower-http; nothing that is not inside of it.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use tokio::task::spawn_blocking;
use tower_http::services::ServeDir;
use tower_http::services::fs::{Backend, DefaultServeDirFallback};

use crate::file::File;
use crate::usage::Usage;

/// Octets of a file that are read at once. As many, and a buffer beside them, a request may hold whose client takes no more, and a
/// connection has a thousand requests.
const PIECE: usize = 4096;

/// What of a file is sent.
pub(crate) type Content = tower_http::services::fs::ServeFileSystemResponseBody;

/// The folder. Clones are the same.
#[derive(Clone)]
pub(crate) struct Folder(ServeDir<DefaultServeDirFallback, Inside>);

impl Folder {
    /// # Errors
    ///
    /// It is no folder that can be read.
    pub(crate) fn new(path: &Path) -> Result<Self, Usage> {
        let wrong = |error: io::Error| Usage::new(format!("cannot serve the folder {}: {error}", path.display()));
        let root = path.canonicalize().map_err(wrong)?;
        std::fs::read_dir(&root).map_err(wrong)?;
        let inside = Inside { root: root.clone().into() };
        Ok(Self(ServeDir::with_backend(root, inside).with_buf_chunk_size(PIECE)))
    }

    /// A file, or the index.html of a folder; none where there is none. Conditions and ranges of the request hold (RFC 9110 §13,
    /// §14).
    pub(crate) async fn answer(&self, request: Request<()>) -> Option<Response<Content>> {
        // A redirection to such a path would lead to another host (RFC 3986 §4.2).
        if request.uri().path().starts_with("//") {
            return None;
        }
        let mut whole = request.clone();
        whole.headers_mut().remove(RANGE);
        let mut response = if is_range(&request) {
            let asked = request.headers().clone();
            let part = self.call(request).await?;
            if is_due(&part, &asked) { part } else { self.call(whole).await? }
        } else {
            self.call(whole).await?
        };
        if response.status() == StatusCode::NOT_FOUND {
            return None;
        }
        let headers = response.headers_mut();
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if content_type.starts_with("text/")
            && !content_type.contains("charset")
            && let Ok(value) = HeaderValue::try_from(format!("{content_type}; charset=utf-8"))
        {
            headers.insert(CONTENT_TYPE, value);
        }
        // A page that is being worked on: the browser asks whether it has changed.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(response)
    }

    async fn call(&self, request: Request<()>) -> Option<Response<Content>> {
        let answered = self.0.clone().try_call(request.map(|()| Empty::<bytes::Bytes>::new())).await;
        if let Err(error) = &answered
            && !is_absent(error)
        {
            tracing::warn!(%error, "a file cannot be read");
        }
        answered.ok()
    }
}

/// Whether a request asks for one range of octets. Any other Range is ignored (RFC 9110 §14.2), where tower-http refuses it: another
/// unit, a method but GET, what is no range, and several, which would go in parts.
fn is_range(request: &Request<()>) -> bool {
    let is_number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit()) && text.len() < 19;
    let mut values = request.headers().get_all(RANGE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let range = value.to_str().ok().and_then(|value| value.strip_prefix("bytes=")?.split_once('-'));
    let Some((first, last)) = range.filter(|(first, last)| is_number(first) && is_number(last)) else { return false };
    let in_order = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first <= last,
        (first, last) => first.is_ok() || last.is_ok(),
    };
    in_order && request.method() == Method::GET
}

/// Whether what was asked for is to be answered so: a part of the file that the client knows (RFC 9110 §13.1.5), which has octets, and
/// as many as the range counts from its end (§14.1.2). Otherwise the file goes whole.
fn is_due(part: &Response<Content>, asked: &HeaderMap) -> bool {
    let headers = part.headers();
    let is_known = asked.get(IF_RANGE).is_none_or(|known| headers.get(ETAG) == Some(known));
    let is_empty = headers.get(CONTENT_RANGE).is_some_and(|value| value.as_bytes().ends_with(b"/0"));
    let is_from_end = asked.get(RANGE).is_some_and(|value| value.as_bytes().starts_with(b"bytes=-"));
    is_known && !is_empty && !(is_from_end && part.status() == StatusCode::RANGE_NOT_SATISFIABLE)
}

/// Whether there is no such file, which says something of the request and nothing of the folder: whoever asks for it at will would
/// fill the log.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename | InvalidInput)
}

/// The files of a folder, without those that links would lead to outside of it, those that are hidden, and what is no file, as a pipe.
#[derive(Clone)]
struct Inside {
    root: Arc<Path>,
}

impl Inside {
    /// Where a path leads, if that is inside. Blocks.
    fn find(&self, path: &Path) -> io::Result<PathBuf> {
        let found = path.canonicalize()?;
        let inside = found.strip_prefix(&self.root).map_err(|_| io::ErrorKind::NotFound)?;
        // RFC 8615 is what the one exception is for.
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".") && name != ".well-known";
        let kind = found.metadata()?.file_type();
        // To open a pipe waits for who writes to it, and holds a thread of those that read files.
        let is_served = (kind.is_file() || kind.is_dir()) && !inside.iter().any(is_hidden);
        if is_served { Ok(found) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn look<T: Send + 'static>(&self, path: PathBuf, look: fn(PathBuf) -> io::Result<T>) -> Boxed<T> {
        let inside = self.clone();
        Box::pin(async move { spawn_blocking(move || look(inside.find(&path)?)).await? })
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Backend for Inside {
    type File = File;
    type Metadata = Metadata;
    type OpenFuture = Boxed<File>;
    type MetadataFuture = Boxed<Metadata>;

    fn open(&self, path: PathBuf) -> Boxed<File> {
        self.look(path, File::open)
    }

    fn metadata(&self, path: PathBuf) -> Boxed<Metadata> {
        self.look(path, std::fs::metadata)
    }
}
