//! TLS of `connect`, `probe` and `bench`: whom they trust, who they are, and what they leave for who debugs.

mod common;

use std::io::Read as _;
use std::net::{Shutdown, TcpListener};
use std::process::Output;
use std::sync::Arc;
use std::thread;

use common::{Folder, Serving, program, run, stderr, stdout};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

const COMMANDS: [&[&str]; 3] = [&["connect", "-1"], &["probe"], &["bench", "-d", "50ms", "--warm-up", "0s"]];

/// An issuer, with a certificate of a server and one of a client: paths.
struct Certificates {
    folder: Folder,
    ca: String,
    server: [String; 2],
    client: [String; 2],
}

impl Certificates {
    fn new() -> Self {
        let folder = Folder::new();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |name: &str, purpose| {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            [
                folder.write(&format!("{name}.pem"), &certificate.pem()),
                folder.write(&format!("{name}.key"), &key.serialize_pem()),
            ]
        };
        let ca = folder.write("ca.pem", &issuer.pem());
        let server = issue("localhost", ExtendedKeyUsagePurpose::ServerAuth);
        let client = issue("client", ExtendedKeyUsagePurpose::ClientAuth);
        Self { ca, server, client, folder }
    }

    fn serve(&self) -> Serving {
        Serving::start(&["--listen", "127.0.0.1:0", "--cert", &self.server[0], "--key", &self.server[1]])
    }
}

fn done(command: &[&str], url: &str, options: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = program(&[command, &[url], options].concat());
    command.envs(variables.iter().copied());
    run(command, "hello\n")
}

#[test]
fn certificates_of_a_file_are_trusted_in_place_of_the_systems() {
    let certificates = Certificates::new();
    let server = certificates.serve();
    let url = format!("wss://localhost:{}/echo", server.address().port());
    for command in COMMANDS {
        let output = done(command, &url, &["--cacert", &certificates.ca], &[]);
        assert!(output.status.success(), "{command:?}: {}{}", stdout(&output), stderr(&output));
        // The server's own is none of an issuer, and the file of a key holds none at all.
        let output = done(command, &url, &["--cacert", &certificates.client[1]], &[]);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("no certificate"), "{}", stderr(&output));
    }
    let output = done(&["connect"], &url, &["--cacert", &certificates.client[0]], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--cacert"), "it says what to do: {}", stderr(&output));
}

/// The names of a certificate are those of the URL, wherever that leads.
#[test]
fn the_name_in_the_certificate_is_the_urls() {
    let certificates = Certificates::new();
    let server = certificates.serve();
    let there = format!("::127.0.0.1:{}", server.address().port());
    for command in COMMANDS {
        let options = ["--cacert", &certificates.ca, "--connect-to", &there, "-H", "Host: other.example"];
        let output = done(command, "wss://localhost/echo", &options, &[]);
        assert!(output.status.success(), "{command:?}: {}{}", stdout(&output), stderr(&output));
        let output = done(command, "wss://other.example/echo", &options, &[]);
        assert_ne!(output.status.code(), Some(0), "{command:?}");
    }
}

/// An URL for the other scheme than the port's is a slip that each command names, over either version of HTTP.
#[test]
fn the_scheme_to_try_is_said() {
    let secure = Serving::start(&["--listen", "127.0.0.1:0"]);
    let cleartext = Serving::cleartext();
    let rows = [(secure.url(), "try wss://"), (cleartext.url().replace("ws://", "wss://"), "try ws://")];
    for (url, part) in rows {
        for (command, options) in [
            (COMMANDS[0], &[][..]),
            (COMMANDS[0], &["--http2"]),
            (COMMANDS[0], &["--http1.1"]),
            (COMMANDS[1], &[]),
            (COMMANDS[2], &["--http2"]),
            (COMMANDS[2], &["--http1.1"]),
        ] {
            let output = done(command, &url, options, &[]);
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert!(said.contains(part), "{command:?} {options:?} {url}: {said}");
            // No connection; but for probe where HTTP/2 in cleartext is what nobody has to speak.
            let status = if command == COMMANDS[1] && part == "try wss://" { 5 } else { 1 };
            assert_eq!(output.status.code(), Some(status), "{command:?} {options:?} {url}: {said}");
        }
    }
    // A proxy has schemes of its own.
    let certificates = Certificates::new();
    let options = ["--proxy", &format!("https://{}", cleartext.address()), "--cacert", &certificates.ca];
    for command in COMMANDS {
        let output = done(command, "ws://sockeye.invalid/", &options, &[]);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(said.contains("(try http://)") && !said.contains("try ws://"), "{command:?}: {said}");
    }
    // What is to be done about its certificate is said once, and -k is nothing that helps.
    let options = ["-k", "--proxy", &format!("https://{}", secure.address())];
    for command in COMMANDS {
        let output = done(command, "ws://sockeye.invalid/", &options, &[]);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert_eq!(said.matches("-k takes any certificate but a proxy's").count(), 1, "{command:?}: {said}");
    }
}

