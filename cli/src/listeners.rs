//! The sockets that `serve` and `gateway` listen on: its own, one of several processes on one port, or those that systemd hands over.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use listenfd::ListenFd;
use sockeye::server::Listener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::net::{TcpListener, TcpSocket, lookup_host};
use tokio::task::JoinSet;

pub(crate) use self::shared_port::SharedPort;
use crate::out;

/// Connections that may wait to be accepted, as when the clients of a server that was restarted come back; the system may allow
/// fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

pub(crate) struct Listeners {
    pub(crate) all: Vec<Listener>,
    /// Of the sockets of our own whose port others may have, too.
    pub(crate) shared_ports: Vec<SharedPort>,
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp(Place),
    /// A Unix socket in the file system.
    #[cfg(unix)]
    Unix(PathBuf),
}

/// A host, or none for all addresses of this machine, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    host: Option<String>,
    port: u16,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let wrong = || {
            "it is such as 127.0.0.1:8080, [::1]:8080, localhost:8080, :8080 for all addresses, or unix:/run/sockeye.sock"
                .to_owned()
        };
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        // RFC 3986 §3.2.2: what has colons stands in brackets.
        let is_right = match inside {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.contains([':', '[', ']', '/', ' ']),
        };
        let host = Some(inside.unwrap_or(host)).filter(|host| !host.is_empty() && *host != "*");
        if is_right { Ok(Self::Tcp(Place { host: host.map(str::to_owned), port })) } else { Err(wrong()) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) => place.fmt(f),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.as_deref() {
            Some(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            host => write!(f, "{}:{}", host.unwrap_or_default(), self.port),
        }
    }
}

impl Place {
    /// Its addresses: one at least. For all of this machine that is the one of IPv6 that takes both families, where there is IPv6.
    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let Some(host) = &self.host else {
            return Ok(vec![(Ipv6Addr::UNSPECIFIED, self.port).into(), (Ipv4Addr::UNSPECIFIED, self.port).into()]);
        };
        let found: BTreeSet<_> = lookup_host((&**host, self.port)).await?.collect();
        if found.is_empty() {
            Err(io::Error::other("the host has no address"))
        } else {
            Ok(found.into_iter().collect())
        }
    }

    /// Binds all of its addresses; those of a family that this machine does not have are left out where there is another. A port
    /// of 0 is one and the same for all.
    async fn bind(&self, reuse_port: bool) -> io::Result<Vec<TcpListener>> {
        let (mut bound, mut failed): (Vec<TcpListener>, _) = (Vec::new(), None);
        for mut address in self.addresses().await? {
            match bound.first() {
                // The first one takes both families.
                Some(_) if self.host.is_none() => break,
                Some(first) => address.set_port(first.local_addr()?.port()),
                None => {}
            }
            match bind(address, reuse_port) {
                Ok(listener) => bound.push(listener),
                Err(error) if is_absent(&error) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some(error) if bound.is_empty() => Err(error),
            _ => Ok(bound),
        }
    }
}

/// Whether an address is not of this machine, or its family is not.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || cfg!(unix) && error.raw_os_error() == Some(NO_FAMILY)
}

/// EAFNOSUPPORT
const NO_FAMILY: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };

/// The sockets that systemd, or whatever else speaks its protocol (LISTEN_FDS), hands over; those of our own at `listen` where there
/// are none.
///
/// # Errors
///
/// An address cannot be listened on, or what was handed over is no socket that listens, of TCP or Unix.
pub(crate) async fn open(listen: &[Listen], reuse_port: bool) -> Result<Listeners> {
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > 0 {
        let all = (0..handed_over.len()).map(|index| take(&mut handed_over, index)).collect::<Result<_>>()?;
        return Ok(Listeners { all, shared_ports: Vec::new() });
    }
    let (mut all, mut shared_ports) = (Vec::new(), Vec::new());
    for listen in listen {
        all.extend(at(listen, reuse_port).await?);
    }
    for listener in &all {
        if let (Listener::Tcp(listener), true) = (listener, reuse_port) {
            shared_ports.push(SharedPort::of(listener).context("cannot share a port")?);
        }
    }
    Ok(Listeners { all, shared_ports })
}

/// Says where it is listened, a line for each.
///
/// # Errors
///
/// Stdout cannot be written to.
pub(crate) fn announce(listeners: &[Listener], scheme: &str) -> Result<()> {
    listeners.iter().try_for_each(|listener| {
        out::print(&match listener {
            Listener::Tcp(listener) => format!("listening on {scheme}://{}", listener.local_addr()?),
            other => format!("listening on {other}"),
        })
    })
}

