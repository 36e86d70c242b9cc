#!/usr/bin/env python3
"""Sockeye's client (INTEROP=path/to/sockeye-interop) against other people's servers and proxies.

The logs of the servers go to our stderr when SERVER_LOG is set, those of the proxies with PROXY_LOG.
"""

import argparse
import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..harness import ROOT
from ..proxies.proxy import HAProxy, Hop, Nghttpx, free_address, make_certificate, wait_until_listening

FOLDER = Path(__file__).resolve().parent
INTEROP = Path(os.environ.get("INTEROP", ROOT / "target/debug/sockeye-interop"))
HYPERCORN = (sys.executable, FOLDER / "hypercorn_site.py")
WEBSOCKETS = (sys.executable, FOLDER / "websockets_site.py")
NODE = ("node", ROOT / "conformance/servers/node_site.mjs")
AXUM = (INTEROP.parent / "axum-site",)
# For the proxy that asks for them.
USER, PASSWORD = "somebody", "secret"


@dataclasses.dataclass
class Case:
    name: str
    command: tuple[Any, ...]
    tls: bool
    # The version of HTTP that the WebSockets have to go over.
    version: str = "2"
    # In front of the server, which then has no TLS itself.
    proxy: Any = None
    # Through a proxy that knows nothing but CONNECT.
    tunnel: bool = False
    # What the command gets beside its port and its certificate.
    arguments: tuple[str, ...] = ()
    # What the server does not do, as the client's program names it.
    without: str = ""

    def url(self, address: tuple[str, int]) -> Any:
        return f"{'https' if self.tls else 'http'}://localhost:{address[1]}"


CASES = [
    Case("Hypercorn, TLS", HYPERCORN, True, without="fragments,ping,late-data"),
    Case("Hypercorn, cleartext", HYPERCORN, False, without="fragments,ping,late-data"),
    Case("Hypercorn with its issue 329 mended, TLS", HYPERCORN, True, arguments=("--mended",), without="fragments,ping"),
    Case("Node http2, TLS", NODE, True, without="deflate"),
    Case("Node http2, cleartext", NODE, False, without="deflate"),
    Case("Node http2 without extended CONNECT, TLS", NODE, True, "1.1", arguments=("--no-extended-connect",)),
    Case("axum, TLS", AXUM, True, without="fragments,deflate"),
    Case("axum, cleartext", AXUM, False, without="fragments,deflate"),
    Case("HAProxy before websockets, TLS", WEBSOCKETS, True, proxy=HAProxy),
    Case("HAProxy before websockets, cleartext", WEBSOCKETS, False, proxy=HAProxy),
    Case("nghttpx before websockets, TLS", WEBSOCKETS, True, proxy=Nghttpx),
    Case("nghttpx before websockets, cleartext", WEBSOCKETS, False, proxy=Nghttpx),
    Case("axum through tinyproxy, TLS", AXUM, True, tunnel=True, without="fragments,deflate"),
    Case("websockets through tinyproxy, cleartext", WEBSOCKETS, False, "1.1", tunnel=True),
    Case("websockets, TLS", WEBSOCKETS, True, "1.1"),
    Case("websockets, cleartext", WEBSOCKETS, False, "1.1"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", default="", help="only the servers whose name contains this text")
    wanted = parser.parse_args().filter
    # Each prints its own lines, with the closing line that counts them.
    statuses = [run(case) for case in CASES if wanted in case.name]
    sys.exit(1 if any(statuses) or not statuses else 0)


def run(case: Any) -> Any:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        make_certificate(folder)
        address, certificate = free_address(), folder / "certificate.pem"
        files = (certificate, folder / "key.pem") if case.tls and not case.proxy else ()
        process = start(stack, case.command, address, *files, *case.arguments)
        if case.proxy:
            proxy = stack.enter_context(case.proxy(address, Hop("HTTP/1.1", False)))
            process, address, certificate = proxy.process, proxy.address(case.tls), proxy.folder / "certificate.pem"
        flags = []
        if case.tunnel:
            process, proxy_address = start_tinyproxy(stack, folder)
            flags.append(f"--proxy=http://{USER}:{PASSWORD}@localhost:{proxy_address[1]}")
        flags += [f"--version={case.version}", f"--pid={process.pid}"]
        if case.without:
            flags.append(f"--without={case.without}")
        if case.tls:
            flags.append(f"--certificate={certificate}")
        elif case.version == "2":
            flags.append("--prior-knowledge")
        return subprocess.run([INTEROP, case.name, case.url(address), *flags]).returncode


def start_tinyproxy(stack: Any, folder: Path) -> Any:
    address, configuration = free_address(), folder / "tinyproxy.conf"
    lines = [f"Port {address[1]}", f"Listen {address[0]}", "MaxClients 300", f"BasicAuth {USER} {PASSWORD}"]
    configuration.write_text("".join(f"{line}\n" for line in lines))
    process = launch(stack, ["tinyproxy", "-d", "-c", configuration])
    wait_until_listening(address, process)
    return process, address


def start(stack: Any, command: Any, address: tuple[str, int], *arguments: str) -> Any:
    process = launch(stack, [*command, str(address[1]), *arguments])
    wait_until_listening(address, process)
    return process


def launch(stack: Any, command: Any) -> Any:
    """Starts a program that ends with the stack."""
    log = None if os.environ.get("SERVER_LOG") else subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=log, stderr=log)
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


if __name__ == "__main__":
    main()
