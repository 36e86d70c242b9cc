//! What `serve` takes for addresses, and what it has beside the echo.

mod common;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use common::{Folder, Serving, connect, get, program, run, stderr, stdout};

#[test]
fn a_name_an_address_or_nothing_says_where_to_listen() {
    let port = |listen: &str| {
        let serving = Serving::start(&["--cleartext", "--listen", listen]);
        let addresses = serving.addresses();
        for address in &addresses {
            let reached =
                if address.ip().is_unspecified() { ([127, 0, 0, 1], address.port()).into() } else { *address };
            assert!(get(reached, "/").0.starts_with("HTTP/1.1 200 "), "{listen}");
        }
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port()), "{addresses:?}");
        addresses.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>()
    };
    assert!(port("localhost:0").contains(&"127.0.0.1".to_owned()));
    assert_eq!(port("127.0.0.1:0"), ["127.0.0.1"]);
    let all = port(":0");
    assert!(all == ["::"] || all == ["0.0.0.0"], "{all:?}");
    for wrong in ["localhost", "8080", "::1:8080", "[localhost]:80", "a b:80", "localhost:x", "http://localhost:80"] {
        let output = program(&["serve", "--listen", wrong]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains("localhost:8080"), "{wrong}: {}", stderr(&output));
    }
    let output = program(&["serve", "--listen", "sockeye.invalid:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn there_may_be_several_addresses() {
    let serving = Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0"]);
    let addresses = serving.addresses();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert!(get(address, "/stats").0.starts_with("HTTP/1.1 200 "), "{address}");
    }
}

#[test]
fn the_link_leads_to_a_page_that_starts_at_once() {
    let serving = Serving::cleartext();
    let link = serving.said.last().unwrap();
    assert!(link.ends_with(&format!("http://localhost:{}/?start", serving.address().port())), "{link}");
    let (head, page) = get(serving.address(), "/?start");
    assert!(head.contains("text/html") && page.contains("get(\"start\")"));
}

/// A folder with a page and what a page needs, something hidden, and ways out.
fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("site/index.html", "<title>mine</title>");
    folder.write("site/app.js", "let a;");
    folder.write("site/app.wasm", "");
    folder.write("site/data/table.json", "{}");
    folder.write("site/data/a b.txt", "grüß dich");
    folder.write("site/.env", "SECRET");
    folder.write("site/.git/config", "SECRET");
    folder.write("site/.well-known/a.txt", "known");
    folder.write("SECRET.txt", "SECRET");
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("../SECRET.txt", folder.path("site/out.txt")).unwrap();
        symlink("..", folder.path("site/up")).unwrap();
        symlink("app.js", folder.path("site/same.js")).unwrap();
    }
    folder
}

