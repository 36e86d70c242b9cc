// The client of topics for pages, `topics.js` as `sockeye serve` gives it, in Node with its own WebSocket.
// `node topics.mjs`; a NATS server is the one beside CONFORMANCE_PYTHON, or of the PATH.

import { spawn, spawnSync } from 'node:child_process';
import { createServer, connect } from 'node:net';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Report, equal, serve, sleep } from '../harness.mjs';

if (!globalThis.WebSocket) {
  // Before version 22 of Node it has to be asked for.
  const again = ['--experimental-websocket', '--no-warnings', fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  process.exit(spawnSync(process.execPath, again, { stdio: 'inherit' }).status ?? 1);
}

const PATIENCE_MILLISECONDS = 20_000;
const QUICK = { shortest: 50, longest: 400 };
const rooms = (function* () {
  for (let number = 0; ; number++) yield `room ${number}/ü`;
})();

async function until(what, check, patience = PATIENCE_MILLISECONDS) {
  const deadline = Date.now() + patience;
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`${what}: not in time`);
    await sleep(10);
  }
}

/** The module as the server gives it. */
async function client(url) {
  const response = await fetch(`${url}/topics.js`);
  equal(response.headers.get('content-type'), 'text/javascript; charset=utf-8', 'type of the module');
  const source = Buffer.from(await response.text()).toString('base64');
  return (await import(`data:text/javascript;base64,${source}`)).Topic;
}

/** A member that writes down what happens to it. */
class Member {
  heard = [];
  missed = [];
  members = null;

  constructor(Topic, server, name, options = {}) {
    this.topic = new Topic(name, { server, ...QUICK, ...options });
    this.topic.addEventListener('message', ({ data, isOld }) => {
      this.heard.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
      if (isOld) this.old = this.heard.length;
    });
    this.topic.addEventListener('missed', ({ count }) => this.missed.push(count));
    this.topic.addEventListener('members', ({ count }) => (this.members = count));
  }

  async open() {
    await until('a join', () => this.topic.isOpen);
    return this;
  }

  say(...all) {
    for (const data of all) if (!this.topic.send(data)) throw new Error('it is not connected');
  }

  async hears(count) {
    await until(`${count} messages, of which ${this.heard.length} came`, () => this.heard.length >= count);
    return this.heard;
  }
}

