// `node node_site.mjs PORT [CERTIFICATE KEY] [--no-extended-connect]`: the site of this folder on Node's `http2`, with `ws` for
// the frames. Over TLS it speaks HTTP/1.1 too; in cleartext HTTP/2 alone.

import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import { parseArgs } from 'node:util';
import { WebSocket, WebSocketServer } from 'ws';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { 'no-extended-connect': { type: 'boolean' } } });
const [port, certificate, key] = positionals;
const REFUSAL = 'not for you\n';

function site(socket, path) {
  socket.on('message', (message, isBinary) => {
    if (path === '/close') return socket.close(Number(message), 'as asked');
    if (path === '/ping') {
      socket.once('pong', () => socket.send('a Pong came'));
      return socket.ping('are you there?');
    }
    const third = path === '/fragments' ? Math.floor(message.length / 3) : 0;
    if (third) {
      socket.send(message.subarray(0, third), { binary: isBinary, fin: false });
      socket.send(message.subarray(third, 2 * third), { binary: isBinary, fin: false });
    }
    socket.send(message.subarray(2 * third), { binary: isBinary });
  });
  socket.on('error', () => {}); // what breaks off, ends
}

const choose = (protocols) => protocols.has('echo') && 'echo';
const upgrades = new WebSocketServer({ noServer: true, perMessageDeflate: true, handleProtocols: choose });

// HTTP/1.1: all is up to `ws`.
function upgrade(request, socket, head) {
  if (request.url === '/refuse') {
    const fields = `Content-Type: text/plain\r\nContent-Length: ${REFUSAL.length}\r\nConnection: close`;
    return socket.end(`HTTP/1.1 403 Forbidden\r\n${fields}\r\n\r\n${REFUSAL}`);
  }
  upgrades.handleUpgrade(request, socket, head, (opened) => site(opened, request.url));
}

// HTTP/2: `ws` knows no extended CONNECT, but takes a stream for its transport.
function connect(stream, fields) {
  stream.on('error', () => {});
  if (fields[':method'] !== 'CONNECT' || fields[':protocol'] !== 'websocket') return stream.respond({ ':status': 501 }, { endStream: true });
  if (fields[':path'] === '/refuse') {
    stream.respond({ ':status': 403, 'content-type': 'text/plain' });
    return stream.end(REFUSAL);
  }
  const offered = new Set(fields['sec-websocket-protocol']?.split(',').map((name) => name.trim()));
  const chosen = choose(offered);
  stream.respond({ ':status': 200, ...(chosen && { 'sec-websocket-protocol': chosen }) });
  const opened = new WebSocket(null, undefined, upgrades.options);
  opened.setSocket(stream, Buffer.alloc(0), { maxPayload: upgrades.options.maxPayload, allowSynchronousEvents: true });
  site(opened, fields[':path']);
}

const settings = { enableConnectProtocol: !values['no-extended-connect'] };
const server = certificate
  ? http2.createSecureServer({ cert: readFileSync(certificate), key: readFileSync(key), allowHTTP1: true, settings })
  : http2.createServer({ settings });
server.on('upgrade', upgrade).on('stream', connect).on('sessionError', () => {});
server.listen(Number(port), '127.0.0.1');
