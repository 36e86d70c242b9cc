//! How `connect`, `probe` and `bench` reach a server: the same options with the same meaning.

mod common;

use std::io::{self, Read as _, Write as _};
use std::process::{Command, Output};

use common::proxies::{self, Greet, Proxy};
use common::{Folder, Serving, program, run, stderr, stdout};

/// The three commands, each as short as it gets, and what shows that it worked.
const COMMANDS: [(&[&str], &str); 3] = [
    (&["connect", "--http2", "-1"], "hello"),
    (&["probe", "--json"], r#""kind": "works""#),
    (&["bench", "-d", "50ms", "--warm-up", "0s"], ""),
];

fn start(command: &[&str], url: &str, options: &[&str]) -> Command {
    program(&[command, &[url], options].concat())
}

fn done(command: Command) -> Output {
    run(command, "hello\n")
}

/// Runs all three, each of which is to work.
fn all_work(url: &str, options: &[&str]) {
    for (command, shows) in COMMANDS {
        let output = done(start(command, url, options));
        assert!(output.status.success(), "{command:?} {options:?}: {}{}", stdout(&output), stderr(&output));
        assert!(stdout(&output).contains(shows), "{command:?} {options:?}: {}", stdout(&output));
    }
}

/// The name is the proxy's to look up: here is none of that name.
const NOWHERE: &str = "ws://sockeye.invalid:8080/echo";

#[test]
fn a_proxy_connects_for_all_commands() {
    let server = Serving::cleartext();
    let proxy = Proxy::start(server.address(), proxies::connect);
    all_work(NOWHERE, &["--proxy", &format!("http://{}", proxy.address)]);
    let asked = proxy.asked();
    assert!(asked.len() >= 4, "{asked:?}");
    assert!(asked.iter().all(|line| line == "CONNECT sockeye.invalid:8080 HTTP/1.1"), "{asked:?}");
}

#[test]
fn a_socks_proxy_gets_a_name_or_an_address() {
    let server = Serving::cleartext();
    let proxy = Proxy::start(server.address(), proxies::socks);
    all_work(NOWHERE, &["-x", &format!("socks5h://us%65r:pass@{}", proxy.address)]);
    let asked = proxy.asked();
    assert!(asked.iter().all(|host| host == "name sockeye.invalid user:pass"), "{asked:?}");
    let options = ["-x", &format!("socks5://{}", proxy.address), "--resolve", "sockeye.invalid:8080:192.0.2.7"];
    all_work(NOWHERE, &options);
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|host| host == "192.0.2.7"), "{asked:?}");
}

#[test]
fn the_environment_names_a_proxy_for_each_scheme() {
    let server = Serving::cleartext();
    let proxy = Proxy::start(server.address(), proxies::connect);
    let here = format!("{}", proxy.address);
    let probe = |variables: &[(&str, &str)], options: &[&str]| {
        let mut command = start(&["probe", "--timeout", "2"], &server.url(), options);
        command.envs(variables.iter().copied());
        let output = done(command);
        assert!(output.status.success(), "{variables:?} {options:?}: {}", stdout(&output));
        !proxy.asked().is_empty()
    };
    for name in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "ws_proxy"] {
        assert!(probe(&[(name, &here)], &[]), "{name}");
    }
    assert!(!probe(&[("https_proxy", &here)], &[]), "it is for TLS");
    assert!(!probe(&[("http_proxy", &here), ("no_proxy", "127.0.0.1")], &[]));
    assert!(!probe(&[("http_proxy", &here), ("NO_PROXY", "*")], &[]));
    assert!(!probe(&[("http_proxy", &here)], &["--noproxy", "127.0.0.0/8"]));
    assert!(probe(&[("http_proxy", &here), ("no_proxy", "*")], &["--noproxy", ""]));
    assert!(!probe(&[("http_proxy", &here)], &["--proxy", ""]), "an empty one is none");
    assert!(!probe(&[("HTTP_PROXY", &here), ("REQUEST_METHOD", "GET")], &[]), "a request may have set it");
    assert!(probe(&[("http_proxy", "127.0.0.1:1")], &["--proxy", &here]), "the option comes first");
}

/// In no log, however much is logged, and not where something is wrong.
#[test]
fn what_proves_who_one_is_is_never_shown() {
    let server = Serving::cleartext();
    let proxy = Proxy::start(server.address(), proxies::connect);
    let strict = Proxy::start(server.address(), proxies::connect_with_authorization);
    let header =
        ["-H", "Authorization: Bearer OPENSESAME", "-H", "Cookie: id=OPENSESAME", "-H", "X-Api-Key: OPENSESAME"];
    for (command, _) in COMMANDS {
        for (url, works) in [
            (format!("http://user:OPENSESAME@{}", proxy.address), true),
            (format!("http://user:OPENSESAME@{}", strict.address), false),
            (format!("gopher://user:OPENSESAME@{}", proxy.address), false),
        ] {
            for format in ["text", "json"] {
                let verbose: &[&str] = if command[0] == "connect" { &["-v"] } else { &[] };
                let options = [&["--proxy", &url, "--log-format", format], verbose, &header[..]].concat();
                let mut command = start(command, NOWHERE, &options);
                command.env("RUST_LOG", "trace");
                let output = done(command);
                assert_eq!(output.status.success(), works, "{options:?}: {}", stdout(&output));
                for text in [stdout(&output), stderr(&output)] {
                    assert!(!text.contains("OPENSESAME") && !text.contains("dXNlcjpPUEVOU0VTQU1F"), "{text}");
                }
            }
        }
    }
    assert!(proxy.asked().iter().all(|line| line.contains("Basic dXNlcjpPUEVOU0VTQU1F")));
}

