// Servers as people have them, none of which knows anything of HTTP/2: `await sites.ws()` and so on. Each has an `address` and a `stop()`.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Server as SocketIo } from 'socket.io';
import { WebSocketServer } from 'ws';
import { sleep } from '../harness.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const PYTHON = process.env.CONFORMANCE_PYTHON ?? 'python3';
const STARTUP_MILLISECONDS = 60_000;
const PAGE = '<!doctype html><title>a page</title><p>A page of a server that speaks HTTP/1.1.';

function page(request, response) {
  response.setHeader('content-type', 'text/html');
  response.end(PAGE);
}

async function listening(server) {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}`;
}

/** `ws`, stock: an echo that closes with the code it is told, beside a page. `sockets` counts what is open. */
export async function ws() {
  const server = http.createServer(page);
  const sockets = new WebSocketServer({ server, perMessageDeflate: true, handleProtocols: (offered) => offered.has('echo') && 'echo' });
  sockets.on('connection', (socket, request) => {
    socket.on('error', () => {}); // what breaks off, ends
    socket.on('message', (message, binary) => {
      if (request.url === '/close') return socket.close(Number(message), 'as asked');
      socket.send(message, { binary });
    });
  });
  const address = await listening(server);
  const stop = () => {
    for (const socket of sockets.clients) socket.terminate();
    server.closeAllConnections();
    server.close();
  };
  return { name: 'ws', address, count: () => sockets.clients.size, stop };
}

/** Python's `websockets`, stock, whose page is a GET that its hook answers. */
export async function websockets() {
  const port = await freePort();
  return program('websockets', PYTHON, [join(HERE, 'websockets_site.py'), `${port}`], port);
}

/** `socket.io`, stock, which also serves its own client. */
export async function socketIo() {
  const server = http.createServer(page);
  const io = new SocketIo(server);
  const transports = new Set();
  io.on('connection', (socket) => {
    socket.conn.on('upgrade', (transport) => transports.add(transport.name));
    socket.on('say', (text, answer) => answer(`you said ${text}`));
  });
  const address = await listening(server);
  return { name: 'socket.io', address, transports, stop: () => io.close() };
}

/** A dev server in a copy of its project, whose files a test may edit: `folder`. */
async function project(name, command, prepare) {
  const folder = await mkdtemp(join(HERE, '.project-'));
  await cp(join(HERE, 'projects', name), folder, { recursive: true });
  await prepare?.(folder);
  const port = await freePort();
  const running = await program(name, process.execPath, command(port), port, folder);
  const stop = async () => {
    await running.stop();
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  return { ...running, folder, stop };
}

const bin = (path) => join(HERE, 'node_modules', path);

export const vite = () => project('vite', (port) => [bin('vite/bin/vite.js'), '--port', `${port}`, '--strictPort']);
export const next = () => project('next', (port) => [bin('next/dist/bin/next'), 'dev', '--port', `${port}`]);

async function freePort() {
  const server = createServer();
  server.listen(0);
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

/** A program that answers at a port. */
async function program(name, command, args, port, cwd = HERE) {
  const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', FORCE_COLOR: '0' };
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const output of [child.stdout, child.stderr]) output.setEncoding('utf8').on('data', (text) => (said += text));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const address = `http://localhost:${port}`;
  const deadline = Date.now() + STARTUP_MILLISECONDS;
  for (;;) {
    if (await fetch(address).then(() => true, () => false)) break;
    if (child.exitCode !== null || Date.now() > deadline) {
      kill();
      throw new Error(`${name} does not start: ${said.trim().split('\n').slice(-3).join(' | ')}`);
    }
    await sleep(100);
  }
  const stop = async () => {
    child.kill('SIGTERM');
    await Promise.race([ended, sleep(5000)]);
    kill();
    process.off('exit', kill);
  };
  return { name, address, stop, said: () => said };
}