/// What is no file is not opened: a pipe would hold a thread of those that read files, each time that it is asked for.
#[cfg(unix)]
#[test]
fn a_pipe_is_no_file() {
    let folder = folder();
    assert!(std::process::Command::new("mkfifo").arg(folder.path("site/pipe")).status().unwrap().success());
    let serving =
        Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--dir", folder.path("site").to_str().unwrap()]);
    let (head, _) = get(serving.address(), "/pipe");
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[test]
fn files_have_their_types_beside_the_echo() {
    let folder = folder();
    let serving =
        Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--dir", folder.path("site").to_str().unwrap()]);
    let rows = [
        ("/", "text/html; charset=utf-8", "<title>mine</title>"),
        ("/index.html", "text/html; charset=utf-8", "<title>mine</title>"),
        ("/?start", "text/html; charset=utf-8", "<title>mine</title>"),
        ("/app.js", "text/javascript; charset=utf-8", "let a;"),
        ("/app.wasm", "application/wasm", ""),
        ("/data/table.json", "application/json", "{}"),
        ("/data/a%20b.txt", "text/plain; charset=utf-8", "grüß dich"),
        ("/.well-known/a.txt", "text/plain; charset=utf-8", "known"),
    ];
    let page = format!("the folder's page: http://localhost:{}/", serving.address().port());
    assert_eq!(serving.said.last(), Some(&page), "there is no other to start sockets");
    for (path, content_type, content) in rows {
        let (head, got) = get(serving.address(), path);
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{path}: {head}");
        assert_eq!(got, content, "{path}");
    }
    let output = run(program(&["connect", "-1", &serving.url()]), "hello\n");
    assert_eq!(stdout(&output), "hello\n");
    assert!(get(serving.address(), "/stats").1.starts_with('{'));
    assert!(get(serving.address(), "/echo").0.starts_with("HTTP/1.1 426 "));
}

/// RFC 9110 §15.5.6: what is there is not said to be missing where only the method is wrong.
#[test]
fn a_file_and_the_chat_are_not_missing_for_another_method() {
    let folder = folder();
    let serving = Serving::start(
        &[
            &["--cleartext", "--listen", "127.0.0.1:0", "--hub", "local", "--dir"],
            &[folder.path("site").to_str().unwrap()][..],
        ]
        .concat(),
    );
    for path in ["/app.js", "/data/", "/topics", "/topics.js", "/topics/a"] {
        let request = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let mut stream = TcpStream::connect(serving.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(
            response.starts_with("HTTP/1.1 405 ") && response.contains("allow: GET, HEAD\r\n"),
            "{path}: {response}"
        );
    }
}

/// RFC 9110 §14.2: what is no range that a part can answer is ignored, and so is one of another file than the client knows (§13.1.5).
#[test]
fn a_range_is_answered_by_its_part_and_what_is_none_by_the_whole() {
    let folder = Folder::new();
    folder.write("a.txt", "0123456789");
    folder.write("empty.txt", "");
    let serving =
        Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--dir", folder.path("").to_str().unwrap()]);
    let ask = |method: &str, path: &str, fields: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n\r\n");
        let mut stream = std::net::TcpStream::connect(serving.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, content) = response.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), content.to_owned())
    };
    let (head, _) = ask("GET", "/a.txt", "");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let (same, other) = (format!("range: bytes=2-3\r\nif-range: {etag}"), "range: bytes=2-3\r\nif-range: \"other\"");
    let whole = "0123456789";
    let rows = [
        ("range: bytes=2-3", "206", "23"),
        ("range: bytes=8-", "206", "89"),
        ("range: bytes=8-99", "206", "89"),
        ("range: bytes=-2", "206", "89"),
        ("range: bytes=10-", "416", ""),
        ("range: bytes=-99", "200", whole),
        ("range: bytes=0-1,4-5", "200", whole),
        ("range: bytes=3-2", "200", whole),
        ("range: bytes=a-b", "200", whole),
        ("range: bytes=-", "200", whole),
        ("range: bytes=0-99999999999999999999", "200", whole),
        ("range: lines=0-1", "200", whole),
        (&same, "206", "23"),
        (other, "200", whole),
        ("range: bytes=2-3\r\nif-range: Mon, 30 Nov 2020 07:44:46 GMT", "200", whole),
    ];
    for (fields, status, content) in rows {
        let (head, got) = ask("GET", "/a.txt", fields);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {head}");
        assert_eq!(got, content, "{fields}");
    }
    for (method, path) in [("HEAD", "/a.txt"), ("GET", "/empty.txt")] {
        let (head, content) = ask(method, path, "range: bytes=0-");
        assert!(head.starts_with("HTTP/1.1 200 ") && !head.contains("content-range"), "{method} {path}: {head}");
        assert_eq!(content, "");
    }
}

