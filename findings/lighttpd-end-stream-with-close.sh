#!/usr/bin/env bash
# lighttpd 1.4.69 (Debian 1.4.69-1), mod_proxy with `upgrade`, between an HTTP/2 client and an HTTP/1.1 server (RFC 8441).
# Did: two WebSockets, each with a Close of the client's, which the server behind answers. The first client sends END_STREAM once it
# has the answer; the second in the DATA frame of its Close, as Chromium does: it has no more to say, and still listens.
# Surprise: lighttpd takes that for an abort. It resets the stream at once, and the Close itself, which came before the end, is
# never handed on: the server behind sees no Close, the client none either, so that a clean end becomes 1006 on both sides.
# Printed: END_STREAM later: server Close 1000, client Close 1000, error 0; with the Close: server nothing, client nothing, error 1
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
{ dpkg -s libnettle8 libpcre2-8-0 libxxhash0 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends libnettle8 libpcre2-8-0 libxxhash0; }; } >/dev/null 2>&1 || true
apt-get download -qq lighttpd=1.4.69-1 >/dev/null 2>&1 && dpkg -x lighttpd_*.deb proxy
[[ $(proxy/usr/sbin/lighttpd -v) == *lighttpd/1.4.69* ]]
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import net from 'node:net';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';

let heard;
const behind = net.createServer((socket) => socket.on('error', () => {}).once('data', (octets) => {
  const [, key] = octets.toString().match(/^sec-websocket-key: *(\S+)/im);
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`);
  heard = 'nothing';
  socket.once('data', (close) => {
    heard = `Close ${(close.readUInt16BE(6) ^ close.readUInt16BE(2))}`;
    socket.end(Buffer.from([0x88, 2, 1000 >> 8, 1000 & 0xff]));
  });
}));
await once(behind.listen(0, '127.0.0.1'), 'listening');
const free = net.createServer();
await once(free.listen(0, '127.0.0.1'), 'listening');
const { port } = free.address();
await new Promise((resolve) => free.close(resolve));
writeFileSync('lighttpd.conf', `
server.modules = ("mod_proxy")
server.document-root = "${process.cwd()}"
server.bind = "127.0.0.1"
server.port = ${port}
proxy.server = ("" => (("host" => "127.0.0.1", "port" => ${behind.address().port})))
proxy.header = ("upgrade" => "enable")
`);
const proxy = spawn('proxy/usr/sbin/lighttpd', ['-D', '-f', 'lighttpd.conf', '-m', 'proxy/usr/lib/lighttpd'], { stdio: 'ignore' });
process.on('exit', () => proxy.kill('SIGKILL'));
let client;
for (let tries = 0; !client && tries < 100; tries += 1) {
  const attempt = http2.connect(`http://127.0.0.1:${port}`);
  client = await once(attempt, 'remoteSettings').then(() => attempt, () => new Promise((resolve) => setTimeout(resolve, 100)));
}
async function closed(together) {
  const head = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13' };
  const stream = client.request(head, { endStream: false });
  let came = 'nothing';
  stream.on('error', () => {}).on('data', (octets) => {
    came = `Close ${octets.readUInt16BE(2)}`;
    if (!together) stream.end();
  });
  await once(stream, 'response');
  const close = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 1000 >> 8, 1000 & 0xff]); // masked with nought
  if (together) stream.end(close);
  else stream.write(close);
  await new Promise((resolve) => stream.once('close', resolve));
  return `server ${heard}, client ${came}, error ${stream.rstCode}`;
}
console.log(`END_STREAM later: ${await closed(false)}; with the Close: ${await closed(true)}`);
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'END_STREAM later: server Close 1000, client Close 1000, error 0; with the Close: server nothing, client nothing, error 1' ]]
