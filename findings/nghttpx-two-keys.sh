#!/usr/bin/env bash
# nghttpx 1.52.0 (Debian 1.52.0-1+deb12u3) between an HTTP/2 client and an HTTP/1.1 server, WebSocket over HTTP/2 (RFC 8441).
# Did: two extended CONNECTs, one without and one with a Sec-WebSocket-Key, which RFC 8441 §5 has no use for but does not forbid.
# Surprise: a key of the client's is passed on *beside* the one that nghttpx makes, so that the server behind is asked with
# two, and a strict one answers 400. So a client cannot send a key in case a proxy needs one (Envoy makes none itself).
# Printed: keys behind nghttpx, sent without: 1; sent with: 2, the client's among them
# Seen: 2026-11-28.
set -euo pipefail
VERSION=1.52.0-1+deb12u3
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
apt-get download -qq "nghttp2-proxy=$VERSION" libc-ares2 libev4 libjansson4 libjemalloc2 libnghttp2-14 >/dev/null 2>&1
for package in *.deb; do dpkg -x "$package" proxy; done
export LD_LIBRARY_PATH="$folder/proxy/usr/lib/$(uname -m)-linux-gnu"
[[ $(proxy/usr/sbin/nghttpx --version) == *1.52.0* ]]
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import net from 'node:net';
import { once } from 'node:events';
import { spawn } from 'node:child_process';

let head;
const behind = net.createServer((socket) => socket.on('error', () => {}).once('data', (octets) => {
  head = octets.toString();
  socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n');
}));
await once(behind.listen(0, '127.0.0.1'), 'listening');
const free = net.createServer();
await once(free.listen(0, '127.0.0.1'), 'listening');
const { port } = free.address();
await new Promise((resolve) => free.close(resolve));
const proxy = spawn('proxy/usr/sbin/nghttpx', [
  '--conf=/dev/null', `--frontend=127.0.0.1,${port};no-tls`, `--backend=127.0.0.1,${behind.address().port}`, '--errorlog-file=/dev/null', '--workers=1',
]);
process.on('exit', () => proxy.kill());
let client;
for (let tries = 0; !client && tries < 50; tries += 1) {
  const attempt = http2.connect(`http://127.0.0.1:${port}`);
  client = await once(attempt, 'remoteSettings').then(() => attempt, () => new Promise((resolve) => setTimeout(resolve, 100)));
}
async function keys(extra) {
  const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13', ...extra });
  await once(stream.resume(), 'response');
  return head.match(/^sec-websocket-key: .*$/gim);
}
const key = 'dGhlIHNhbXBsZSBub25jZQ==';
const [without, sent] = [await keys({}), await keys({ 'sec-websocket-key': key })];
const among = sent.some((line) => line.includes(key)) ? ", the client's among them" : '';
console.log(`keys behind nghttpx, sent without: ${without.length}; sent with: ${sent.length}${among}`);
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == "keys behind nghttpx, sent without: 1; sent with: 2, the client's among them" ]]
