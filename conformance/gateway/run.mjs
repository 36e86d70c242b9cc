// Real browsers through `sockeye gateway` to servers that speak HTTP/1.1 alone, none of them changed: `ws`, Python's `websockets`,
// `socket.io` with its own client, and the dev servers of Vite and Next, whose pages follow an edited file.
// `node run.mjs [chromium] [firefox]`.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BROWSERS, helpers, launched } from '../browser/browsers.mjs';
import { Report, equal, gateway, sleep } from '../harness.mjs';
import * as sites from './sites.mjs';

const SOCKETS = 50;
const PATIENCE_MILLISECONDS = 20_000;

/** What the gateway's access log says of the WebSockets that have ended. */
function sockets(front) {
  const lines = front.said().split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line)).filter(({ websocket }) => websocket);
}

async function eventually(look, what) {
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  let seen;
  while (Date.now() < deadline) {
    seen = await look();
    if (seen) return seen;
    await sleep(50);
  }
  throw new Error(`${what}: not within ${PATIENCE_MILLISECONDS / 1000} s`);
}

/** A page of the site through a gateway, with all that belongs to it. */
class Scene {
  static async of(browser, start) {
    const site = await start();
    const front = await gateway(site.address, '--access-log', 'json').catch(async (error) => {
      await site.stop();
      throw error;
    });
    const page = await browser.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    return Object.assign(new Scene(), { site, front, page, complaints });
  }

