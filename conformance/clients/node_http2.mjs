// WebSockets over HTTP/2 with Node's own `http2`: extended CONNECT, and frames made by hand.
// `node node_http2.mjs [--cleartext]`

import { once } from 'node:events';
import { randomBytes } from 'node:crypto';
import { Report, equal, get, serve, session } from '../harness.mjs';

const TEXT = 1;
const BINARY = 2;
const CLOSE = 8;
const MANY = 90;

/** A client's frame (RFC 6455 §5.2). */
function frame(opcode, payload) {
  const length = payload.length;
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = 0x80 | (length < 126 ? length : length < 65_536 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  const mask = randomBytes(4);
  return Buffer.concat([head, mask, payload.map((octet, index) => octet ^ mask[index % 4])]);
}

/** The server's frames, as they come; undefined at END_STREAM. */
async function* frames(stream) {
  let input = Buffer.alloc(0);
  for await (const chunk of stream) {
    input = Buffer.concat([input, chunk]);
    for (;;) {
      const size = { 126: 2, 127: 8 }[input[1]] ?? 0;
      if (input.length < 2 + size) break;
      const length = size === 2 ? input.readUInt16BE(2) : size === 8 ? Number(input.readBigUInt64BE(2)) : input[1];
      if (input.length < 2 + size + length) break;
      yield { opcode: input[0] & 0xf, fin: input[0] >= 0x80, payload: input.subarray(2 + size, 2 + size + length) };
      input = input.subarray(2 + size + length);
    }
  }
}

class Socket {
  constructor(stream) {
    this.stream = stream;
    this.frames = frames(stream);
  }

  static async open(client, fields = {}) {
    const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/echo', 'sec-websocket-version': '13', ...fields });
    const [head] = await once(stream, 'response');
    equal(head[':status'], 200, 'status');
    return Object.assign(new Socket(stream), { head });
  }

  send(opcode, payload) {
    this.stream.write(frame(opcode, Buffer.from(payload)));
  }

  /** The next message, in however many frames it comes. */
  async receive() {
    const parts = [];
    for (let opcode; ; ) {
      const { value } = await this.frames.next();
      if (!value) throw new Error('END_STREAM instead of a message');
      opcode ??= value.opcode;
      parts.push(value.payload);
      if (value.fin) return { opcode, payload: Buffer.concat(parts) };
    }
  }

  async echo(opcode, payload) {
    this.send(opcode, payload);
    const returned = await this.receive();
    equal([returned.opcode, returned.payload.equals(Buffer.from(payload))], [opcode, true], 'echo');
  }

  async close(code) {
    const body = Buffer.alloc(2);
    body.writeUInt16BE(code);
    this.send(CLOSE, body);
    // HAProxy resets at once what it has ended, and Node drops what it has not read of that.
    if (behindProxy) return void (await this.receive().catch(() => {}));
    const answer = await this.receive();
    equal([answer.opcode, answer.payload.readUInt16BE()], [CLOSE, code], 'Close');
    equal((await this.frames.next()).done, true, 'END_STREAM');
    this.stream.end();
    if (!this.stream.closed) await once(this.stream, 'close');
    equal(this.stream.rstCode, 0, 'error code of the stream');
  }
}

const cleartext = process.argv.includes('--cleartext');
// Then the connection is the proxy's, with SOCKEYE_URL its address.
const behindProxy = Boolean(process.env.SOCKEYE_PROXY);
const report = new Report();
const server = await serve(...(cleartext ? ['--cleartext'] : []));

const checks = {
  'the server offers extended CONNECT': async (client, settings) => equal(settings.enableConnectProtocol, true, 'setting'),
  'a text is echoed, and Close 1000 answered': async (client) => {
    const socket = await Socket.open(client);
    await socket.echo(TEXT, 'hello');
    await socket.close(1000);
  },
  'empty messages are echoed': async (client) => {
    const socket = await Socket.open(client);
    await socket.echo(TEXT, '');
    await socket.echo(BINARY, '');
  },
  'messages of 1 MiB are echoed': async (client) => {
    const socket = await Socket.open(client);
    await socket.echo(TEXT, 'x'.repeat(1 << 20));
    await socket.echo(BINARY, randomBytes(1 << 20));
    await socket.close(1000);
  },
  [`${MANY} WebSockets at once`]: async (client) => {
    const sockets = await Promise.all(Array.from({ length: MANY }, () => Socket.open(client)));
    for (let round = 0; round < 10; round += 1) {
      await Promise.all(sockets.map((socket, index) => socket.echo(TEXT, `round ${round} of ${index}`)));
    }
    await Promise.all(sockets.map((socket) => socket.close(1000)));
  },
  'the subprotocol is chosen': async (client) => {
    const { head } = await Socket.open(client, { 'sec-websocket-protocol': 'chat, echo' });
    equal(head['sec-websocket-protocol'], 'echo', 'subprotocol');
  },
  'a WebSocket cancelled leaves the others alone': async (client) => {
    const [first, second] = [await Socket.open(client), await Socket.open(client)];
    first.stream.on('error', () => {});
    first.stream.close(8); // CANCEL
    await second.echo(TEXT, 'still here');
    await second.close(1000);
  },
  'requests beside a WebSocket': async (client) => {
    const socket = await Socket.open(client);
    const { status, body } = await get(server.url, '/stats', client);
    equal(status, 200, 'status');
    if (!behindProxy) equal(JSON.parse(body).connections.find(({ you }) => you)?.sockets, 1, 'sockets of this connection');
    equal((await get(server.url, '/no/such/path', client)).status, 404, 'status');
    await socket.echo(TEXT, 'still open');
  },
};

for (const [name, check] of Object.entries(checks)) {
  await report.run(`Node http2, ${cleartext ? 'cleartext' : 'TLS'}: ${name}`, async () => {
    const client = session(server.url);
    const [settings] = await once(client, 'remoteSettings');
    await check(client, settings).finally(() => client.destroy());
  });
}
await report.run(`Node http2, ${cleartext ? 'cleartext' : 'TLS'}: the server ends cleanly`, async () => equal(await server.stop(), 0, 'exit status'));
report.finish();
