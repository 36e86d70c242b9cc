//! What one connection holds of heads: header lists of requests that services have, heads that its WebSockets keep, trailers.
//!
//! HPACK lets a peer say a list of 16 KiB in a hundred octets (RFC 7541 §7.3), and a list is held for as long as whoever has it
//! likes. So all of them are counted, by the memory that they take, against one limit
//! ([`Limits::kept_heads`](super::link::Limits::kept_heads)), past which a new stream is refused. A WebSocket keeps its head for
//! its life: as text, in which what the connection's heads have in common is a reference to its [`Dictionary`].
//!
//! A connection of HTTP/1.1 holds one head at a time, which came octet by octet: nothing of it is counted.

mod dictionary;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::{HeaderMap, Request};

use super::link::Link;

pub(crate) use dictionary::Dictionary;

/// Octets of each kept head that are not counted: a socket that is said to cost 0.9 KiB has as much of its own.
const FREE: usize = 128;
/// Octets of each head that a WebSocket's application has asked for that are not counted: what a browser's takes.
const FREE_PARTS: usize = 4 << 10;

/// The heads of one connection; nothing before the first is there.
#[derive(Default)]
pub(crate) struct Heads(OnceLock<Box<Books>>);

#[derive(Default)]
pub(crate) struct Books {
    /// Octets that count.
    held: AtomicUsize,
    kept: Mutex<Kept>,
}

/// The heads of WebSockets.
#[derive(Default)]
struct Kept {
    count: usize,
    /// From the second head on: one alone has nothing in common with any.
    dictionary: Option<Box<Dictionary>>,
}

impl Heads {
    pub(crate) fn books(&self) -> &Books {
        self.0.get_or_init(Box::default)
    }
}

impl Books {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many octets more fit within the limit; one head always does.
    pub(crate) fn admits(&self, octets: usize, max: usize) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        held == 0 || held.saturating_add(octets) <= max
    }

    fn add(&self, octets: usize) {
        self.held.fetch_add(octets, Ordering::Relaxed);
    }

    fn subtract(&self, octets: usize) {
        let before = self.held.fetch_sub(octets, Ordering::Relaxed);
        debug_assert!(before >= octets, "what is given back was counted");
    }

    /// Keeps a head as `write` makes it, which may refer to the dictionary.
    pub(crate) fn keep(&self, write: impl FnOnce(Option<&mut Dictionary>) -> Box<[u8]>) -> Box<[u8]> {
        let mut kept = self.kept();
        let before = kept.dictionary.as_ref().map_or(0, |dictionary| dictionary.octets());
        kept.count += 1;
        if kept.count > 1 {
            kept.dictionary.get_or_insert_default();
        }
        let head = write(kept.dictionary.as_deref_mut());
        let after = kept.dictionary.as_ref().map_or(0, |dictionary| dictionary.octets());
        self.add(counted(&head) + after - before);
        head
    }

    /// A head is kept no more.
    pub(crate) fn let_go(&self, head: &[u8]) {
        self.subtract(counted(head));
        let mut kept = self.kept();
        kept.count -= 1;
        if kept.count == 0
            && let Some(dictionary) = kept.dictionary.take()
        {
            self.subtract(dictionary.octets());
        }
    }

    /// Lets `read` look up what a kept head refers to.
    pub(crate) fn read<T>(&self, read: impl FnOnce(Option<&Dictionary>) -> T) -> T {
        read(self.kept().dictionary.as_deref())
    }

    /// The application holds a WebSocket's head besides, until [`drop_parts`](Self::drop_parts).
    pub(crate) fn add_parts(&self, headers: &HeaderMap) {
        self.add(memory(headers).saturating_sub(FREE_PARTS));
    }

    pub(crate) fn drop_parts(&self, headers: &HeaderMap) {
        self.subtract(memory(headers).saturating_sub(FREE_PARTS));
    }
}

fn counted(head: &[u8]) -> usize {
    head.len().saturating_sub(FREE)
}

/// A part of what its connection holds, for as long as this is there.
pub(crate) struct Charge {
    link: Arc<Link>,
    octets: usize,
}

impl Charge {
    /// Counts a list of fields, and so many octets beside it; none past the limit.
    pub(crate) fn new(link: &Arc<Link>, headers: &HeaderMap, more: usize) -> Option<Self> {
        let octets = memory(headers) + more;
        let books = link.heads.books();
        if !books.admits(octets, link.limits.kept_heads) {
            return None;
        }
        books.add(octets);
        Some(Self { link: link.clone(), octets })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.link.heads.books().subtract(self.octets);
    }
}

/// An [extension](http::Extensions) of a request: what its head is counted for goes when the request does.
#[derive(Clone)]
pub(crate) struct Held(#[expect(dead_code, reason = "held until it is dropped")] Arc<Charge>);

/// Counts the head of a request until that is dropped; false past the limit.
pub(crate) fn hold<B>(link: &Arc<Link>, request: &mut Request<B>) -> bool {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    let Some(charge) = Charge::new(link, request.headers(), size_of::<Request<()>>() + target + authority) else {
        return false;
    };
    request.extensions_mut().insert(Held(Arc::new(charge)));
    true
}

/// Octets of memory that a map of fields takes, or not many more: its tables, which are most of it where fields are many and
/// small, its names and its values.
fn memory(headers: &HeaderMap) -> usize {
    /// A field of a name of its own, with its place in the index; another of the same name.
    const ENTRY: usize = 112;
    const REPEATED: usize = 72;
    let repeated = headers.len() - headers.keys_len();
    let strings = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    headers.capacity() * ENTRY + 2 * repeated * REPEATED + strings.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// What is counted is given back to the octet, whoever goes last.
    #[test]
    fn what_is_kept_is_given_back() {
        let books = Books::default();
        let mut fields = HeaderMap::new();
        fields.insert("x-long", HeaderValue::from_bytes(&[b'a'; 10_000]).unwrap());
        let heads: Vec<_> = (0..10)
            .map(|_| {
                books.keep(|dictionary| match dictionary.and_then(|dictionary| dictionary.refer(&[7; 1000])) {
                    Some(_) => Box::from([1; 3]),
                    None => Box::from([7; 1000]),
                })
            })
            .collect();
        // The first is on its own, the second is seen, the third is shared.
        assert_eq!(heads.iter().map(|head| head.len()).sum::<usize>(), 2 * 1000 + 8 * 3);
        books.add_parts(&fields);
        assert!(!books.admits(1, 10_000) && books.admits(1, 1 << 20));
        books.drop_parts(&fields);
        heads.iter().for_each(|head| books.let_go(head));
        assert_eq!(books.held.load(Ordering::Relaxed), 0);
        // One head always fits.
        assert!(books.admits(100, 0));
    }
}