  async load(path = '/') {
    await this.page.goto(`${this.front.url}${path}`, { waitUntil: 'load' });
    equal(await this.page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2', 'protocol of the page');
  }

  /** Every WebSocket that has ended came by extended CONNECT. */
  overHttp2(least) {
    const seen = sockets(this.front);
    equal([...new Set(seen.map(({ version }) => version))], ['HTTP/2'], 'versions of HTTP of the WebSockets');
    if (seen.length < least) throw new Error(`the access log has ${seen.length} WebSockets of ${least}`);
  }

  async end() {
    if (!this.page.isClosed()) await this.page.close();
    await this.front.stop();
    await this.site.stop();
  }
}

async function echoes(run, browser, start) {
  const scene = await Scene.of(browser, start);
  const { page, site } = scene;
  const named = (title) => `${site.name}: ${title}`;
  try {
    await run(named('its page loads over HTTP/2'), async () => {
      await scene.load();
      await page.evaluate(helpers);
      // `ws` gives no subprotocol to a page that asks for none, and a browser fails a socket whose own was not chosen.
      await page.evaluate(() => (conformance.url = `wss://${location.host}/`));
    });
    await run(named(`${SOCKETS} WebSockets open, echo and close with 1000`), async () => {
      const ends = await page.evaluate(async (count) => {
        await conformance.openMany(count, 8);
        const echoes = conformance.sockets.map((socket, n) => conformance.echo(socket, `message ${n}`));
        const wrong = (await Promise.all(echoes)).filter((text, n) => text !== `message ${n}`);
        const closed = await Promise.all(conformance.sockets.map(conformance.close));
        return { open: conformance.sockets.length, wrong, codes: [...new Set(closed.map(({ code, clean }) => `${code} ${clean}`))] };
      }, SOCKETS);
      equal(ends, { open: SOCKETS, wrong: [], codes: ['1000 true'] }, 'sockets');
    });
    await run(named('a text and a binary of 1 MiB come back'), async () => {
      const whole = await page.evaluate(async () => {
        const socket = await conformance.open(conformance.url);
        const text = 'x'.repeat(1 << 20);
        const binary = Uint8Array.from({ length: 1 << 20 }, (_, n) => (n * 31) % 251);
        const returned = [await conformance.echo(socket, text), await conformance.echo(socket, binary)];
        await conformance.close(socket);
        const octets = new Uint8Array(returned[1]);
        return [returned[0] === text, octets.length === binary.length && octets.every((octet, n) => octet === binary[n])];
      });
      equal(whole, [true, true], 'messages');
    });
    await run(named("the server's code and reason arrive"), async () => {
      const end = await page.evaluate(async () => {
        const socket = await conformance.open(`${conformance.url}close`);
        return conformance.ended(socket, () => socket.send('4001'));
      });
      equal(end, { code: 4001, reason: 'as asked', clean: true }, 'close event');
    });
    await run(named("no WebSocket left the page's HTTP/2 connection"), async () => {
      await eventually(() => sockets(scene.front).length >= SOCKETS + 2, 'the access log has every WebSocket');
      scene.overHttp2(SOCKETS + 2);
    });
    await run(named('a gateway that stops says 1001'), async () => {
      await page.evaluate(async () => {
        const open = await Promise.all(Array.from({ length: 5 }, () => conformance.open(conformance.url)));
        conformance.codes = Promise.all(open.map((socket) => conformance.ended(socket, () => {})));
      });
      const ends = page.evaluate(() => conformance.codes);
      equal(await scene.front.stop(), 0, 'exit status');
      equal([...new Set((await ends).map(({ code }) => code))], [1001], 'close codes');
    }, 40);
  } finally {
    await scene.end();
  }
}

async function socketIo(run, browser) {
  const scene = await Scene.of(browser, sites.socketIo);
  const { page, site } = scene;
  try {
    await run('socket.io: its own client goes from polling to a WebSocket over HTTP/2', async () => {
      await scene.load();
      await page.addScriptTag({ url: '/socket.io/socket.io.js' });
      await page.evaluate(() => (window.chat = window.io()));
      await page.waitForFunction(() => window.chat.io.engine?.transport?.name === 'websocket', { timeout: PATIENCE_MILLISECONDS });
      // The server's socket is told of it by the client's packet, which is on its way.
      await eventually(() => site.transports.size > 0, 'the server has heard of it');
      equal([...site.transports], ['websocket'], 'transports of the server');
    });
    await run('socket.io: an event and its acknowledgement', async () => {
      equal(await page.evaluate(() => window.chat.emitWithAck('say', 'hello')), 'you said hello', 'acknowledgement');
    });
    await run("socket.io: the WebSocket was on the page's HTTP/2 connection", async () => {
      await page.evaluate(() => window.chat.disconnect());
      await eventually(() => sockets(scene.front).length >= 1, 'the access log has the WebSocket');
      scene.overHttp2(1);
    });
  } finally {
    await scene.end();
  }
}

/** A dev server's page follows an edited file, without being loaded again. */
async function devServer(run, browser, start, file, hasKept) {
  const scene = await Scene.of(browser, start);
  const { page, site } = scene;
  const text = () => page.evaluate(() => document.querySelector('#text')?.textContent);
  try {
    await run(`${site.name}: its page loads over HTTP/2`, async () => {
      await scene.load();
      await eventually(async () => (await text()) === 'as it was', 'the page is drawn');
      await page.evaluate(() => (window.kept = true));
    }, 90);
    await run(`${site.name}: an edited file is seen in the page at once`, async () => {
      await sleep(1000); // the page's client opens its WebSocket once it has begun
      const path = join(site.folder, file);
      await writeFile(path, (await readFile(path, 'utf8')).replace('as it was', 'as it is now'));
      await eventually(async () => (await text()) === 'as it is now', 'the page has the new text');
      equal(await page.evaluate(() => window.kept === true), hasKept, 'the page was not loaded again');
    }, 60);
    await run(`${site.name}: no error in the page`, async () => equal(scene.complaints, [], 'errors'));
    await run(`${site.name}: its WebSocket was on the page's HTTP/2 connection`, async () => {
      await page.close(); // a page that is left may be kept, with its WebSocket
      await eventually(() => sockets(scene.front).length >= 1, 'the access log has the WebSocket');
      scene.overHttp2(1);
    });
  } finally {
    await scene.end();
  }
}

async function check(name, report) {
  const run = (title, ...rest) => report.run(`${name}: ${title}`, ...rest);
  const { browser, quit } = await launched(name);
  try {
    await echoes(run, browser, sites.ws);
    await echoes(run, browser, sites.websockets);
    await socketIo(run, browser);
    await devServer(run, browser, sites.vite, 'text.js', true);
    await devServer(run, browser, sites.next, 'pages/index.js', true);
  } finally {
    await quit();
  }
}

const report = new Report();
const names = process.argv.slice(2);
for (const name of names.length ? names : Object.keys(BROWSERS)) {
  await check(name, report).catch((error) => report.run(`${name}: runs`, () => Promise.reject(error)));
}
report.finish();