/** What stands between a page and its server, and may be taken away: a relay of octets. */
async function relay(port) {
  const open = new Set();
  let isUp = true;
  let target = port;
  const server = createServer((near) => {
    if (!isUp) return near.destroy();
    const far = connect(target, '127.0.0.1');
    for (const [one, other] of [[near, far], [far, near]]) {
      open.add(one);
      one.on('error', () => {}).on('close', () => (open.delete(one), other.destroy())).pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    /** Cuts all connections, and takes none until it is up again, to the same server or to another. */
    down() {
      isUp = false;
      for (const one of open) one.destroy();
    },
    up(other = target) {
      [isUp, target] = [true, other];
    },
    end: () => (server.close(), open.forEach((one) => one.destroy())),
  };
}

const port = ({ url }) => Number(new URL(url).port);
const range = (from, to) => Array.from({ length: to - from }, (_, index) => `${from + index}`);

/** A NATS server with JetStream. */
async function nats() {
  const folder = mkdtempSync(join(tmpdir(), 'sockeye-topics-'));
  const beside = process.env.CONFORMANCE_PYTHON ? dirname(process.env.CONFORMANCE_PYTHON) + delimiter : '';
  const free = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => free.once('listening', resolve));
  const { port } = free.address();
  await new Promise((resolve) => free.close(resolve));
  const start = async () => {
    const child = spawn('nats-server', ['--addr', '127.0.0.1', '--port', `${port}`, '--jetstream', '--store_dir', folder], {
      stdio: 'ignore', env: { ...process.env, PATH: beside + process.env.PATH },
    });
    const ended = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
    let answers = false;
    await until('a NATS server', () => {
      connect(port, '127.0.0.1').on('connect', function () { answers = true; this.destroy(); }).on('error', () => {});
      return answers;
    });
    return { child, ended };
  };
  let running = await start();
  process.once('exit', () => running.child.kill('SIGKILL'));
  return {
    url: `nats://127.0.0.1:${port}`,
    async kill() {
      running.child.kill('SIGKILL');
      await running.ended;
    },
    async start() {
      running = await start();
    },
    async end() {
      await this.kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

const report = new Report();
const broker = await nats();
const cleartext = (...extra) => serve('--cleartext', ...extra);
const local = await cleartext('--hub', 'local', '--history', '20');
const [one, other] = await Promise.all([cleartext('--hub', broker.url, '--jetstream'), cleartext('--hub', broker.url, '--jetstream')]);
const Topic = await client(local.url);

await report.run('all members hear text and octets, also the one that says it', async () => {
  const name = rooms.next().value;
  const members = await Promise.all([new Member(Topic, local.url, name).open(), new Member(Topic, local.url, name).open()]);
  members[0].say('hello', 'two\nlines', '@no:7\nhead', '', new Uint8Array([10, 0, 255]));
  for (const member of members) equal(await member.hears(5), ['hello', 'two\nlines', '@no:7\nhead', '', [10, 0, 255]], 'messages');
  await until('both are counted', () => members.every(({ members: count }) => count === 2));
  members[1].topic.close();
  await until('one is counted', () => members[0].members === 1);
  members[0].topic.close();
});

await report.run('who is new gets some of the last messages', async () => {
  const name = rooms.next().value;
  const member = await new Member(Topic, local.url, name).open();
  member.say(...range(0, 10));
  await member.hears(10);
  const late = await new Member(Topic, local.url, name, { last: 3 }).open();
  equal(await late.hears(3), range(7, 10), 'the last');
  equal(late.old, 3, 'said before');
  [member, late].forEach(({ topic }) => topic.close());
});

await report.run('a page whose connection is cut gets what it missed, once and in order', async () => {
  const name = rooms.next().value;
  const way = await relay(port(local));
  const [cut, stays] = await Promise.all([new Member(Topic, way.url, name).open(), new Member(Topic, local.url, name).open()]);
  for (let round = 0; round < 5; round++) {
    const sent = round * 20;
    stays.say(...range(sent, sent + 10));
    if (round % 2) await cut.hears(sent + 5); // in the midst of them
    way.down();
    await until('the cut is seen', () => !cut.topic.isOpen);
    equal(cut.topic.send('into the void'), false, 'send without a connection');
    stays.say(...range(sent + 10, sent + 20));
    await stays.hears(sent + 20);
    way.up();
    await until('it is back', () => cut.topic.isOpen);
    equal(await cut.hears(sent + 20), range(0, sent + 20), 'messages');
  }
  equal(cut.missed, [], 'missed');
  [cut, stays].forEach(({ topic }) => topic.close());
  way.end();
});

await report.run('a page that was at a server which did not know what it had seen gets nothing twice', async () => {
  const name = rooms.next().value;
  const [first, second] = await Promise.all([cleartext('--hub', broker.url), cleartext('--hub', broker.url)]);
  const way = await relay(port(first));
  const [cut, stays] = await Promise.all([new Member(Topic, way.url, name).open(), new Member(Topic, first.url, name).open()]);
  stays.say(...range(0, 10));
  await cut.hears(10);
  for (const { url } of [second, first]) {
    way.down();
    await until('the cut is seen', () => !cut.topic.isOpen);
    way.up(port({ url }));
    await until('it is back', () => cut.topic.isOpen);
  }
  stays.say(...range(10, 12));
  await until('the last comes', () => cut.heard.includes('11'));
  equal(cut.heard, range(0, 12), 'messages');
  [cut, stays].forEach(({ topic }) => topic.close());
  way.end();
  await Promise.all([first.stop(), second.stop()]);
});

await report.run('what is no longer kept is counted', async () => {
  const name = rooms.next().value;
  const way = await relay(port(local));
  const [cut, stays] = await Promise.all([new Member(Topic, way.url, name).open(), new Member(Topic, local.url, name).open()]);
  way.down();
  await until('the cut is seen', () => !cut.topic.isOpen);
  stays.say(...range(0, 50));
  await stays.hears(50);
  way.up();
  equal(await cut.hears(20), range(30, 50), 'what is kept');
  equal(cut.missed, [30], 'missed');
  [cut, stays].forEach(({ topic }) => topic.close());
  way.end();
});

await report.run('a server that has been started anew cannot tell what was missed, and says so', async () => {
  const name = rooms.next().value;
  const way = await relay(port(local));
  const member = await new Member(Topic, way.url, name).open();
  member.say('before');
  await member.hears(1);
  way.down();
  const stranger = await cleartext('--hub', 'local');
  way.up(port(stranger));
  await until('it is told', () => member.missed.length > 0);
  equal(member.missed, [null], 'missed');
  member.say('after');
  equal(await member.hears(2), ['before', 'after'], 'messages');
  // The next time all is known again.
  way.down();
  await until('the cut is seen', () => !member.topic.isOpen);
  way.up();
  await member.open();
  equal(member.missed, [null], 'missed');
  member.topic.close();
  way.end();
  await stranger.stop();
});

await report.run('members on two servers hear each other and are counted', async () => {
  const name = rooms.next().value;
  const members = await Promise.all([one, other].map(({ url }) => new Member(Topic, url, name).open()));
  members[0].say('from one');
  await members[1].hears(1);
  members[1].say('from the other');
  for (const member of members) equal(await member.hears(2), ['from one', 'from the other'], 'messages');
  await until('both are counted', () => members.every(({ members: count }) => count === 2));
  members.forEach(({ topic }) => topic.close());
});

await report.run('a page that comes back to another server has no hole and no double', async () => {
  const name = rooms.next().value;
  const way = await relay(port(one));
  const [moves, stays] = await Promise.all([new Member(Topic, way.url, name).open(), new Member(Topic, one.url, name).open()]);
  for (let round = 0; round < 6; round++) {
    const sent = round * 20;
    stays.say(...range(sent, sent + 10));
    if (round % 2) await moves.hears(sent + 5);
    way.down();
    await until('the cut is seen', () => !moves.topic.isOpen);
    stays.say(...range(sent + 10, sent + 20));
    way.up(port(round % 2 ? one : other));
    await until('it is back', () => moves.topic.isOpen);
    equal(await moves.hears(sent + 20), range(0, sent + 20), 'messages');
  }
  equal(moves.missed, [], 'missed');
  [moves, stays].forEach(({ topic }) => topic.close());
  way.end();
});

await report.run('a server that starts knows from the stream what was said before', async () => {
  const name = rooms.next().value;
  const first = await cleartext('--hub', broker.url, '--jetstream');
  const way = await relay(port(first));
  const member = await new Member(Topic, way.url, name).open();
  member.say(...range(0, 5));
  await member.hears(5);
  way.down();
  const speaker = await new Member(Topic, first.url, name).open();
  speaker.say(...range(5, 8));
  await speaker.hears(3);
  await sleep(300); // it is stored
  await first.stop();
  const second = await cleartext('--hub', broker.url, '--jetstream');
  way.up(port(second));
  equal(await member.hears(8), range(0, 8), 'messages');
  equal(member.missed, [], 'missed');
  const late = await new Member(Topic, second.url, name, { last: 100 }).open();
  equal(await late.hears(8), range(0, 8), 'the last');
  [member, speaker, late].forEach(({ topic }) => topic.close());
  way.end();
  await second.stop();
});

await report.run('while NATS is away members on one server hear each other, and the others hear it later or are told', async () => {
  const name = rooms.next().value;
  const members = await Promise.all([one, one, other].map(({ url }) => new Member(Topic, url, name).open()));
  await broker.kill();
  members[0].say('within');
  await members[1].hears(1);
  await broker.start();
  const [, , far] = members;
  // What the client of NATS had given to a connection that was dead is lost.
  // Servers tell how many they sent as they come back to NATS, and 1, 5 and 25 seconds after the last: who is to hear it may not
  // be back for the first of these.
  await until('it is heard or told of', () => far.heard.length === 1 || far.missed.length === 1, 2 * PATIENCE_MILLISECONDS);
  far.say('again');
  for (const member of members.slice(0, 2)) equal(await member.hears(2), ['within', 'again'], 'messages');
  await until('its own', () => far.heard.at(-1) === 'again');
  equal(far.missed, far.heard.length === 2 ? [] : [1], 'missed');
  members.forEach(({ topic }) => topic.close());
});

await report.run('a page waits longer and longer, each time by chance', async () => {
  const waits = [];
  const nowhere = new Topic('lobby', { server: 'http://127.0.0.1:9', shortest: 20, longest: 80 });
  nowhere.addEventListener('closed', ({ retryIn }) => waits.push(retryIn));
  await until('eight tries', () => waits.length >= 8);
  nowhere.close();
  waits.forEach((wait, index) => equal(wait >= 0 && wait <= Math.min(80, 20 * 2 ** index), true, `wait ${index} of ${wait}`));
  equal(new Set(waits).size > 4, true, 'by chance');
  const tries = waits.length;
  await sleep(200);
  equal(waits.length, tries, 'tries once it is closed');
});

await report.run('a name that no URL can have is refused', async () => {
  for (const name of ['', '.', '..']) {
    let refused = false;
    try {
      new Topic(name, { server: local.url });
    } catch (error) {
      refused = error instanceof RangeError;
    }
    equal(refused, true, `"${name}" is refused`);
  }
});

await Promise.all([local, one, other].map(({ stop }) => stop()));
await broker.end();
report.finish();
