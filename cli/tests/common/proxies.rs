//! Small proxies, whichever host they are asked for: all lead to one server, and write down what they were asked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// How a proxy gets from a client's first octets to a tunnel.
pub(crate) type Greet = fn(&mut TcpStream, &Mutex<Vec<String>>) -> io::Result<bool>;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// One that leads to this server.
    pub(crate) fn start(server: SocketAddr, greet: Greet) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let noted = asked.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                let (mut client, noted) = (client.unwrap(), noted.clone());
                thread::spawn(move || {
                    if greet(&mut client, &noted)? {
                        relay(client, TcpStream::connect(server)?);
                    }
                    io::Result::Ok(())
                });
            }
        });
        Self { address, asked }
    }

    /// What it was asked for since the last look.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// A proxy by CONNECT (RFC 9110 §9.3.6); the line of each request, and who it is from.
pub(crate) fn connect(client: &mut TcpStream, asked: &Mutex<Vec<String>>) -> io::Result<bool> {
    let head = head(client)?;
    let authorization = head.lines().find(|line| line.to_ascii_lowercase().starts_with("proxy-authorization:"));
    let line = head.lines().next().unwrap_or_default();
    asked.lock().unwrap().push(format!("{line}{}", authorization.map(|line| format!(" {line}")).unwrap_or_default()));
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    Ok(true)
}

/// One that lets nobody through without a user and a password.
pub(crate) fn connect_with_authorization(client: &mut TcpStream, _: &Mutex<Vec<String>>) -> io::Result<bool> {
    head(client)?;
    client.write_all(
        b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n",
    )?;
    Ok(false)
}

/// SOCKS 5 (RFC 1928); what it is to connect to, and who asks (RFC 1929).
pub(crate) fn socks(client: &mut TcpStream, asked: &Mutex<Vec<String>>) -> io::Result<bool> {
    let methods = octets(client, 2)?[1];
    let methods = octets(client, methods.into())?;
    let mut who = String::new();
    if methods.contains(&2) {
        client.write_all(&[5, 2])?;
        octets(client, 1)?;
        let user = counted(client)?;
        let password = counted(client)?;
        who = format!(" {user}:{password}");
        client.write_all(&[1, 0])?;
    } else {
        client.write_all(&[5, 0])?;
    }
    let host = match octets(client, 4)?[3] {
        1 => octets(client, 4)?.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        3 => format!("name {}", counted(client)?),
        other => format!("kind {other}"),
    };
    octets(client, 2)?;
    asked.lock().unwrap().push(format!("{host}{who}"));
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    Ok(true)
}

fn counted(client: &mut TcpStream) -> io::Result<String> {
    let length = octets(client, 1)?[0];
    Ok(String::from_utf8_lossy(&octets(client, length.into())?).into_owned())
}

fn octets(client: &mut TcpStream, count: usize) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; count];
    client.read_exact(&mut octets)?;
    Ok(octets)
}

/// A head of HTTP/1.1, octet by octet, so that nothing behind it is read.
fn head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(octets(client, 1)?[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// What can be read, written and ended, one half at a time.
pub(crate) trait Half: Read + Write + Send + 'static {
    fn twin(&self) -> Self;
    fn end(&self);
}

impl Half for TcpStream {
    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn end(&self) {
        self.shutdown(Shutdown::Write).ok();
    }
}

#[cfg(unix)]
impl Half for std::os::unix::net::UnixStream {
    fn twin(&self) -> Self {
        self.try_clone().unwrap()
    }

    fn end(&self) {
        self.shutdown(Shutdown::Write).ok();
    }
}

/// Carries octets both ways until both have ended.
pub(crate) fn relay<A: Half, B: Half>(a: A, b: B) {
    let (mut from, mut to) = (a.twin(), b.twin());
    let other = thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.end();
    });
    let (mut from, mut to) = (b, a);
    io::copy(&mut from, &mut to).ok();
    to.end();
    other.join().unwrap();
}
