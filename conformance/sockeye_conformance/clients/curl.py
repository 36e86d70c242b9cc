#!/usr/bin/env python3
"""Ordinary requests with curl, over both HTTP versions, in cleartext and over TLS; and many at once with h2load."""

import json
import re
import subprocess
import time
from typing import Any

from ..harness import Report, Server

# How curl is told to speak which version, and which one it then has to report.
MODES = {
    False: {"HTTP/1.1": ("--http1.1", "1.1"), "HTTP/2 by prior knowledge": ("--http2-prior-knowledge", "2")},
    True: {"HTTP/1.1": ("--http1.1", "1.1"), "HTTP/2 by ALPN": ("--http2", "2")},
}
MEBIBYTE = 1 << 20


class Curl:
    def __init__(self, url: Any, version_option: Any, version: str) -> None:
        self.url, self.option, self.version = url, version_option, version

    def command(self, path: str, *options: Any) -> Any:
        report = "\n%{http_code} %{http_version} %{content_type}"
        return ["curl", "-sS", "-k", "--max-time", "10", self.option, "-w", report, *options, self.url + path]

    def __call__(self, path: str, *options: Any, stdin: Any = None) -> Any:
        """Status, Content-Type and body of the response."""
        done = subprocess.run(self.command(path, *options), input=stdin, capture_output=True, timeout=20)
        if done.returncode:
            raise AssertionError(f"curl: {done.stderr.decode().strip()} (exit status {done.returncode})")
        return self.parse(done.stdout)

    def parse(self, output: Any) -> Any:
        body, _, last = output.rpartition(b"\n")
        status, version, content_type = [*last.decode().split(" ", 2), ""][:3]
        equal(version, self.version, "HTTP version")
        return int(status), content_type, body


def equal(actual: Any, expected: Any, what: str) -> None:
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r:.100}, wanted {expected!r:.100}")


def get_page(curl: Any) -> None:
    status, content_type, body = curl("/")
    equal((status, content_type.split(";")[0]), (200, "text/html"), "answer")
    equal(b"<html" in body.lower() and b"/echo" in body, True, "the page")


def get_stats(curl: Any) -> None:
    status, content_type, body = curl("/stats")
    equal((status, content_type.split(";")[0]), (200, "application/json"), "answer")
    own = [connection for connection in json.loads(body)["connections"] if connection["you"]]
    version = {"2": "HTTP/2", "1.1": "HTTP/1.1"}[curl.version]
    equal([(connection["version"], connection["sockets"]) for connection in own], [(version, 0)], "our connection")


def get_nothing(curl: Any) -> None:
    equal(curl("/no/such/path")[0], 404, "status")


def get_echo(curl: Any) -> None:
    """A WebSocket route that is asked without a handshake says so: an error of the client."""
    equal(curl("/echo")[0] // 100, 4, "status / 100")


def post_echo(curl: Any) -> None:
    """So does it to much content, whose end it awaits: curl fails where the answer comes before."""
    status = {"2": 405, "1.1": 426}[curl.version]
    equal(curl("/echo", "--data-binary", "@-", stdin=bytes(2 * MEBIBYTE))[0], status, "status")


def head(curl: Any) -> None:
    status, content_type, body = curl("/", "--head")
    equal((status, content_type.split(";")[0]), (200, "text/html"), "answer")
    equal(b"<html" in body.lower(), False, "a body")


def post(curl: Any) -> None:
    equal(curl("/", "--data", "hello")[0], 200, "status")


def post_much(curl: Any) -> None:
    equal(curl("/", "--data-binary", "@-", stdin=bytes(MEBIBYTE))[0], 200, "status")


def post_when_told(curl: Any) -> None:
    """curl sends the content once it is told to, and else waits a second (RFC 9110, 10.1.1)."""
    started = time.monotonic()
    status, _, body = curl("/", "--data-binary", "@-", "-H", "Expect: 100-continue", stdin=bytes(MEBIBYTE))
    equal((status, body), (200, b"%d octets received.\n" % MEBIBYTE), "answer")
    equal(time.monotonic() - started < 0.9, True, "sent at once")


def many_cookies(curl: Any) -> None:
    """As many as a browser has for one site."""
    cookies = "; ".join(f"cookie-{number:03}=value" for number in range(150))
    equal(curl("/", "-H", f"Cookie: {cookies}")[0], 200, "status")


def date(curl: Any) -> None:
    """RFC 9110, 6.6.1."""
    done = subprocess.run(curl.command("/no/such/path", "-D", "-"), capture_output=True, timeout=20)
    dates = re.findall(rb"(?im)^date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r$", done.stdout)
    equal(len(dates), 1, f"dates in {done.stdout[:300]!r}")


def post_nowhere(curl: Any) -> None:
    equal(curl("/no/such/path", "--data", "hello")[0], 404, "status")


def post_slowly(curl: Any) -> None:
    """The answer waits for the end of the body."""
    command = curl.command("/", "--no-buffer", "-X", "POST", "-T", "-", "-H", "Expect:")
    process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(b"first half, ")
    process.stdin.flush()
    time.sleep(0.5)
    equal(process.poll(), None, "curl's exit status before the body's end")
    output, errors = process.communicate(b"second half", timeout=20)
    equal((process.returncode, errors), (0, b""), "curl's exit")
    equal(curl.parse(output)[0], 200, "status")


def twice(curl: Any) -> None:
    """Two requests on one connection."""
    done = subprocess.run([*curl.command("/stats"), curl.url + "/stats"], capture_output=True, timeout=20)
    ids = re.findall(rb'"id":\s*(\d+)[^}]*"you":\s*true', done.stdout)
    equal((len(ids), len(set(ids))), (2, 1), f"answers, connections in {done.stdout[:200]!r}")


CHECKS = {
    "GET / is the page": get_page,
    "GET /stats knows our connection": get_stats,
    "GET of an unknown path is 404": get_nothing,
    "GET /echo without a handshake is an error": get_echo,
    "POST of 2 MiB to /echo is refused once its body has ended": post_echo,
    "HEAD / has no body": head,
    "POST / is answered": post,
    "POST of 1 MiB is answered": post_much,
    "POST is answered once its body has ended": post_slowly,
    "POST is told to go on where it asks for that": post_when_told,
    "GET with 150 cookies is answered": many_cookies,
    "an answer has a date": date,
    "POST to an unknown path is 404": post_nowhere,
    "two requests share a connection": twice,
}


def many(url: Any) -> None:
    """2,000 requests on 4 connections, 20 at a time on each."""
    done = subprocess.run(
        ["h2load", "-n", "2000", "-c", "4", "-m", "20", f"{url}/stats"], capture_output=True, text=True, timeout=60
    )
    equal(re.findall(r"(\d+) succeeded, (\d+) failed", done.stdout), [("2000", "0")], "requests")


def main() -> None:
    report = Report()
    for tls, modes in MODES.items():
        with Server(tls=tls) as server:
            url = f"{'https' if tls else 'http'}://localhost:{server.address[1]}"
            over = "TLS" if tls else "cleartext"
            for mode, (option, version) in modes.items():
                for name, check in CHECKS.items():
                    if check is twice and "prior knowledge" in mode:
                        continue  # curl 7.88 cannot use such a connection again, whoever serves it
                    report.run(f"curl, {over}, {mode}: {name}", lambda: check(Curl(url, option, version)))
            report.run(f"h2load, {over}: 2,000 requests on 4 connections", lambda: many(url))
    report.finish()


if __name__ == "__main__":
    main()
