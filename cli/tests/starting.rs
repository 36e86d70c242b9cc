//! How `sockeye serve` starts, refuses to start, and ends.

mod common;

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Folder, Serving, program, run, stderr};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConnection, StreamOwned};
use sha2::{Digest as _, Sha256};
use sockeye::ClientBuilder;

/// A mistake of the person's: words on stderr, nothing on stdout, and a non-zero exit status. Gives the words.
#[track_caller]
fn refuses(arguments: &[&str]) -> String {
    let output = run(program(&[&["serve"], arguments].concat()), "");
    let words = stderr(&output);
    assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(!words.trim().is_empty(), "{arguments:?}");
    assert!(!words.contains("panicked") && !words.to_lowercase().contains("backtrace"), "{words}");
    words.to_owned()
}

#[track_caller]
fn refuses_in_one_line(arguments: &[&str]) {
    let words = refuses(arguments);
    assert_eq!(words.trim().lines().count(), 1, "{words}");
}

#[test]
fn a_port_in_use_is_refused_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    refuses_in_one_line(&["--listen", &taken.local_addr().unwrap().to_string()]);
}

#[test]
fn a_missing_key_is_refused_in_one_line() {
    refuses_in_one_line(&["--cert", "/nonexistent.pem", "--key", "/nonexistent.pem"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (arguments, part) in [
        (&["--cert", "/nonexistent.pem"][..], "--key"),
        (&["--no-such-option"], "--no-such-option"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--origin", "https://*.example.com"], "a whole host"),
    ] {
        let words = refuses(arguments);
        assert!(words.contains(part), "{arguments:?}: {words}");
    }
}

/// A connection of TLS that offers these protocols, after its handshake.
fn tls(address: SocketAddr, protocols: &[&str]) -> StreamOwned<ClientConnection, TcpStream> {
    // The tests look at the certificate themselves.
    let mut config = ClientBuilder::insecure_tls().unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, common::connect(&address.to_string()).unwrap());
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// The certificate that is served.
fn certificate(address: SocketAddr) -> CertificateDer<'static> {
    tls(address, &["h2"]).conn.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Without --cert the fingerprint of the certificate made at the start is shown, so that a client can pin it.
#[test]
#[cfg(unix)]
fn the_made_certificates_fingerprint_is_printed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = program(&["serve", "--listen", "127.0.0.1:0"]);
    let mut process = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    // It holds the pipe's other ends.
    drop(command);
    let mut reader = BufReader::new(reader);
    let mut said = String::new();
    let address = loop {
        let before = said.len();
        assert_ne!(reader.read_line(&mut said).unwrap(), 0, "it ended after {said:?}");
        if let Some((_, address)) = said[before..].split_once("listening on https://") {
            break address.trim().parse().unwrap();
        }
    };
    let digest = Sha256::digest(certificate(address));
    let fingerprint: Vec<_> = digest.iter().map(|octet| format!("{octet:02X}")).collect();
    common::interrupt(&process);
    assert!(process.wait().unwrap().success());
    reader.read_to_string(&mut said).unwrap();
    assert!(said.contains(&fingerprint.join(":")), "no {fingerprint:?} in {said:?}");
}

#[test]
fn a_certificate_and_a_key_are_served() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = folder.write("certificate.pem", &made.cert.pem());
    let key = folder.write("key.pem", &made.signing_key.serialize_pem());
    let server = Serving::start(&["--listen", "127.0.0.1:0", "--cert", &path, "--key", &key]);
    assert_eq!(certificate(server.address()), CertificateDer::from_pem_file(&path).unwrap());
}

#[test]
fn http2_is_preferred_by_alpn() {
    let server = Serving::start(&["--listen", "127.0.0.1:0"]);
    for (offered, taken) in [(&["http/1.1", "h2"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let stream = tls(server.address(), offered);
        assert_eq!(stream.conn.alpn_protocol().unwrap(), taken.as_bytes(), "{offered:?}");
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_it_cleanly() {
    for scheme in [&[][..], &["--cleartext"]] {
        let mut server = Serving::start(&[&["--listen", "127.0.0.1:0"], scheme].concat());
        let _connected = common::connect(&server.address().to_string()).unwrap();
        let status = server.interrupt();
        assert_eq!(status.code(), Some(0), "{scheme:?}");
    }
}

/// The head of a frame of the connection's (RFC 9113 §4.1).
fn frame_head(length: u8, kind: u8, flags: u8) -> [u8; 9] {
    [0, 0, length, kind, flags, 0, 0, 0, 0]
}

/// Whether a connection of HTTP/2 that says nothing is asked by PING (RFC 9113 §6.7) within this time.
fn is_pinged(keep_alive: &str, within: Duration) -> bool {
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const ACK: u8 = 1;
    let server = Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--keep-alive", keep_alive]);
    let mut connection = TcpStream::connect(server.address()).unwrap();
    // RFC 9113 §3.4: the preface, and SETTINGS. A client says no more here.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    connection.write_all(&[&preface[..], &frame_head(0, SETTINGS, 0), &frame_head(0, SETTINGS, ACK)].concat()).unwrap();
    let (deadline, mut octets) = (Instant::now() + within, Vec::new());
    loop {
        if octets.windows(9).any(|head| head == frame_head(8, PING, 0)) {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        connection.set_read_timeout(Some(left)).unwrap();
        let mut part = [0; 4096];
        match connection.read(&mut part) {
            Ok(0) => panic!("the connection ended after {octets:?}"),
            Ok(length) => octets.extend_from_slice(&part[..length]),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}"),
        }
    }
}

#[test]
fn a_silent_connection_is_asked_whether_it_is_there() {
    assert!(is_pinged("1", Duration::from_secs(10)));
}

#[test]
fn without_keep_alive_nobody_is_asked() {
    assert!(!is_pinged("0", Duration::from_secs(3)));
}
