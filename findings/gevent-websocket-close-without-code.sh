#!/usr/bin/env bash
# gevent-websocket 0.10.1 under gevent 26.9.0 (PyPI), which Flask-SocketIO takes wherever it is installed beside gevent; CPython 3.
# Did: a page's close(code, reason), as an RFC 6455 frame over a plain socket: code 1000 without a reason, then 4000 with "bye".
# Surprise: the Close that answers has no code (RFC 6455 §5.5.1), and of the reason what Python calls its type: bytearray(b'bye'). The
# first two letters stand where the code does, whatever the reason: 0x6279, so pages of Chromium and Firefox see 25209.
# Printed: closed with 1000: answered by no payload; with 4000 "bye": answered by "bytearray(b'bye')", which is code 25209
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check gevent==26.9.0 gevent-websocket==0.10.1
cat >run.py <<'PY'
import socket
import struct

import gevent
from gevent import monkey

monkey.patch_all()

from gevent.pywsgi import WSGIServer  # noqa: E402
from geventwebsocket.handler import WebSocketHandler  # noqa: E402


def echo(environ, _start_response):
    messages = environ["wsgi.websocket"]
    while (message := messages.receive()) is not None:
        messages.send(message)
    return []


def exactly(stream, octets):
    read = b""
    while len(read) < octets:
        read += stream.recv(octets - len(read)) or exit("it ended without a Close")
    return read


def answer(port, payload):
    """The payload of the Close that answers a Close."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stream:
        stream.sendall(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(stream, 1)
        assert b" 101 " in head, head
        # A mask of zeros leaves the payload as it is.
        stream.sendall(bytes([0x88, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        opcode, length = exactly(stream, 2)
        assert opcode == 0x88, opcode
        return exactly(stream, length)


server = WSGIServer(("127.0.0.1", 0), echo, handler_class=WebSocketHandler, log=None)
server.start()
bare = answer(server.server_port, struct.pack("!H", 1000))
named = answer(server.server_port, struct.pack("!H", 4000) + b"bye")
code = struct.unpack("!H", named[:2])[0]
print(f'closed with 1000: answered by {bare or "no payload"}; with 4000 "bye": answered by "{named.decode()}", which is code {code}')
PY
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep -i gevent >&2
printed=$(venv/bin/python run.py)
echo "$printed"
[[ $printed == "closed with 1000: answered by no payload; with 4000 \"bye\": answered by \"bytearray(b'bye')\", which is code 25209" ]]
