//! `sockeye gateway` as an operator sees it: what it takes, what it says, and how it is told anew.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::time::Duration;

use common::{Folder, Listening, fetch, nowhere};

/// A server of HTTP/1.1 that answers every request with its name and the path.
fn upstream(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || answer(connection.unwrap(), name));
        }
    });
    format!("http://{address}")
}

fn answer(mut connection: TcpStream, name: &str) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|octets| octets > 0) {
        let path = line.split(' ').nth(1).unwrap().to_owned();
        while !matches!(line.as_str(), "\r\n" | "") {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        let content = format!("{name} has {path}");
        write!(connection, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}", content.len()).unwrap();
        line.clear();
    }
}

fn get(address: &str, path: &str) -> String {
    fetch(address, path).unwrap()
}

fn fails(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_sockeye")).arg("gateway").args(arguments).output().unwrap();
    assert_eq!(status.code(), Some(2), "{}", String::from_utf8_lossy(&stderr));
    assert!(stdout.is_empty());
    String::from_utf8(stderr).unwrap()
}

#[test]
fn routes_lead_to_their_upstreams_and_the_log_says_so() {
    let (all, api) = (upstream("all"), upstream("api"));
    let route = format!("/api={api}");
    let mut gateway = Listening::start("gateway", &[&all, "--route", &route, "--access-log", "json"]);
    let address = gateway.address("listening on ");
    assert_eq!(gateway.line(), format!("/api goes to {api}"));
    assert_eq!(gateway.line(), format!("/ goes to {all}"));
    assert!(get(&address, "/x?token=hush").ends_with("all has /x?token=hush"));
    let line = gateway.line();
    for part in
        ["\"path\":\"/x\"", "\"version\":\"HTTP/1.1\"", "\"websocket\":false", "\"status\":200", "\"end\":\"done\""]
    {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains("hush") && line.contains(&all), "{line}");
    assert!(get(&address, "/api/y").ends_with("api has /api/y"));
    assert!(gateway.line().contains(&api));
}

#[test]
fn an_upstream_that_is_down_is_named_and_one_that_is_back_is_used() {
    let (url, reserved) = nowhere();
    let mut gateway = Listening::start("gateway", &[&url, "--access-log", "off"]);
    let address = gateway.address("listening on ");
    for _ in 0..5 {
        let response = get(&address, "/");
        assert!(response.starts_with("HTTP/1.1 502 ") && response.contains(&url), "{response}");
    }
    reserved.listen(16).unwrap();
    let listener = TcpListener::from(reserved);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            answer(connection.unwrap(), "back");
        }
    });
    assert!(get(&address, "/").ends_with("back has /"), "it is asked although it failed several times");
}

#[test]
fn what_one_upstream_did_not_take_goes_to_another() {
    let ((down, _reserved), up) = (nowhere(), upstream("up"));
    let mut gateway = Listening::start("gateway", &["--upstream", &down, "--upstream", &up, "--access-log", "off"]);
    let address = gateway.address("listening on ");
    for _ in 0..20 {
        assert!(get(&address, "/").ends_with("up has /"));
    }
}

#[test]
fn who_fails_the_check_gets_no_requests() {
    let (down, _reserved) = nowhere();
    let arguments = ["--check", "/healthy", "--check-interval", "10ms", "--access-log", "off"];
    let mut gateway = Listening::start("gateway", &[&[down.as_str()], &arguments[..]].concat());
    let address = gateway.address("listening on ");
    let response = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(20));
        Some(get(&address, "/")).filter(|response| response.starts_with("HTTP/1.1 503 "))
    });
    let response = response.expect("it is out after two checks");
    assert!(response.contains(&down) && response.contains("fails its check"), "{response}");
}

