#!/usr/bin/env bash
# Apache httpd 2.4.71 (Debian 2.4.71-1~deb12u1), `H2WebSockets on` and `ProxyPass … upgrade=websocket`, before an HTTP/1.1 server.
# Did: twenty extended CONNECTs on a fresh HTTP/2 connection, whose SETTINGS allow 100 streams; after 4 s those that were answered
# are closed, each with a Close and END_STREAM.
# Surprise: six are answered; the others wait without a word and none fails, so that a client cannot tell a full connection from a
# slow server. Nor is six the limit: when the six have ended, twelve more are let in at once, of a hundred that SETTINGS allow.
# Printed: allowed 100, asked 20: answered 6, failed 0; six closed: 12 more answered
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
VERSION=2.4.71-1~deb12u1
{ dpkg -s libnghttp2-14 libpcre2-8-0 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends libnghttp2-14 libpcre2-8-0; }; } >/dev/null 2>&1 || true
apt-get download -qq "apache2-bin=$VERSION" libapr1 libaprutil1 >/dev/null 2>&1 && for package in *.deb; do dpkg -x "$package" proxy; done
export LD_LIBRARY_PATH="$folder/proxy/usr/lib/$(uname -m)-linux-gnu"
[[ $(proxy/usr/sbin/apache2 -v) == *Apache/2.4.71* ]]
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
  socket.once('data', () => socket.end(Buffer.from([0x88, 2, 1000 >> 8, 1000 & 0xff])));
}));
await once(behind.listen(0, '127.0.0.1'), 'listening');
const free = net.createServer();
await once(free.listen(0, '127.0.0.1'), 'listening');
const { port } = free.address();
await new Promise((resolve) => free.close(resolve));
const modules = ['mpm_event', 'authz_core', 'http2', 'proxy', 'proxy_http'];
writeFileSync('apache.conf', `
ServerRoot ${process.cwd()}
${modules.map((name) => `LoadModule ${name}_module proxy/usr/lib/apache2/modules/mod_${name}.so`).join('\n')}
Listen 127.0.0.1:${port}
PidFile apache.pid
DefaultRuntimeDir .
Mutex posixsem
ErrorLog errors
ServerName localhost
Protocols h2c http/1.1
H2WebSockets on
ProxyPass / http://127.0.0.1:${behind.address().port}/ upgrade=websocket
`);
const proxy = spawn('proxy/usr/sbin/apache2', ['-D', 'FOREGROUND', '-f', `${process.cwd()}/apache.conf`], { stdio: 'ignore' });
process.on('exit', () => proxy.kill());
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
let client, settings;
for (let tries = 0; !client && tries < 50; tries += 1) {
  const attempt = http2.connect(`http://127.0.0.1:${port}`);
  const came = await once(attempt, 'remoteSettings').catch(() => pause(0.1));
  if (came) [client, settings] = [attempt, came[0]];
}
const counts = { answered: 0, failed: 0 };
const head = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13' };
const streams = Array.from({ length: 20 }, () => {
  const stream = client.request(head, { endStream: false }).resume();
  stream.on('error', () => (counts.failed += 1));
  stream.on('response', () => ((stream.open = true), (counts.answered += 1)));
  return stream;
});
await pause(4);
const first = `answered ${counts.answered}, failed ${counts.failed}`;
for (const stream of streams.filter(({ open }) => open)) stream.end(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 1000 >> 8, 1000 & 0xff]));
await pause(4);
console.log(`allowed ${settings.maxConcurrentStreams}, asked 20: ${first}; six closed: ${counts.answered - 6} more answered`);
proxy.kill();
await once(proxy, 'exit');
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'allowed 100, asked 20: answered 6, failed 0; six closed: 12 more answered' ]]
