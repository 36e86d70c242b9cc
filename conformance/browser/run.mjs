// Real browsers against `sockeye serve`: its page, a hundred WebSockets on the page's own HTTP/2 connection, and no way
// back to HTTP/1.1. `node run.mjs [chromium] [firefox]`; screenshots go to $SOCKEYE_SCREENSHOTS or the temporary folder.

import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Report, equal, get, serve, sleep } from '../harness.mjs';
import { BROWSERS, helpers, launched } from './browsers.mjs';

const SOCKETS = 100;
const CYCLES = 200;
const SCREENSHOTS = process.env.SOCKEYE_SCREENSHOTS ?? join(tmpdir(), 'sockeye-screenshots');

/** Fails unless every open WebSocket of the server is on the asking page's own HTTP/2 connection. */
function onOneConnection(stats, sockets) {
  const own = stats.connections.find((connection) => connection.you);
  equal(own?.version, 'HTTP/2', "the page's connection");
  const elsewhere = stats.connections.filter((connection) => !connection.you && connection.sockets > 0);
  equal(elsewhere, [], 'connections with other WebSockets');
  if (sockets !== undefined) equal([own.sockets, stats.sockets], [sockets, sockets], 'sockets of the connection, of the server');
}

async function check(name, report) {
  const { firstSocket } = BROWSERS[name];
  const run = (title, ...rest) => report.run(`${name}: ${title}`, ...rest);
  const server = await serve();
  const other = await serve('--origin', 'any');
  const { browser, quit } = await launched(name);
  try {
    const page = await browser.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    await page.setViewport({ width: 1280, height: 900 });

    await run('the page loads over HTTP/2', async () => {
      await page.goto(`${server.url}/`, { waitUntil: 'load' });
      equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2', 'protocol');
      await page.evaluate(helpers);
    });
    await run(`the page opens ${SOCKETS} WebSockets, all on its own HTTP/2 connection`, async () => {
      await page.evaluate((count) => window.sockeye.open(count), SOCKETS);
      onOneConnection(await page.evaluate(() => conformance.stats()), SOCKETS);
    });
    await run('a screenshot of the page at work', async () => {
      await sleep(3000);
      await mkdir(SCREENSHOTS, { recursive: true });
      await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
      onOneConnection(await page.evaluate(() => conformance.stats()), SOCKETS);
    });
    await run('the page closes them all with 1000', async () => {
      const codes = await page.evaluate(() => window.sockeye.close());
      equal([codes.length, [...new Set(codes)]], [SOCKETS, [1000]], 'close codes');
    });

    const kinds = {
      'an empty text': () => '',
      'an empty binary': () => new Uint8Array(0),
      'a text': () => 'Grüße, 鮭 🐟',
      'a binary': () => Uint8Array.from({ length: 1000 }, (_, n) => n % 256),
      'a text of 1 MiB': () => 'x'.repeat(1 << 20),
      'a binary of 1 MiB': () => Uint8Array.from({ length: 1 << 20 }, (_, n) => (n * 31) % 251),
    };
    for (const [title, make] of Object.entries(kinds)) {
      await run(`${title} comes back, and 1000 at the end`, async () => {
        const result = await page.evaluate(async (source) => {
          const message = new Function(`return (${source})()`)();
          const socket = await conformance.open(conformance.url);
          const returned = await conformance.echo(socket, message);
          const octets = (data) => (typeof data === 'string' ? data : new Uint8Array(data).join());
          const same = typeof returned === typeof message || returned instanceof ArrayBuffer;
          const whole = same && octets(returned) === octets(message);
          return { protocol: socket.protocol, whole, ...(await conformance.close(socket)) };
        }, make.toString());
        equal(result, { protocol: 'echo', whole: true, code: 1000, clean: true }, 'exchange');
      });
    }

    await run(`${CYCLES} times open, echo, close: never off the HTTP/2 connection`, async () => {
      for (let cycle = 0; cycle < CYCLES; cycle += 1) {
        const [stats, closed] = await page.evaluate(async (text) => {
          const socket = await conformance.open(conformance.url);
          if ((await conformance.echo(socket, text)) !== text) throw new Error('another message came back');
          return [await conformance.stats(), await conformance.close(socket)];
        }, `cycle ${cycle}`);
        onOneConnection(stats);
        equal(closed, { code: 1000, clean: true }, `close in cycle ${cycle}`);
      }
    }, 120);
    await run(`${SOCKETS} at once, closed at once, opened again: still on one connection`, async () => {
      for (let round = 0; round < 3; round += 1) {
        const stats = await page.evaluate(async (count) => {
          const open = Array.from({ length: count }, () => conformance.open(conformance.url));
          const sockets = await Promise.all(open);
          const seen = await conformance.stats();
          const closed = await Promise.all(sockets.map(conformance.close));
          if (closed.some(({ code, clean }) => code !== 1000 || !clean)) throw new Error(JSON.stringify(closed));
          return seen;
        }, SOCKETS - 1); // one stream is left for the request
        onOneConnection(stats);
      }
    }, 60);
    await run(`the first WebSocket to an origin works (over ${firstSocket})`, async () => {
      const result = await page.evaluate(async (url) => {
        conformance.first = await conformance.open(url);
        return conformance.echo(conformance.first, 'first');
      }, `${other.url.replace('http', 'ws')}/echo`);
      equal(result, 'first', 'echo');
      const { connections } = JSON.parse((await get(other.url, '/stats')).body);
      equal(connections.filter(({ sockets }) => sockets).map(({ version }) => version), [firstSocket], 'version');
      equal((await page.evaluate(() => conformance.close(conformance.first))).code, 1000, 'close code');
    });
    await run("no error in the page's own program", async () => equal(complaints, [], 'errors'));
    await run('the server that stops says 1001 to every WebSocket, and ends cleanly', async () => {
      await page.evaluate(async () => {
        const sockets = await Promise.all(Array.from({ length: 10 }, () => conformance.open(conformance.url)));
        conformance.codes = Promise.all(sockets.map((socket) => new Promise((resolve) => (socket.onclose = (event) => resolve(event.code)))));
      });
      const codes = page.evaluate(() => conformance.codes);
      equal(await server.stop(), 0, 'exit status');
      equal([...new Set(await codes)], [1001], 'close codes');
    });
  } finally {
    await quit();
    await Promise.all([server.stop(), other.stop()]);
  }
}

const report = new Report();
const names = process.argv.slice(2);
for (const name of names.length ? names : Object.keys(BROWSERS)) {
  await check(name, report).catch((error) => report.run(`${name}: runs`, () => Promise.reject(error)));
}
report.finish();
