// `node_server.mjs https|http2|http2-request PORT CERTIFICATE KEY`: an echo by `ws` on Node's https, on its http2 with extended
// CONNECT and a listener for it, or on http2 with extended CONNECT switched on and none.

import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import { createRequire } from 'node:module';

const [which, port, certificate, key] = process.argv.slice(2);
const { WebSocket, WebSocketServer } = createRequire(`${process.env.MODULES}/`)('ws');
const files = { cert: readFileSync(certificate), key: readFileSync(key) };
const echo = (socket) => socket.on('message', (message, binary) => socket.send(message, { binary })).on('error', () => {});
const page = (request, response) => response.end('a page\n');

function connect(stream, fields) {
  stream.on('error', () => {});
  if (fields[':protocol'] !== 'websocket') return;
  stream.respond({ ':status': 200 });
  const socket = new WebSocket(null, undefined, upgrades.options);
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 1 << 24, allowSynchronousEvents: true });
  echo(socket);
}

const settings = { enableConnectProtocol: true };
const server =
  which === 'https' ? https.createServer(files, page) : http2.createSecureServer({ ...files, allowHTTP1: true, settings });
if (which === 'http2') server.on('stream', connect);
if (which === 'http2-request') server.on('request', page);
const upgrades = new WebSocketServer({ noServer: true });
server.on('upgrade', (request, socket, head) => upgrades.handleUpgrade(request, socket, head, echo));
server.listen(Number(port), '127.0.0.1');
