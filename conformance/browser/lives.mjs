// How lives end in real browsers: pages that are reloaded and closed, sockets that are closed, refused and cancelled, and
// what the server keeps of them. `node lives.mjs [chromium] [firefox]`

import { Report, equal, serve, sleep } from '../harness.mjs';
import { BROWSERS, helpers, launched } from './browsers.mjs';

// So many are opened at a time; Chromium delays sockets where 16 are pending, over any HTTP.
const BATCH = { chromium: 8, firefox: 100 };
// What opening may take beyond the first time: below the five seconds that the server grants a peer to end its half.
const SLACK_MILLISECONDS = 1500;
// How long a tab takes to go, the time to ask the server included.
const AT_ONCE_MILLISECONDS = 1000;
const PONG_MILLISECONDS = 40_000;
// What no browser moves.
const FAULTS = [
  'close_timeouts', 'connection_errors', 'messages_too_big', 'panics', 'ping_floods', 'reset_floods', 'resets_for_faults', 'streams_refused',
  'web_socket_violations',
]; // prettier-ignore

/** One server, and pages of it in one browser. */
class Site {
  constructor(name, browser, server) {
    Object.assign(this, { name, browser, server, pages: [] });
  }

  /** A tab with the server's page. */
  async tab() {
    const page = await this.browser.newPage();
    this.pages.push(page);
    await page.goto(`${this.server.url}/`, { waitUntil: 'load' });
    await page.evaluate(helpers);
    return page;
  }

  /** Opens so many WebSockets in a tab, and fails where one fails. */
  async open(page, count) {
    equal((await page.evaluate((count, batch) => conformance.openMany(count, batch), count, BATCH[this.name])).failed, 0, 'sockets that failed');
  }

  async end() {
    await Promise.all(this.pages.filter((page) => !page.isClosed()).map((page) => page.close()));
    this.server.kill(); // a browser takes its time to let a connection go
  }

  /** Fails where the server has counted a fault, or logged a warning or an error. */
  async isWell(page) {
    const { counters } = await statistics(page);
    equal(Object.fromEntries(Object.entries(counters).filter(([name, count]) => FAULTS.includes(name) && count)), {}, 'faults counted');
    equal(this.server.log().split('\n').filter((line) => /\b(WARN|ERROR)\b|panicked/.test(line)), [], 'warnings and errors logged');
  }
}

const statistics = (page) => page.evaluate(() => conformance.stats());
const own = ({ connections }) => connections.find(({ you }) => you);

/** Fails unless the server has so many WebSockets, not later than in so many milliseconds. */
async function socketsLeft(page, count, milliseconds = AT_ONCE_MILLISECONDS) {
  const deadline = Date.now() + milliseconds;
  for (;;) {
    const late = Date.now() > deadline;
    const { sockets } = await statistics(page);
    if (sockets === count) return;
    if (late) throw new Error(`${sockets} sockets are left after ${milliseconds} ms, wanted ${count}`);
    await sleep(milliseconds / 20);
  }
}

/** A page with open sockets that is reloaded again and again: none of its sockets fails, nor waits, nor does its fetch. */
async function reloads(site, sockets, rounds) {
  const page = await site.tab();
  const load = () =>
    page.evaluate(
      async (count, batch) => {
        const opened = await conformance.openMany(count, batch);
        const fetched = await fetch('/', { cache: 'no-store', signal: AbortSignal.timeout(10_000) }).then(
          ({ ok }) => ok,
          () => false,
        );
        return { ...opened, fetched };
      },
      sockets,
      BATCH[site.name],
    );
  const { id } = own(await statistics(page));
  const first = await load();
  const seen = [first];
  for (let round = 1; round <= rounds; round += 1) {
    await page.reload({ waitUntil: 'load' });
    await page.evaluate(helpers);
    seen.push(await load());
  }
  const slowest = Math.max(...seen.map(({ milliseconds }) => milliseconds));
  const summary = {
    failed: seen.reduce((sum, { failed }) => sum + failed, 0),
    fetchesFailed: seen.filter(({ fetched }) => !fetched).length,
    waited: slowest > first.milliseconds + SLACK_MILLISECONDS ? `${Math.round(slowest)} ms, the first ${Math.round(first.milliseconds)}` : 'no',
  };
  equal(summary, { failed: 0, fetchesFailed: 0, waited: 'no' }, `${rounds} reloads`);
  await site.isWell(page);
  await socketsLeft(page, sockets);
  equal(own(await statistics(page)).id, id, "the page's connection");
}

