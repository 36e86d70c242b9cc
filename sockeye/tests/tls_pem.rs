//! TLS by PEM files. No call of ours may ask for the process's default provider of cryptography, which is a panic in a program
//! whose dependencies bring two along: so this process has no other tests.

#![cfg(all(feature = "tls", feature = "web-socket"))]

#[allow(unused_imports, reason = "other tests name more of it")]
mod common;

use std::error::Error as _;

use common::{echo, start, within};
use http::Version;
use rustls::crypto::CryptoProvider;
use sockeye::{Client, Error, Server, websocket};

struct Pem {
    certificate: String,
    key: String,
}

fn make() -> Pem {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    Pem { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
}

#[tokio::test]
async fn no_call_asks_for_a_default_provider() {
    let pem = make();
    let server = Server::new().tls_pem(&pem.certificate, &pem.key).unwrap();
    let running = start(server, websocket(echo)).await;
    let url = format!("wss://localhost:{}", running.addr.port());
    let trusting = Client::builder().root_pem(&pem.certificate);
    for (builder, version) in [(trusting.clone(), Version::HTTP_2), (trusting.http1_only(), Version::HTTP_11)] {
        let client = within(builder.connect(&url)).await.unwrap();
        let mut socket = within(client.open("/").into_future()).await.unwrap();
        assert_eq!(socket.version(), version);
        socket.send("hello").await.unwrap();
        assert_eq!(within(socket.recv()).await.unwrap(), Some("hello".into()));
    }
    // Those that come with the system are not trusted beside it, nor is another.
    for builder in [Client::builder(), Client::builder().root_pem(make().certificate)] {
        let Err(error) = within(builder.connect(&url)).await else { panic!("a stranger was trusted") };
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    }
    assert!(CryptoProvider::get_default().is_none(), "a process-wide provider was asked for");
}

/// The last of several says whom to trust.
#[tokio::test]
async fn the_last_root_counts() {
    let pem = make();
    let running = start(Server::new().tls_pem(&pem.certificate, &pem.key).unwrap(), websocket(echo)).await;
    let builder = Client::builder().root_pem(make().certificate).root_pem(&pem.certificate);
    within(builder.connect(&format!("wss://localhost:{}", running.addr.port()))).await.unwrap();
}

/// Bad input gets an error that says what is wrong.
#[tokio::test]
async fn wrong_files_are_named() {
    let (one, other) = (make(), make());
    for (chain, key, told) in [
        ("", &one.key[..], "no certificate"),
        ("no PEM", &one.key, "no certificate"),
        (&one.key, &one.key, "no certificate"),
        (&one.certificate, "", "no private key"),
        (&one.certificate, &one.certificate, "no private key"),
        (&one.certificate, &other.key, "cannot be used"),
        (&one.certificate[..80], &one.key, "no PEM"),
        (&one.certificate, &one.key[..80], "no PEM"),
    ] {
        let error = Server::new().tls_pem(chain, key).unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && chain_of(&error).contains(told), "{told}: {}", chain_of(&error));
    }
    for (pem, told) in [("", "no certificate"), (&one.key[..], "no certificate"), (&one.certificate[..80], "no PEM")] {
        let error = Client::builder().root_pem(pem).connect("wss://localhost").await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)) && chain_of(&error).contains(told), "{told}: {}", chain_of(&error));
    }
}

fn chain_of(error: &Error) -> String {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}
