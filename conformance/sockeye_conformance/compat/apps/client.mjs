// `client.mjs LIBRARY URL`: one echo and a Close by a WebSocket that a runtime brings, or by a library; a line of JSON tells it.
// LIBRARY: global (Node, Deno, Bun), ws, undici (with HTTP/2 allowed).

import process from 'node:process';
import { createRequire } from 'node:module';

const [library, url] = process.argv.slice(2);
const { WebSocket, options } = pick();

function pick() {
  if (library === 'global') return { WebSocket: globalThis.WebSocket, options: globalThis.Bun ? { tls: { rejectUnauthorized: false } } : undefined };
  const load = createRequire(`${process.env.MODULES}/`);
  if (library === 'ws') return { WebSocket: load('ws'), options: { rejectUnauthorized: false } };
  const { WebSocket, Agent } = load('undici');
  return { WebSocket, options: { dispatcher: new Agent({ allowH2: true, connect: { rejectUnauthorized: false } }) } };
}

const said = { opened: false, echoed: false, code: null, clean: null, error: null };
const tell = () => (console.log(JSON.stringify(said)), process.exit());
setTimeout(() => ((said.error ??= 'nothing more after 10 s'), tell()), 10_000);
const socket = options ? new WebSocket(url, options) : new WebSocket(url);
socket.onopen = () => ((said.opened = true), socket.send('hello'));
socket.onmessage = ({ data }) => ((said.echoed = data === 'hello'), socket.close(1000, 'done'));
socket.onerror = (event) => (said.error ??= `${event.message || event.error?.message || 'an error event'}`);
socket.onclose = ({ code, wasClean }) => (Object.assign(said, { code, clean: wasClean }), tell());
