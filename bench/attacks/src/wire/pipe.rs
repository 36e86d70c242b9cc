//! A connection's octets, in cleartext or under TLS. The certificate is nobody's concern here.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use sockeye::ClientBuilder;

/// A write gives up after this long, so that a server that does not read stops nobody.
const WRITE_TIMEOUT: Duration = Duration::from_millis(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

pub enum Pipe {
    Cleartext(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Pipe {
    pub fn cleartext(address: SocketAddr) -> Result<Self> {
        Ok(Self::Cleartext(dial(address)?))
    }

    /// The handshake is done when this returns.
    pub fn tls(address: SocketAddr, protocol: &[u8]) -> Result<Self> {
        let socket = dial(address)?;
        socket.set_write_timeout(None)?;
        socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let connection = ClientConnection::new(any_certificate(protocol), ServerName::try_from("localhost")?)?;
        let mut stream = StreamOwned::new(connection, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.sock.set_write_timeout(Some(WRITE_TIMEOUT))?;
        Ok(Self::Tls(Box::new(stream)))
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Cleartext(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

fn dial(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    Ok(socket)
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Cleartext(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Cleartext(socket) => socket.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Cleartext(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A client's configuration that takes any certificate.
pub fn any_certificate(protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientBuilder::insecure_tls().expect("the provider's own versions");
    config.alpn_protocols = vec![protocol.to_vec()];
    // A ticket would spare the server what a flood is about.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
