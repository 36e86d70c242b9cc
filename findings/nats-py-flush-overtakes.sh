#!/usr/bin/env bash
# nats-py 2.16.0 (PyPI) with a small server that says INFO, answers PING with PONG, and keeps what arrives in order.
# Did: subscribe("news"), publish("news"), flush(), which is documented to make sure that all written so far has reached the server.
# Surprise: flush() writes its PING straight to the socket, *before* the SUB and the PUB that still wait in the client's own
# buffer. Its PONG proves nothing about them: `await flush()` after a subscribe is no barrier.
# Printed: after the handshake, in the order of arrival: PING SUB PUB
# Seen: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check nats-py==2.16.0
cat >run.py <<'PY'
import asyncio

import nats

order = []


async def serve(reader, writer):
    writer.write(b'INFO {"server_id":"x","version":"2.15.1","proto":1,"max_payload":1048576,"headers":true}\r\n')
    while line := await reader.readline():
        verb, *rest = line.decode().split()
        order.append(verb)
        if verb == "PUB":
            await reader.readexactly(int(rest[-1]) + 2)
        if verb == "PING":
            writer.write(b"PONG\r\n")


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    await asyncio.sleep(0.5)
    order.clear()
    await client.subscribe("news")
    await client.publish("news", b"hello")
    await client.flush()
    await asyncio.sleep(0.5)
    print(f"after the handshake, in the order of arrival: {' '.join(order)}")
    await client.close()


asyncio.run(main())
PY
printed=$(venv/bin/python run.py)
echo "$printed"
[[ $printed == 'after the handshake, in the order of arrival: PING SUB PUB' ]]