#[test]
fn what_a_proxy_refuses_says_what_to_do() {
    let server = Serving::cleartext();
    let strict = Proxy::start(server.address(), proxies::connect_with_authorization);
    let proxy = format!("http://{}", strict.address);
    for (command, _) in COMMANDS {
        let output = done(start(command, NOWHERE, &["--proxy", &proxy]));
        assert_eq!(output.status.code(), Some(1), "{command:?}: {}", stdout(&output));
        let said = format!("{}{}", stdout(&output), stderr(&output));
        for word in [&*proxy, "407", "USER:PASSWORD"] {
            assert!(said.contains(word), "{command:?}: {word} is not in {said}");
        }
        let wrong = done(start(command, NOWHERE, &["--proxy", "ftp://localhost"]));
        assert_eq!(wrong.status.code(), Some(2), "{command:?}");
        assert!(stderr(&wrong).contains("socks5://"), "{}", stderr(&wrong));
    }
}

/// A reset, which what is left unread makes, is no answer that is no HTTP.
#[test]
fn a_proxy_that_gives_no_answer_is_told_from_one_that_speaks_another_protocol() {
    let resets: Greet = |client, _| Ok(client.read(&mut [0])? == 0);
    let speaks: Greet = |client, _| {
        client.write_all(b"SSH-2.0-proxy\r\n\r\n")?;
        io::copy(client, &mut io::sink())?;
        Ok(false)
    };
    for (greet, expected) in [(resets, "without an answer"), (speaks, "its answer is no HTTP/1.1")] {
        let proxy = Proxy::start(([127, 0, 0, 1], 1).into(), greet);
        for (command, _) in COMMANDS {
            let output = done(start(command, NOWHERE, &["--proxy", &format!("http://{}", proxy.address)]));
            let said = format!("{}{}", stdout(&output), stderr(&output));
            assert!(output.status.code() == Some(1) && said.contains(expected), "{command:?}: {said}");
        }
    }
}

#[test]
fn another_address_and_another_place_are_given() {
    let server = Serving::cleartext();
    let port = server.address().port();
    let url = format!("ws://sockeye.invalid:{port}/echo");
    all_work(&url, &["--resolve", &format!("sockeye.invalid:{port}:127.0.0.1")]);
    all_work(&url, &["--resolve", &format!("*:{port}:192.0.2.1"), "--resolve", &format!("*:{port}:127.0.0.1")]);
    all_work(NOWHERE, &["--connect-to", &format!("::127.0.0.1:{port}")]);
    all_work(NOWHERE, &["--connect-to", &format!("sockeye.invalid:8080:127.0.0.1:{port}")]);
}

#[test]
#[cfg(unix)]
fn a_socket_of_the_systems_stands_in_place_of_tcp() {
    use std::net::TcpStream;
    use std::os::unix::net::UnixListener;
    let (server, folder) = (Serving::cleartext(), Folder::new());
    let (address, path) = (server.address(), folder.path("socket"));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            std::thread::spawn(move || proxies::relay(client.unwrap(), TcpStream::connect(address).unwrap()));
        }
    });
    all_work(NOWHERE, &["--unix-socket", path.to_str().unwrap()]);
    let absent = folder.path("absent");
    let output = done(start(&["connect"], NOWHERE, &["--unix-socket", absent.to_str().unwrap()]));
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(absent.to_str().unwrap()), "{}", stderr(&output));
}

/// RFC 9112 §3.2, RFC 9113 §8.3.1: a server with names of its own sees the one that was asked for, over both versions.
#[test]
fn a_host_stands_in_place_of_the_urls() {
    let server = Serving::cleartext();
    for version in ["--http1.1", "--http2"] {
        let options = ["-v", version, "-H", "Host: other.example", "-o", "http://other.example"];
        let output = done(start(&["connect", "-1"], &server.url(), &options));
        assert!(output.status.success(), "the origin is the host's: {}", stderr(&output));
        assert!(stderr(&output).contains("other.example"), "{}", stderr(&output));
    }
    for (command, _) in COMMANDS {
        let output = done(start(command, &server.url(), &["-H", "Host: a b"]));
        assert!(!output.status.success());
        assert!(stderr(&output).contains("Host must be a host"), "{command:?}: {}", stderr(&output));
    }
}

#[test]
fn the_last_of_a_repeated_option_counts() {
    let server = Serving::cleartext();
    let proxy = Proxy::start(server.address(), proxies::connect);
    let options = ["--timeout", "1", "--timeout", "5", "-x", "127.0.0.1:1", "-x", &proxy.address.to_string()];
    all_work(NOWHERE, &options);
    let two = done(program(&["probe", NOWHERE, NOWHERE]));
    assert_eq!(two.status.code(), Some(2), "a second URL is no repetition");
}

#[test]
fn a_message_past_the_limit_is_told() {
    let server = Serving::cleartext();
    let limit = ["--max-message-size", "3"];
    let connect = done(start(&["connect", "--http2"], &server.url(), &limit));
    assert_eq!(connect.status.code(), Some(5), "{}", stderr(&connect));
    let probe = done(start(&["probe"], &server.url(), &limit));
    assert!(!probe.status.success(), "{}", stdout(&probe));
    let bench = done(start(COMMANDS[2].0, &server.url(), &limit));
    assert!(!bench.status.success(), "{}", stdout(&bench));
}