#[test]
fn secrets_of_sessions_are_left_where_they_are_wanted() {
    let certificates = Certificates::new();
    let server = certificates.serve();
    let url = format!("wss://localhost:{}/echo", server.address().port());
    for command in COMMANDS {
        let path = certificates.folder.path(&format!("{}.keys", command[0]));
        let variables = [("SSLKEYLOGFILE", path.to_str().unwrap())];
        let output = done(command, &url, &["--cacert", &certificates.ca], &variables);
        assert!(output.status.success(), "{command:?}: {}", stderr(&output));
        let keys = std::fs::read_to_string(&path).unwrap();
        assert!(keys.contains("CLIENT_TRAFFIC_SECRET_0 "), "{command:?}: {keys}");
        let nowhere = [("SSLKEYLOGFILE", "/nowhere/keys")];
        let output = done(command, &url, &["--cacert", &certificates.ca], &nowhere);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        if cfg!(target_os = "linux") {
            let full = [("SSLKEYLOGFILE", "/dev/full")];
            let output = done(command, &url, &["--cacert", &certificates.ca], &full);
            assert_eq!(stderr(&output).matches("warning: cannot write /dev/full").count(), 1, "{}", stderr(&output));
        }
    }
}

/// TLS of a server that asks for a certificate.
fn asking(certificates: &Certificates) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.ca).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let chain = vec![CertificateDer::from_pem_file(&certificates.server[0]).unwrap()];
    let key = PrivateKeyDer::from_pem_file(&certificates.server[1]).unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let mut config = config.unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A server that asks for a certificate: what it was shown, for each connection.
fn asking_server(certificates: &Certificates) -> (u16, thread::JoinHandle<Vec<bool>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, config) = (listener.local_addr().unwrap().port(), asking(certificates));
    let thread = thread::spawn(move || {
        let shown = COMMANDS.map(|_| {
            let (mut client, _) = listener.accept().unwrap();
            let mut tls = ServerConnection::new(config.clone()).unwrap();
            Stream::new(&mut tls, &mut client).read_exact(&mut [0]).ok();
            tls.peer_certificates().is_some()
        });
        // The others are turned away.
        drop(listener);
        shown.to_vec()
    });
    (port, thread)
}

#[test]
fn a_server_that_asks_is_shown_a_certificate() {
    let certificates = Certificates::new();
    for (cert, key) in [(&certificates.client[0], Some(&certificates.client[1])), (&both(&certificates), None)] {
        let (port, shown) = asking_server(&certificates);
        let url = format!("wss://localhost:{port}/echo");
        let there = format!("::127.0.0.1:{port}");
        let mut options = vec!["--cacert", &certificates.ca, "--cert", cert, "--connect-to", &there];
        options.extend(key.into_iter().flat_map(|key| ["--key", key.as_str()]));
        // Each ends its connection once it was shown; probe makes a second one, where nobody listens any more.
        for command in [COMMANDS[0], COMMANDS[2], COMMANDS[1]] {
            done(command, &url, &options, &[]);
        }
        assert_eq!(shown.join().unwrap(), [true; 3]);
    }
    let output =
        done(&["probe"], "wss://localhost/", &["--cert", &certificates.ca, "--key", &certificates.client[1]], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("do not go together"), "{}", stderr(&output));
}

/// What is wrong with a file is said, not what the parser calls it; of a server's as well.
#[test]
fn a_key_that_cannot_be_used_says_why() {
    let certificates = Certificates::new();
    let [cert, key] = &certificates.client;
    let encrypted = certificates.folder.write("encrypted.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n");
    let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n-----END EC PRIVATE KEY-----\n";
    let legacy = certificates.folder.write("legacy.key", legacy);
    let rows = [
        (cert, &encrypted, "is encrypted: openssl pkey"),
        (cert, &legacy, "is encrypted: openssl pkey"),
        (cert, cert, "there is none (PEM is wanted)"),
        (cert, &certificates.server[1], "the key is not that of the first certificate"),
        (&certificates.folder.path("none").display().to_string(), key, "no such file"),
    ];
    for (cert, key, part) in rows {
        for command in [&["connect", "wss://localhost/"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            let output = run(program(&[command, &["--cert", cert, "--key", key]].concat()), "");
            assert!(!output.status.success() && stderr(&output).contains(part), "{command:?}: {}", stderr(&output));
        }
    }
}

/// The alert comes after the handshake (RFC 8446 §4.4.2.4), where the answer to what was asked would be.
#[test]
fn a_server_that_wants_a_certificate_is_not_taken_for_one_that_is_broken() {
    let certificates = Certificates::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (url, config) = (format!("wss://{}/", listener.local_addr().unwrap()), asking(&certificates));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut tls) = (client.unwrap(), ServerConnection::new(config.clone()).unwrap());
            Stream::new(&mut tls, &mut client).read_exact(&mut [0]).unwrap_err();
            // What the client has said meanwhile is read, or the alert would be lost in a reset.
            client.shutdown(Shutdown::Write).unwrap();
            client.read_to_end(&mut Vec::new()).ok();
        }
    });
    let there = url.replacen("127.0.0.1", "localhost", 1);
    for command in COMMANDS {
        for version in [&["--http2"][..], &["--http1.1"]] {
            let version = if command == COMMANDS[1] { &[][..] } else { version };
            let output = done(command, &there, &[&["--cacert", &certificates.ca][..], version].concat(), &[]);
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert!(said.contains("certificate required (its alert) (--cert FILE"), "{command:?} {version:?}: {said}");
            assert_eq!(output.status.code(), Some(1), "{command:?} {version:?}: {said}");
        }
    }
}

/// One file with a client's certificate and its key.
fn both(certificates: &Certificates) -> String {
    let read = |path: &String| std::fs::read_to_string(path).unwrap();
    certificates.folder.write("both.pem", &(read(&certificates.client[0]) + &read(&certificates.client[1])))
}