#[test]
fn nothing_leads_out_of_the_folder() {
    let folder = folder();
    let serving =
        Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--dir", folder.path("site").to_str().unwrap()]);
    let paths = [
        "/../SECRET.txt",
        "/data/../../SECRET.txt",
        "/%2e%2e/SECRET.txt",
        "/..%2fSECRET.txt",
        "/%2e%2e%2fSECRET.txt",
        "/..%5cSECRET.txt",
        "//SECRET.txt",
        "/./../SECRET.txt",
        "/data/%2e./%2e./SECRET.txt",
        "/out.txt",
        "/up/SECRET.txt",
        "/.env",
        "/.git/config",
        "/%2eenv",
        "/data/../.env",
        "/%00",
        "/index.html/..",
        "//etc/passwd",
        "/nothing",
        "/data//",
    ];
    for path in paths {
        let (head, content) = get(serving.address(), path);
        assert!(!content.contains("SECRET") && !content.contains("root:"), "{path}: {content}");
        assert!(head.starts_with("HTTP/1.1 4") || head.starts_with("HTTP/1.1 30"), "{path}: {head}");
        assert!(!head.contains("location: //"), "{path}: {head}");
    }
    if cfg!(unix) {
        assert_eq!(get(serving.address(), "/same.js").1, "let a;", "a link that stays inside is followed");
    }
    let output = program(&["serve", "--dir", "/nowhere"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere"));
}

/// A warning says something of the folder. What does not exist is asked for by whoever likes, as often as he likes.
#[test]
fn what_is_not_there_is_no_warning() {
    let folder = folder();
    let (site, log) = (folder.path("site"), folder.path("log"));
    std::fs::remove_file(folder.path("site/index.html")).unwrap();
    let arguments = ["--cleartext", "--listen", "127.0.0.1:0", "--dir", site.to_str().unwrap()];
    let serving = Serving::start_with_log(&arguments, std::fs::File::create(&log).unwrap());
    let long = format!("/{}", "a".repeat(300));
    for path in ["/", "/nothing", "/app.js/below", "/%00", "/.env", &long] {
        for method in ["GET", "HEAD"] {
            let mut connection = connect(&serving.address().to_string()).unwrap();
            write!(connection, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
            let mut response = String::new();
            connection.read_to_string(&mut response).unwrap();
            let status = if path == "/" { "200" } else { "404" };
            assert_eq!(response.get(9..12), Some(status), "{method} {path}: {response}");
        }
    }
    assert_eq!(std::fs::read_to_string(log).unwrap(), "");
}

#[test]
fn a_folder_without_a_page_leaves_the_programs_own() {
    let folder = Folder::new();
    folder.write("a.txt", "a");
    let path = folder.path("");
    let serving = Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--dir", path.to_str().unwrap()]);
    assert!(get(serving.address(), "/").1.contains("Sockeye"));
    assert_eq!(get(serving.address(), "/a.txt").1, "a");
}

/// More than a connection's buffers take, and nothing on the disk.
const LARGE: u64 = 24 << 20;

/// A folder with a large file, and its server.
fn large() -> (Folder, Serving) {
    let folder = Folder::new();
    let path = folder.write("large", "");
    std::fs::File::options().write(true).open(path).unwrap().set_len(LARGE).unwrap();
    let serving =
        Serving::start(&["--cleartext", "--listen", "127.0.0.1:0", "--dir", folder.path("").to_str().unwrap()]);
    (folder, serving)
}

/// Asks for the large file, and reads nothing but its beginning.
fn begin(serving: &Serving) -> TcpStream {
    let mut connection = connect(&serving.address().to_string()).unwrap();
    write!(connection, "GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut status = [0; 12];
    connection.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    connection
}

/// A client that takes nothing of what it asks for would hold an open file for each request, of which a process has few thousand.
#[cfg(target_os = "linux")]
#[test]
fn a_download_that_nobody_takes_holds_no_open_file() {
    let (folder, serving) = large();
    let mut stalled: Vec<_> = (0..20).map(|_| begin(&serving)).collect();
    let path = folder.path("large").canonicalize().unwrap();
    let holds = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", serving.pid())).unwrap();
        open.filter(|file| std::fs::read_link(file.as_ref().unwrap().path()).is_ok_and(|of| of == path)).count()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    // Each has some left to read until its transport is full.
    while holds() > 0 {
        assert!(std::time::Instant::now() < deadline, "{} are open", holds());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let mut response = Vec::new();
    stalled[0].read_to_end(&mut response).unwrap();
    assert!(response.len() as u64 > LARGE, "it goes on where it stood: {}", response.len());
}

/// What has changed is another file, and does not go on from where its former content stood.
#[test]
fn a_file_that_changes_while_it_is_sent_breaks_off() {
    let (folder, serving) = large();
    let mut connection = begin(&serving);
    let other = folder.write("other", "");
    std::fs::File::options().write(true).open(&other).unwrap().set_len(LARGE).unwrap();
    std::fs::rename(other, folder.path("large")).unwrap();
    let mut response = Vec::new();
    connection.read_to_end(&mut response).ok();
    assert!((response.len() as u64) < LARGE, "{}", response.len());
}
