//! What connections come from: sockets that listen, of TCP and of Unix.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::time::{Sleep, sleep};

use crate::engine::metrics::{Counter, Metrics};
#[cfg(unix)]
use crate::engine::peer::Credentials;
use crate::engine::peer::PeerAddress;
use crate::server::accepted::Accepted;
use crate::server::accepting::{Setbacks, is_of_one_connection};

/// A socket that listens, of one kind or another.
///
/// ```no_run
/// use sockeye::server::Listener;
///
/// # async fn run(app: axum::Router) -> sockeye::Result {
/// let listeners: Vec<Listener> = vec![
///     tokio::net::TcpListener::bind("127.0.0.1:8080").await?.into(),
///     # #[cfg(unix)]
///     tokio::net::UnixListener::bind("/run/chat.sock")?.into(),
/// ];
/// sockeye::serve(listeners, app).await
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Listener {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of Unix: for a proxy on the same machine. Who connects is known by its [credentials](crate::Peer::credentials).
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Unix(listener)
    }
}

/// Where it listens, in words: `127.0.0.1:8080`, or `unix:/run/chat.sock`.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("tcp"),
            },
            #[cfg(unix)]
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix"),
                }
            }
        }
    }
}

/// The sockets that one [`serve`](crate::Server::serve) takes connections from: one, or an array or a `Vec` of them.
#[derive(Debug)]
pub struct Listeners(Vec<Listener>);

impl<L: Into<Listener>> FromIterator<L> for Listeners {
    fn from_iter<I: IntoIterator<Item = L>>(listeners: I) -> Self {
        Self(listeners.into_iter().map(Into::into).collect())
    }
}

impl From<Listener> for Listeners {
    fn from(listener: Listener) -> Self {
        Self(vec![listener])
    }
}

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Listener::from(listener).into()
    }
}

#[cfg(unix)]
impl From<UnixListener> for Listeners {
    fn from(listener: UnixListener) -> Self {
        Listener::from(listener).into()
    }
}

impl<L: Into<Listener>> From<Vec<L>> for Listeners {
    fn from(listeners: Vec<L>) -> Self {
        listeners.into_iter().collect()
    }
}

impl<L: Into<Listener>, const N: usize> From<[L; N]> for Listeners {
    fn from(listeners: [L; N]) -> Self {
        listeners.into_iter().collect()
    }
}

impl Listeners {
    /// Their queues, or none where nothing listens.
    pub(super) fn queues(self) -> Option<Queues> {
        let all: Vec<_> = self.0.into_iter().map(Queue::new).collect();
        (!all.is_empty()).then_some(Queues { all, next: 0 })
    }
}

/// The queues of all listeners, from which connections are taken in turn: a listener that is busy stops no other, nor does one
/// that fails.
pub(super) struct Queues {
    all: Vec<Queue>,
    /// The one that is looked at first.
    next: usize,
}

impl Queues {
    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>, metrics: &Metrics) -> Poll<Accepted> {
        let count = self.all.len();
        for index in (self.next..count).chain(0..self.next) {
            if let Poll::Ready(accepted) = self.all[index].poll_accept(cx, metrics) {
                self.next = (index + 1) % count;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }

    pub(super) fn into_listeners(self) -> impl Iterator<Item = Listener> {
        self.all.into_iter().map(|queue| queue.listener)
    }
}

/// A listener's queue.
struct Queue {
    listener: Listener,
    setbacks: Setbacks,
    /// It has failed, and is left alone until then.
    rest: Option<Pin<Box<Sleep>>>,
}

impl Queue {
    fn new(listener: Listener) -> Self {
        Self { listener, setbacks: Setbacks::default(), rest: None }
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>, metrics: &Metrics) -> Poll<Accepted> {
        loop {
            if let Some(rest) = &mut self.rest {
                ready!(rest.as_mut().poll(cx));
                self.rest = None;
            }
            match ready!(self.listener.poll_accept(cx)) {
                Ok(accepted) => {
                    self.setbacks.succeed();
                    return Poll::Ready(accepted);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    metrics.count(Counter::AcceptErrors);
                    self.rest = Some(Box::pin(sleep(self.setbacks.fail(&error, tokio::time::Instant::now()))));
                }
            }
        }
    }
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| Accepted::new(stream, Some(of_tcp(peer))))
            }
            #[cfg(unix)]
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = of_unix(&stream);
                Accepted::new(stream, peer)
            }),
        }
    }
}

fn of_tcp(address: SocketAddr) -> PeerAddress {
    PeerAddress::Tcp(address)
}

/// Who is there is told by the system: a Unix socket that connects has no address as a rule.
#[cfg(unix)]
pub(super) fn of_unix(stream: &tokio::net::UnixStream) -> Option<PeerAddress> {
    let credentials = stream.peer_cred().ok()?;
    Some(PeerAddress::Unix(Credentials::new(credentials.uid(), credentials.gid(), credentials.pid())))
}