#[test]
fn the_status_page_and_the_metrics_have_a_listener_of_their_own() {
    let all = upstream("all");
    let mut gateway = Listening::start("gateway", &[&all, "--metrics", "127.0.0.1:0", "--access-log", "off"]);
    let address = gateway.address("listening on ");
    let metrics = gateway.address("metrics at ");
    assert!(get(&address, "/status.json").ends_with("all has /status.json"), "the upstream's paths are its own");
    let text = get(&metrics, "/metrics");
    assert!(text.contains("\nsockeye_gateway_requests_total 1\n"), "{text}");
    assert!(text.contains("\nsockeye_requests_total "), "the server's are there, too: {text}");
    assert!(get(&metrics, "/").contains("<title>Sockeye gateway</title>"));
    assert!(get(&metrics, "/status.json").contains(&all));
}

#[test]
#[cfg(unix)]
fn a_hangup_has_the_file_read_again() {
    use nix::sys::signal::Signal::SIGHUP;
    let (one, other) = (upstream("one"), upstream("other"));
    let folder = Folder::new();
    let config = folder.write("reload.toml", &format!("upstream = [\"{one}\"]\naccess-log = \"off\"\n"));
    let mut gateway = Listening::start("gateway", &["--config", &config]);
    let address = gateway.address("listening on ");
    assert!(get(&address, "/").ends_with("one has /"));
    std::fs::write(&config, "upstream = [\"nowhere\"]\n").unwrap();
    gateway.signal(SIGHUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(get(&address, "/").ends_with("one has /"), "what cannot be changes nothing");
    std::fs::write(&config, format!("upstream = [\"{other}\"]\naccess-log = \"off\"\n")).unwrap();
    gateway.signal(SIGHUP);
    let is_changed = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        get(&address, "/").ends_with("other has /")
    });
    assert!(is_changed);
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_it_with_success() {
    let mut gateway = Listening::start("gateway", &[&upstream("all")]);
    gateway.address("listening on ");
    gateway.signal(nix::sys::signal::Signal::SIGINT);
    assert!(gateway.process.wait().unwrap().success());
}

#[test]
fn what_is_wrong_says_what_to_do() {
    assert!(fails(&[]).contains("http://localhost:3000"));
    assert!(fails(&["localhost:3000"]).contains("http://host:port"));
    assert!(fails(&["http://a", "--route", "api=http://b"]).contains("/api=http://localhost:4000"));
    assert!(fails(&["http://a", "--to", "h3"]).contains("h1, h2 and auto"));
    assert!(fails(&["http://a", "--drain", "soon"]).contains("30s"));
    let folder = Folder::new();
    let config = folder.write("wrong.toml", "upstreams = []\n");
    let error = fails(&["--config", &config]);
    assert!(error.contains("wrong.toml") && error.contains("line 1") && error.contains("upstreams"), "{error}");
}

/// What a flag says, a file may say by the same name.
#[test]
fn each_flag_has_its_name_in_the_file() {
    let folder = Folder::new();
    let config = folder.write("unknown.toml", "x = 1\n");
    let known = fails(&["--config", &config]);
    let help = Command::new(env!("CARGO_BIN_EXE_sockeye")).args(["gateway", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.lines().filter_map(|line| line.strip_prefix("      --")?.split(' ').next());
    let flags: Vec<_> = flags.filter(|flag| !matches!(*flag, "config" | "log-format")).collect();
    assert!(flags.len() > 30, "{help}");
    for flag in flags {
        assert!(known.contains(&format!("`{flag}`")), "{flag}: {known}");
    }
}

#[test]
fn what_no_flag_may_say_no_file_may() {
    let folder = Folder::new();
    for (line, word) in [
        ("max-connections = 0", "max-connections is zero"),
        ("max-connections-per-address = 0", "max-connections-per-address is zero"),
        ("keep-for = [\"10.0.0.0/33\"]", "10.0.0.0/8"),
        ("keep-alive = \"soon\"", "30s"),
    ] {
        let config = folder.write("wrong.toml", &format!("upstream = [\"http://a\"]\n{line}\n"));
        let error = fails(&["--config", &config]);
        assert!(error.contains(word), "{line}: {error}");
    }
}