/** A tab with open sockets is closed, with another of the same connection beside it. `busy`: with messages under way. */
async function tabCloses(site, busy) {
  const [stays, goes] = [await site.tab(), await site.tab()];
  await site.open(stays, 1);
  await site.open(goes, 20);
  const before = own(await statistics(stays));
  equal([before.version, before.sockets], ['HTTP/2', 21], 'the connection that both share');
  if (busy) await goes.evaluate(() => conformance.sockets.forEach((socket) => socket.send('x'.repeat(100_000))));
  await goes.close();
  await socketsLeft(stays, 1);
  await site.isWell(stays);
  await site.open(stays, 1);
  equal(await stays.evaluate(() => conformance.echo(conformance.sockets[0], 'well')), 'well', 'echo');
  const after = own(await statistics(stays));
  equal([after.id, after.sockets], [before.id, 2], "the other tab's connection");
}

/** `close` with these arguments: the event is clean and has them. */
async function closes(site, ...argument) {
  const page = await site.tab();
  await site.open(page, 1);
  const event = await page.evaluate((argument) => conformance.ended(conformance.sockets[0], (socket) => socket.close(...argument)), argument);
  const [code, reason] = argument;
  // A Close without a code may be answered by 1000 or by none (RFC 6455 §7.1.5: 1005).
  const wanted = { code: code ?? (event.code === 1000 ? 1000 : 1005), reason: reason ?? '', clean: true };
  equal(event, wanted, 'close event');
  await socketsLeft(page, 0);
  await site.isWell(page);
}

/** The server closes for a message that is too large: the page gets its code, and no other socket ends. */
async function serverCloses(site) {
  const page = await site.tab();
  await site.open(page, 2);
  const event = await page.evaluate(() => conformance.ended(conformance.sockets[0], (socket) => socket.send('x'.repeat((1 << 20) + 1))));
  // It has failed the connection (RFC 6455 §7.1.7) and waits for no answer, which Firefox calls unclean.
  equal(event.code, 1009, 'close event');
  equal(await page.evaluate(() => conformance.echo(conformance.sockets[1], 'well')), 'well', 'echo');
  await socketsLeft(page, 1);
}

async function serverStops(site) {
  const page = await site.tab();
  await site.open(page, 20);
  await page.evaluate(() => (conformance.events = conformance.sockets.map((socket) => conformance.ended(socket, () => {}))));
  const events = page.evaluate(() => Promise.all(conformance.events));
  equal(await site.server.stop(), 0, 'exit status');
  equal([...new Set((await events).map(({ code, clean }) => `${code} ${clean}`))], ['1001 true'], 'close events');
}

/** A page's sockets outlive their servers: each is told at a moment of its own, opened again at once, and no message is lost. */
async function restarts(site, sockets, times) {
  const page = await site.tab();
  await page.evaluate((count) => {
    const state = (conformance.lives = { open: 0, told: 0, refused: 0, broken: 0, wrong: 0 });
    const live = (number) => {
      let next = 0; // to be answered
      const open = () => {
        const socket = new WebSocket(conformance.url, 'echo');
        let sent = next, isOpen = false;
        const say = () => socket.readyState === WebSocket.OPEN && socket.send(`${sent++} of ${number}`);
        socket.onopen = () => {
          isOpen = true;
          state.open += 1;
          say();
        };
        socket.onmessage = ({ data }) => {
          if (data !== `${next++} of ${number}`) state.wrong += 1;
          setTimeout(say, 20);
        };
        socket.onclose = ({ code, wasClean }) => {
          state.open -= isOpen;
          state[!isOpen ? 'refused' : code === 1001 && wasClean ? 'told' : 'broken'] += 1;
          setTimeout(open, isOpen ? 0 : 100);
        };
      };
      open();
    };
    for (let number = 0; number < count; number += 1) live(number);
  }, sockets);
  const all = () => page.waitForFunction((count) => conformance.lives.open === count, { timeout: 20_000 }, sockets);
  await all();
  const { host } = new URL(site.server.url);
  for (let time = 0; time < times; time += 1) {
    const following = await serve('--reuse-port', '--drain', '1', '--listen', host.replace('localhost', '127.0.0.1'));
    const status = await site.server.stop('SIGTERM');
    site.server = following;
    equal(status, 0, 'exit status');
    await all();
  }
  const { refused, broken, wrong, told } = await page.evaluate(() => conformance.lives);
  equal({ refused, broken, wrong }, { refused: 0, broken: 0, wrong: 0 }, 'what went wrong');
  if (told < sockets * times) throw new Error(`${told} Closes in ${times} restarts of ${sockets} sockets`);
}

