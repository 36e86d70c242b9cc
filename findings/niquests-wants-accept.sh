#!/usr/bin/env bash
# niquests 3.21.2 with urllib3-future 2.25.904 (PyPI), a WebSocket over HTTP/2 by `wss+rfc8441://` (RFC 8441).
# Did: a server of Node's http2 answers the extended CONNECT with a bare 200, as RFC 8441 §5 has it; and the same with a
# Sec-WebSocket-Accept for the key that niquests sends along.
# Surprise: RFC 8441 §5 leaves the key and the accept of HTTP/1.1 out; niquests names that RFC in its URL, sends a key all the same,
# and refuses every server that answers as the RFC says. With the field that is "not used" it opens.
# Printed: keys sent 2; 200 alone: ConnectionError that names the field True; 200 with the accept: opens True
# Seen: 2026-11-30.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv && venv/bin/pip install --quiet --disable-pip-version-check 'niquests[ws]==3.21.2' urllib3-future==2.25.904
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
cat >ask.py <<'PY'
import sys

import niquests

try:
    with niquests.Session() as session:
        answer = session.get(sys.argv[1], verify=False)
        print(f"opens {answer.extension is not None}")
except niquests.exceptions.ConnectionError as error:
    print(f"ConnectionError that names the field {'Sec-Websocket-Accept' in str(error)}")
PY
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';

const server = http2.createSecureServer({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem'), settings: { enableConnectProtocol: true } });
let keys = 0;
server.on('stream', (stream, head) => {
  const key = head['sec-websocket-key'];
  keys += key !== undefined;
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  stream.on('error', () => {}).resume();
  stream.respond({ ':status': 200, ...(head[':path'] === '/with' && { 'sec-websocket-accept': accept }) });
});
await once(server.listen(0, '127.0.0.1'), 'listening');
async function ask(path) {
  const { stdout } = await promisify(execFile)('venv/bin/python', ['-W', 'ignore', 'ask.py', `wss+rfc8441://localhost:${server.address().port}${path}`]);
  return stdout.trim();
}
const [without, having] = [await ask('/without'), await ask('/with')];
console.log(`keys sent ${keys}; 200 alone: ${without}; 200 with the accept: ${having}`);
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'keys sent 2; 200 alone: ConnectionError that names the field True; 200 with the accept: opens True' ]]
