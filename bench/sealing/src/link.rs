//! Both ends of a TLS connection, in memory.

use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{HTTP2, Result};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConnection};

/// Octets that a server reads at once.
const READ_SIZE: usize = 64 << 10;
/// Octets of the head of a record (RFC 8446 §5.1), the last two its length.
const RECORD_HEAD: usize = 5;

pub struct Link {
    server: Connection,
    client: Connection,
    wire: Vec<u8>,
    plaintext: Vec<u8>,
}

impl Link {
    /// Makes a connection as the servers have it.
    pub fn new() -> Result<Self> {
        let (server, certificate) = common::certified_config(HTTP2)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate)?;
        let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![HTTP2.to_vec()];
        let name = ServerName::try_from("localhost")?;
        let mut link = Self {
            server: ServerConnection::new(Arc::new(server))?.into(),
            client: ClientConnection::new(Arc::new(client), name)?.into(),
            wire: Vec::new(),
            plaintext: vec![0; READ_SIZE],
        };
        while link.client.wants_write() || link.server.wants_write() {
            transfer(&mut link.client, &mut link.server, &mut link.wire)?;
            transfer(&mut link.server, &mut link.client, &mut link.wire)?;
        }
        Ok(link)
    }

    /// The name of what protects the connection.
    pub fn suite(&self) -> String {
        self.server.negotiated_cipher_suite().map_or_else(String::new, |suite| format!("{:?}", suite.suite()))
    }

    /// The time in which the server opens a batch of the client's.
    pub fn receive(&mut self, octets: &[u8]) -> Result<Duration> {
        self.wire.clear();
        seal(&mut self.client, octets, &mut self.wire)?;
        let start = Instant::now();
        let opened = open(&mut self.server, &self.wire, &mut self.plaintext)?;
        let time = start.elapsed();
        check(opened, octets.len())?;
        Ok(time)
    }

    /// The time in which the server seals a batch, and in how many records.
    pub fn send(&mut self, octets: &[u8]) -> Result<(Duration, usize)> {
        self.wire.clear();
        let start = Instant::now();
        seal(&mut self.server, octets, &mut self.wire)?;
        let time = start.elapsed();
        check(open(&mut self.client, &self.wire, &mut self.plaintext)?, octets.len())?;
        Ok((time, records(&self.wire)))
    }
}

/// Gives octets to a connection and takes the records, whenever it has as many as it holds.
fn seal(connection: &mut Connection, mut octets: &[u8], wire: &mut Vec<u8>) -> Result {
    while !octets.is_empty() {
        let taken = connection.writer().write(octets)?;
        octets = &octets[taken..];
        while connection.wants_write() {
            connection.write_tls(wire)?;
        }
    }
    Ok(())
}

/// Gives records to a connection and takes the octets: how many.
fn open(connection: &mut Connection, mut wire: &[u8], plaintext: &mut [u8]) -> Result<usize> {
    let mut opened = 0;
    while !wire.is_empty() {
        connection.read_tls(&mut wire)?;
        connection.process_new_packets()?;
        loop {
            match connection.reader().read(plaintext) {
                Ok(read) => opened += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(opened)
}

/// What is there of the handshake.
fn transfer(from: &mut Connection, to: &mut Connection, wire: &mut Vec<u8>) -> Result {
    wire.clear();
    while from.wants_write() {
        from.write_tls(wire)?;
    }
    let mut octets = &wire[..];
    while !octets.is_empty() {
        to.read_tls(&mut octets)?;
        to.process_new_packets()?;
    }
    Ok(())
}

fn records(mut wire: &[u8]) -> usize {
    let mut records = 0;
    while let Some(&[_, _, _, high, low]) = wire.first_chunk::<RECORD_HEAD>() {
        wire = &wire[RECORD_HEAD + usize::from(u16::from_be_bytes([high, low]))..];
        records += 1;
    }
    records
}

fn check(opened: usize, sealed: usize) -> Result {
    if opened == sealed { Ok(()) } else { Err(format!("{sealed} octets were sealed and {opened} opened").into()) }
}