/// The address of the first of TCP, if there is one.
pub(crate) fn first_address(listeners: &[Listener]) -> io::Result<Option<SocketAddr>> {
    let tcp = listeners.iter().find_map(|listener| match listener {
        Listener::Tcp(listener) => Some(listener.local_addr()),
        _ => None,
    });
    tcp.transpose()
}

/// Listens on all addresses of one place.
///
/// # Errors
///
/// One of them cannot be listened on.
pub(crate) async fn at(listen: &Listen, reuse_port: bool) -> Result<Vec<Listener>> {
    let bound = match listen {
        Listen::Tcp(place) => place.bind(reuse_port).await.map(|bound| bound.into_iter().map(Into::into).collect()),
        #[cfg(unix)]
        Listen::Unix(path) => bind_unix(path).map(|listener| vec![listener.into()]),
    };
    bound.with_context(|| format!("cannot listen on {listen}"))
}

/// A Unix socket at this path. One that is left there, to which nobody listens any more, makes way for it.
#[cfg(unix)]
fn bind_unix(path: &std::path::Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::FileTypeExt as _;
    use std::os::unix::net::UnixStream;

    let is_left = std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_left {
        std::fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

/// Has new connections go to other processes that share these ports, and waits for those that are under way.
pub(crate) async fn leave(shared_ports: Vec<SharedPort>) {
    let mut leaving = JoinSet::new();
    for port in shared_ports {
        leaving.spawn(port.leave());
    }
    leaving.join_all().await;
}

fn take(handed_over: &mut ListenFd, index: usize) -> Result<Listener> {
    let what = || format!("cannot listen on socket {index} of LISTEN_FDS");
    // What is no Unix socket stays for TCP, or to be complained of.
    #[cfg(unix)]
    if let Ok(Some(listener)) = handed_over.take_unix_listener(index) {
        listener.set_nonblocking(true).with_context(what)?;
        return Ok(UnixListener::from_std(listener).with_context(what)?.into());
    }
    let listener = handed_over.take_tcp_listener(index).with_context(what)?.with_context(what)?;
    listener.set_nonblocking(true).with_context(what)?;
    Ok(TcpListener::from_std(listener).with_context(what)?.into())
}

fn bind(listen: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows it would let two servers have one port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    if reuse_port {
        shared_port::allow(&socket)?;
    }
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

#[cfg(target_os = "linux")]
mod shared_port {
    use std::io;
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::time::Duration;

    use nix::libc::{sock_filter, sock_fprog};
    use nix::sys::socket::{setsockopt, sockopt::AttachReusePortCbpf};
    use tokio::net::{TcpListener, TcpSocket};

    /// Time for the TCP handshakes that are under way on a socket to which no new ones are sent: beyond the first repetition of a
    /// SYN-ACK that was lost.
    const UNDER_WAY: Duration = Duration::from_millis(1500);
    /// BPF_RET | BPF_K: returns a constant.
    const RETURN: u16 = 0x06;

    pub(super) fn allow(socket: &TcpSocket) -> io::Result<()> {
        socket.set_reuseport(true)
    }

    /// A second hold on a socket whose port is shared, for its end.
    ///
    /// Linux gives each socket of a port a queue of its own, and closes a socket with all that stand in its queue, or are about to:
    /// it resets connections that their clients take for open. So new connections are first sent to another socket of the port;
    /// then those that are under way get some time to arrive, and to be accepted.
    pub(crate) struct SharedPort(OwnedFd);

    impl SharedPort {
        pub(super) fn of(listener: &TcpListener) -> io::Result<Self> {
            listener.as_fd().try_clone_to_owned().map(Self)
        }

        /// Has new connections go to another socket, and waits for those that are under way. The listener's own hold is the last
        /// one then, and closes it.
        pub(crate) async fn leave(self) {
            let sent_elsewhere = self.send_elsewhere();
            drop(self);
            match sent_elsewhere {
                Ok(()) => tokio::time::sleep(UNDER_WAY).await,
                Err(error) => tracing::warn!(%error, "new connections cannot be sent elsewhere, and some may be lost"),
            }
        }

        /// A program of one instruction chooses the second socket of the port, which joined after this one. Where there is none the
        /// system goes on to choose by itself.
        fn send_elsewhere(&self) -> nix::Result<()> {
            let mut instructions = [sock_filter { code: RETURN, jt: 0, jf: 0, k: 1 }];
            let program = sock_fprog { len: 1, filter: instructions.as_mut_ptr() };
            setsockopt(&self.0, AttachReusePortCbpf, &program)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod shared_port {
    use std::io;

    use tokio::net::{TcpListener, TcpSocket};

    pub(super) fn allow(_: &TcpSocket) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "--reuse-port is for Linux"))
    }

    pub(crate) struct SharedPort;

    impl SharedPort {
        pub(super) fn of(_: &TcpListener) -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) async fn leave(self) {}
    }
}
