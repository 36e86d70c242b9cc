#!/usr/bin/env bash
# uvicorn 0.54.0 with `--http zttp --http2` (zttp 0.0.35) and an ASGI app of a WebSocket route alone, in Starlette.
# Did: an HTTP/2 client reads the server's SETTINGS and sends the extended CONNECT that they invite to (RFC 8441).
# Surprise: uvicorn says SETTINGS_ENABLE_CONNECT_PROTOCOL = 1, and then hands the CONNECT to the app as an ordinary `http`
# request with method CONNECT. The WebSocket route answers 404: a browser that takes the offer has no WebSocket.
# Printed: ENABLE_CONNECT_PROTOCOL true; the app's scope: http CONNECT; the answer: 404
# Seen: 2026-11-28.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uvicorn==0.54.0 zttp==0.0.35 starlette==1.10.0 websockets==17.4
venv/bin/python -c 'import uvicorn; assert uvicorn.__version__ == "0.54.0"'
cat >chat.py <<'PY'
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

async def echo(socket):
    await socket.accept()

routes = Starlette(routes=[WebSocketRoute("/", echo)])

async def app(scope, receive, send):
    if scope["type"] != "lifespan":
        with open("scope", "w") as file:
            file.write(f"{scope['type']} {scope.get('method')}")
    await routes(scope, receive, send)
PY
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import net from 'node:net';
import { once } from 'node:events';
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

const free = net.createServer();
await once(free.listen(0, '127.0.0.1'), 'listening');
const { port } = free.address();
await new Promise((resolve) => free.close(resolve));
const options = ['--http', 'zttp', '--http2', '--port', `${port}`, '--ssl-keyfile', 'key.pem', '--ssl-certfile', 'cert.pem', '--log-level', 'error'];
const server = spawn('venv/bin/python', ['-m', 'uvicorn', ...options, 'chat:app'], { stdio: ['ignore', 'inherit', 'inherit'] });
process.on('exit', () => server.kill('SIGKILL'));
let client, settings;
for (let tries = 0; !client && tries < 100; tries += 1) {
  const attempt = http2.connect(`https://localhost:${port}`, { rejectUnauthorized: false });
  const came = await once(attempt, 'remoteSettings').catch(() => new Promise((resolve) => setTimeout(resolve, 200)));
  if (came) [client, settings] = [attempt, came[0]];
}
const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/', 'sec-websocket-version': '13' });
const [head] = await once(stream.resume(), 'response');
console.log(`ENABLE_CONNECT_PROTOCOL ${settings.enableConnectProtocol}; the app's scope: ${readFileSync('scope')}; the answer: ${head[':status']}`);
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == "ENABLE_CONNECT_PROTOCOL true; the app's scope: http CONNECT; the answer: 404" ]]
