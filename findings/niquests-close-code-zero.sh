#!/usr/bin/env bash
# niquests 3.21.2 with urllib3-future 2.25.904 (PyPI), a WebSocket over HTTP/2 by `wss+rfc8441://` (RFC 8441).
# Did: opened one, sent a text, called the `extension.close()` of its documentation; a server of Node's http2 looked at the frames
# and gave the octets to the `Receiver` of ws 8.23.0 as well.
# Surprise: the orderly end has a code, and it is 0, of which RFC 6455 §7.4.2 says that 0-999 are not used. So a server that keeps to
# the RFC takes each closing handshake of this client for a broken frame, though all was well.
# Printed: text hello; Close of 2 octets, code 0; ws: Invalid WebSocket frame: invalid status code 0
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check 'niquests[ws]==3.21.2' urllib3-future==2.25.904
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts ws@8.23.0
cat >ask.py <<'PY'
import sys

import niquests

with niquests.Session() as session:
    answer = session.get(sys.argv[1], verify=False)
    answer.extension.send_payload("hello")
    answer.extension.close()
PY
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Receiver } from 'ws';

const server = http2.createSecureServer({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem'), settings: { enableConnectProtocol: true } });
const CLOSE = 0x88;
const taken = new Promise((resolve) => server.on('stream', (stream, head) => {
  const accept = createHash('sha1').update(`${head['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  stream.respond({ ':status': 200, 'sec-websocket-accept': accept });
  const [receiver, seen] = [new Receiver({ isServer: true }), []];
  receiver.on('message', (message) => seen.push(`text ${message}`)).on('conclude', (code) => seen.push(`ws: ${code}`));
  receiver.on('error', ({ message }) => seen.push(`ws: ${message}`));
  stream.on('error', () => {}).on('data', (octets) => {
    if (octets[0] === CLOSE) {
      seen.push(`Close of ${octets[1] & 0x7f} octets, code ${octets.readUInt16BE(6) ^ octets.readUInt16BE(2)}`);
      stream.end(Buffer.from([CLOSE, 0]));
      setTimeout(() => resolve(seen.join('; ')), 500);
    }
    receiver.write(octets);
  });
}));
await once(server.listen(0, '127.0.0.1'), 'listening');
execFile('venv/bin/python', ['-W', 'ignore', 'ask.py', `wss+rfc8441://localhost:${server.address().port}/with`], () => {});
console.log(await taken);
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'text hello; Close of 2 octets, code 0; ws: Invalid WebSocket frame: invalid status code 0' ]]
