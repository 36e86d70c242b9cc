//! A transport as wtx takes it. Its traits cannot be named with futures that may go to other threads, so these are types.

use common::Transport;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;
use wtx::stream::{StreamReader, StreamWriter};

type Tls = Box<TlsStream<TcpStream>>;

pub enum Reader {
    Cleartext(OwnedReadHalf),
    Tls(ReadHalf<Tls>),
}

pub enum Writer {
    Cleartext(OwnedWriteHalf),
    Tls(WriteHalf<Tls>),
}

pub fn split(transport: Transport) -> (Reader, Writer) {
    match transport {
        Transport::Cleartext(stream) => {
            let (reader, writer) = stream.into_split();
            (Reader::Cleartext(reader), Writer::Cleartext(writer))
        }
        Transport::Tls(stream) => {
            let (reader, writer) = tokio::io::split(stream);
            (Reader::Tls(reader), Writer::Tls(writer))
        }
    }
}

impl StreamReader for Reader {
    async fn read(&mut self, octets: &mut [u8]) -> wtx::Result<usize> {
        match self {
            Self::Cleartext(half) => half.read(octets).await,
            Self::Tls(half) => half.read(octets).await,
        }
    }
}

impl StreamWriter for Writer {
    async fn write_all(&mut self, octets: &[u8]) -> wtx::Result<()> {
        match self {
            Self::Cleartext(half) => half.write_all(octets).await,
            Self::Tls(half) => half.write_all(octets).await,
        }
    }

    async fn write_all_vectored(&mut self, slices: &[&[u8]]) -> wtx::Result<()> {
        match self {
            Self::Cleartext(half) => half.write_all_vectored(slices).await,
            Self::Tls(half) => half.write_all_vectored(slices).await,
        }
    }
}