/** Refused sockets leave the page's connection as it is, with or without others on it. */
async function refused(site, path, sockets) {
  const page = await site.tab();
  await site.open(page, sockets);
  const { id } = own(await statistics(page));
  for (let round = 0; round < 3; round += 1) {
    const opened = await page.evaluate((url) => conformance.open(url).then(() => true, () => false), `wss://${new URL(site.server.url).host}${path}`);
    equal(opened, false, 'opened');
    await sleep(200); // for a GOAWAY that would come
    const after = await statistics(page);
    equal([own(after).id, own(after).sockets], [id, sockets], "the page's connection, and its sockets");
  }
  await site.isWell(page);
}

/** Sockets that are closed while they connect, whose page then goes: Firefox tells the server nothing of either. */
async function cancelled(site) {
  const [stays, goes] = [await site.tab(), await site.tab()];
  await goes.evaluate(() => {
    for (let n = 0; n < 5; n += 1) new WebSocket(conformance.url).close();
  });
  await sleep(500);
  await goes.close();
  await socketsLeft(stays, 0, PONG_MILLISECONDS);
  await site.open(stays, 1);
}

/** Pages answer the server's Pings: sockets that say nothing live on. */
async function silent(site) {
  const page = await site.tab();
  await site.open(page, 20);
  await sleep(4000);
  equal((await statistics(page)).sockets, 20, 'sockets');
  const answers = await page.evaluate(() => Promise.all(conformance.sockets.map((socket) => conformance.echo(socket, 'well'))));
  equal([...new Set(answers)], ['well'], 'echoes');
  await site.isWell(page);
}

// Of each check: what it is, the options of `serve`, what it does, and the seconds that it may take.
const CHECKS = [
  ['20 reloads of a page with 60 sockets, of 100 streams: none fails, none waits', ['--max-streams', '100'], (site) => reloads(site, 60, 20), 200],
  ['6 reloads of a page with 60 sockets, of 64 streams: none fails, none waits', ['--max-streams', '64'], (site) => reloads(site, 60, 6), 90],
  ['6 reloads of a page with 10 sockets, of 20 streams: none fails, none waits', ['--max-streams', '20'], (site) => reloads(site, 10, 6), 90],
  ['a tab with 20 sockets is closed: they are gone at once, and no fault', [], (site) => tabCloses(site, false)],
  ['a tab with messages under way is closed: the same', [], (site) => tabCloses(site, true)],
  ['close() is clean', [], (site) => closes(site)],
  ['close(1000, "done") is clean, and has its reason', [], (site) => closes(site, 1000, 'done')],
  ['close(3000) is clean', [], (site) => closes(site, 3000)],
  ['close(4999) with 123 octets is clean, and has its reason', [], (site) => closes(site, 4999, 'r'.repeat(123))],
  ['the server closes for a message too large: its code arrives, and the others live on', [], serverCloses],
  ['a server that stops closes every socket cleanly', [], serverStops],
  ['5 restarts by --reuse-port: 30 sockets are told, and open again; no message is lost', ['--reuse-port', '--drain', '1'], (site) => restarts(site, 30, 5), 120],
  ['a refusal (404) leaves the page its connection', [], (site) => refused(site, '/nope', 0)],
  ['a refusal (404) leaves other sockets their connection', [], (site) => refused(site, '/nope', 3)],
  ['a refusal (403) leaves the page its connection', ['--origin', 'https://elsewhere.example'], (site) => refused(site, '/echo', 0)],
  ['--ping 1: sockets that say nothing live on', ['--ping', '1'], silent],
];
// They wait for the time to a Pong, beside the others.
const SLOW_CHECKS = [
  ['--ping 1: sockets closed while they connect, and a page that is gone, are found', ['--ping', '1'], cancelled, 120],
];

const filter = process.argv.find((argument) => argument.startsWith('--filter='))?.slice('--filter='.length) ?? '';
const wanted = ([title]) => title.includes(filter);

/** One of the lists above, on a site of its own. */
async function checked(name, browser, [, options, run]) {
  const site = new Site(name, browser, await serve(...options));
  try {
    await run(site);
  } finally {
    await site.end();
  }
}

async function check(name, report) {
  const { browser, quit } = await launched(name);
  try {
    const slow = SLOW_CHECKS.filter(wanted).map((each) => [each, checked(name, browser, each)]);
    slow.forEach(([, outcome]) => outcome.catch(() => {})); // it is told at the end
    for (const each of CHECKS.filter(wanted)) await report.run(`${name}: ${each[0]}`, () => checked(name, browser, each), each[3]);
    for (const [each, outcome] of slow) await report.run(`${name}: ${each[0]}`, () => outcome, each[3]);
  } finally {
    await quit();
  }
}

const report = new Report();
const names = process.argv.slice(2).filter((argument) => !argument.startsWith('--filter='));
for (const name of names.length ? names : Object.keys(BROWSERS)) {
  await check(name, report).catch((error) => report.run(`${name}: runs`, () => Promise.reject(error)));
}
report.finish();
