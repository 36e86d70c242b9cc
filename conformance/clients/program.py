#!/usr/bin/env python3
"""The program itself: how `sockeye serve` starts, refuses to start, and ends."""

import hashlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import PROGRAM, Report, Server, tls_context  # noqa: E402


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, wanted {expected!r}")


def refuses(*arguments):
    """A mistake of the person's: one clear line on stderr, nothing on stdout, and a non-zero exit status."""
    done = subprocess.run([PROGRAM, "serve", *arguments], capture_output=True, text=True, timeout=10)
    if done.returncode == 0 or done.stdout:
        raise AssertionError(f"exit status {done.returncode}, stdout {done.stdout!r}")
    lines = done.stderr.strip().splitlines()
    if not lines or "panicked" in done.stderr or "backtrace" in done.stderr.lower():
        raise AssertionError(f"stderr {done.stderr!r}")
    return lines


def refuses_in_one_line(*arguments):
    equal(len(refuses(*arguments)), 1, f"lines on stderr for {arguments}")


def port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refuses_in_one_line("--listen", f"127.0.0.1:{taken.getsockname()[1]}")


def certificate_served(address):
    with socket.create_connection(address, timeout=5) as raw:
        with tls_context("h2").wrap_socket(raw, server_hostname="localhost") as connection:
            return connection.getpeercert(binary_form=True)


def fingerprint_printed():
    """Without --cert, the fingerprint of the certificate made at the start is shown, so that a client can pin it."""
    command = [PROGRAM, "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = ""
            while "listening on" not in said:
                line = process.stdout.readline()
                if not line:
                    raise AssertionError(f"ended after {said!r}")
                said += line
            port = int(said.split("listening on https://127.0.0.1:")[1].split()[0])
            fingerprint = hashlib.sha256(certificate_served(("127.0.0.1", port))).hexdigest()
            process.send_signal(signal.SIGINT)
            said += process.stdout.read()
        finally:
            process.kill()
    if fingerprint not in said.lower().replace(":", ""):
        raise AssertionError(f"no {fingerprint} in {said!r}")


def certificate_of_ours():
    with tempfile.TemporaryDirectory() as folder:
        key, certificate = f"{folder}/key.pem", f"{folder}/certificate.pem"
        make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=localhost"
        subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
        with Server("--cert", certificate, "--key", key) as server:
            ours = ssl.PEM_cert_to_DER_cert(Path(certificate).read_text())
            equal(certificate_served(server.address) == ours, True, "the certificate is ours")


def ends_cleanly(tls):
    with Server(tls=tls) as server:
        with socket.create_connection(server.address):
            equal(server.stop(), 0, "exit status")


def alpn(*offered):
    with Server() as server, socket.create_connection(server.address, timeout=5) as raw:
        with tls_context(*offered).wrap_socket(raw, server_hostname="localhost") as connection:
            return connection.selected_alpn_protocol()


# RFC 9113 §6.5, §6.7
SETTINGS, PING, ACK = 4, 6, 1


def frame_head(length, kind, flags=0):
    """The head of a frame of the connection's (RFC 9113 §4.1)."""
    return bytes([0, 0, length, kind, flags, 0, 0, 0, 0])


def is_pinged(seconds, *arguments):
    """Whether a silent connection gets a PING in time."""
    with Server(*arguments, tls=False) as server, socket.create_connection(server.address) as connection:
        # RFC 9113 §3.4: the preface, and SETTINGS. A client says no more here.
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame_head(0, SETTINGS) + frame_head(0, SETTINGS, ACK))
        deadline, octets = time.monotonic() + seconds, b""
        while frame_head(8, PING) not in octets:
            connection.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                received = connection.recv(4096)
            except TimeoutError:
                return False
            if not received:
                raise AssertionError(f"the connection ended after {octets!r}")
            octets += received
    return True


CHECKS = {
    "a port in use is refused in one line": port_in_use,
    "a missing key is refused in one line": lambda: refuses_in_one_line("--cert", "/nonexistent.pem", "--key", "/nonexistent.pem"),
    "a certificate without its key is refused": lambda: refuses("--cert", "/nonexistent.pem"),
    "an unknown option is refused": lambda: refuses("--no-such-option"),
    "an address that is none is refused": lambda: refuses("--listen", "nowhere"),
    "the made certificate's fingerprint is printed": fingerprint_printed,
    "--cert and --key are served": certificate_of_ours,
    "a silent connection is asked by PING whether it is there": lambda: equal(is_pinged(10, "--keep-alive", "1"), True, "a PING"),
    "--keep-alive 0 never asks": lambda: equal(is_pinged(3, "--keep-alive", "0"), False, "a PING"),
    "ALPN: h2 is preferred": lambda: equal(alpn("http/1.1", "h2"), "h2", "protocol"),
    "ALPN: http/1.1 alone": lambda: equal(alpn("http/1.1"), "http/1.1", "protocol"),
    "Ctrl-C ends it cleanly, over TLS": lambda: ends_cleanly(True),
    "Ctrl-C ends it cleanly, in cleartext": lambda: ends_cleanly(False),
}


def main():
    report = Report()
    for name, check in CHECKS.items():
        report.run(f"sockeye serve: {name}", check)
    report.finish()


if __name__ == "__main__":
    main()
