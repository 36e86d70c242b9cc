//! The sockets that `serve` listens on: its own, one of several processes on one port, or those that systemd hands over.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket};

pub(crate) use self::shared_port::SharedPort;

/// Connections that may wait to be accepted, as when the clients of a server that was restarted come back; the system may allow
/// fewer (`net.core.somaxconn`).
const BACKLOG: u32 = 4096;

pub(crate) struct Listeners {
    pub(crate) all: Vec<TcpListener>,
    /// Of a socket of our own whose port others may have, too.
    pub(crate) shared_port: Option<SharedPort>,
}

/// The sockets that systemd, or whatever else speaks its protocol (LISTEN_FDS), hands over; one of our own at `listen` where there
/// are none.
///
/// # Errors
///
/// The address cannot be listened on, or what was handed over is no TCP socket.
pub(crate) fn open(listen: SocketAddr, reuse_port: bool) -> Result<Listeners> {
    let mut handed_over = ListenFd::from_env();
    if handed_over.len() > 0 {
        let all = (0..handed_over.len()).map(|index| take(&mut handed_over, index)).collect::<Result<_>>()?;
        return Ok(Listeners { all, shared_port: None });
    }
    let what = || format!("cannot listen on {listen}");
    let listener = bind(listen, reuse_port).with_context(what)?;
    let shared_port = reuse_port.then(|| SharedPort::of(&listener)).transpose().with_context(what)?;
    Ok(Listeners { all: vec![listener], shared_port })
}

fn take(handed_over: &mut ListenFd, index: usize) -> Result<TcpListener> {
    let what = || format!("cannot listen on socket {index} of LISTEN_FDS");
    let listener = handed_over.take_tcp_listener(index).with_context(what)?.with_context(what)?;
    listener.set_nonblocking(true).with_context(what)?;
    TcpListener::from_std(listener).with_context(what)
}

fn bind(listen: SocketAddr, reuse_port: bool) -> Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // On Windows it would let two servers have one port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    if reuse_port {
        shared_port::allow(&socket)?;
    }
    socket.bind(listen)?;
    Ok(socket.listen(BACKLOG)?)
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
