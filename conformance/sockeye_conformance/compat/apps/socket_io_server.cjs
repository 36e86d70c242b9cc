// `socket_io_server.cjs PORT CERTIFICATE KEY`: socket.io on Node's https. It speaks a protocol of its own in its WebSockets.

const { readFileSync } = require('node:fs');
const { createServer } = require('node:https');
const { createRequire } = require('node:module');

const { Server } = createRequire(`${process.env.MODULES}/`)('socket.io');
const [port, certificate, key] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) });
new Server(server).on('connection', (socket) => socket.on('message', (text) => socket.emit('message', text)));
server.listen(Number(port), '127.0.0.1');
