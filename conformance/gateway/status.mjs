// The gateway's status page in a real browser: what happens shows in it as it happens, in the light and in the dark, on a wide screen and
// on a phone's, and axe finds nothing. `node status.mjs [chromium] [firefox]`; SOCKEYE_SCREENSHOTS names a folder for pictures.

import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import axe from 'axe-core';
import { WebSocket } from 'ws';
import { BROWSERS, launched } from '../browser/browsers.mjs';
import { Report, equal, gateway, sleep } from '../harness.mjs';
import * as sites from './sites.mjs';

const SOCKETS = 60;
const SHOWN = 50;
const PATIENCE_MILLISECONDS = 20_000;
const SCREENS = { wide: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };

/** A gateway before a server, its status page, and the sockets through it. */
class Scene {
  static async of(browser, ...extra) {
    const site = await sites.ws();
    const front = await gateway(site.address, '--cleartext', '--access-log', 'off', '--metrics', '127.0.0.1:0', ...extra);
    const at = await said(front, /status at (\S+)/);
    const page = await browser.newPage();
    const complaints = [];
    page.on('pageerror', (error) => complaints.push(error.message));
    page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
    return Object.assign(new Scene(), { site, front, at, page, complaints, sockets: [] });
  }

  async load() {
    await this.page.goto(this.at, { waitUntil: 'load' });
    await this.shows('#state', 'live');
  }

  async open(path) {
    const socket = new WebSocket(`${this.front.url.replace('http', 'ws')}${path}`);
    socket.on('error', () => {});
    await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    this.sockets.push(socket);
    return socket;
  }

  async echo(socket, message) {
    const echoed = new Promise((resolve) => socket.once('message', resolve));
    socket.send(message);
    await echoed;
  }

  /** Waits until what is at a selector has this text, or one that matches. */
  async shows(selector, wanted) {
    const deadline = Date.now() + PATIENCE_MILLISECONDS;
    let text;
    while (Date.now() < deadline) {
      text = await this.page.evaluate((at) => document.querySelector(at)?.innerText, selector);
      if (wanted instanceof RegExp ? wanted.test(text) : text === wanted) return;
      await sleep(50);
    }
    throw new Error(`${selector} shows ${JSON.stringify(text)} and not ${wanted}`);
  }

  async end() {
    await this.page.close();
    for (const socket of this.sockets) socket.terminate();
    await this.front.stop();
    this.site.stop();
  }
}

/** What the program said, once it has. */
async function said(front, what) {
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  for (let found; Date.now() < deadline; await sleep(20)) if ((found = front.said().match(what))) return found[1];
  throw new Error(`the gateway did not say ${what}: ${front.said()}`);
}

/** What axe finds wrong, in words. */
async function faults(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ').slice(0, 200)}`);
}

async function happenings(run, browser, name) {
  const scene = await Scene.of(browser, '--drain', '20s');
  const { page, site, front } = scene;
  try {
    await run('begins with nothing open', async () => {
      await scene.load();
      await scene.shows('#more', 'No WebSocket is open.');
      await scene.shows('#upstreams tr', /well\s+0\s+0\s+0\s+0$/);
    });
    await run(`${SOCKETS} WebSockets show as they open, ${SHOWN} by name`, async () => {
      for (let n = 0; n < SOCKETS; n += 1) await scene.open(`/room/${n}?token=hush`);
      await scene.shows('#open-sockets', `${SOCKETS}`);
      await scene.shows('#more', `and ${SOCKETS - SHOWN} more`);
      equal(await page.evaluate(() => document.querySelectorAll('#open tr').length), SHOWN, 'rows');
      await scene.shows('#upstreams tr', new RegExp(`well\\s+${SOCKETS}\\s+${SOCKETS}\\s+${SOCKETS}\\s+0$`));
      await scene.shows('#connections', new RegExp(`of HTTP/2, ${SOCKETS} of HTTP/1.1$`));
    });
    await run('the busiest, the oldest and the newest come first', async () => {
      await scene.echo(scene.sockets[30], randomBytes(100_000));
      await scene.shows('#open tr td:nth-child(2)', /\/room\/30$/);
      await page.select('#order', 'oldest');
      await scene.shows('#open tr td:nth-child(2)', /\/room\/0$/);
      await page.select('#order', 'newest');
      await scene.shows('#open tr td:nth-child(2)', new RegExp(`/room/${SOCKETS - 1}$`));
    });
    await run('octets show as they go', async () => {
      const busy = setInterval(() => scene.sockets.at(-1).send(randomBytes(10_000)), 100);
      await scene.shows('#flow', /kB$/).finally(() => clearInterval(busy));
      await scene.shows('#open tr td:nth-child(7)', /kB$/);
    });
    await run('no address of a client, and no query', async () => {
      const seen = await page.evaluate(() => document.body.innerText);
      equal([seen.includes('hush'), /127\.0\.0\.1(?!:)/.test(seen)], [false, false], 'what is to be seen');
    });
    for (const [screen, viewport] of Object.entries(SCREENS)) {
      for (const scheme of ['light', 'dark']) {
        await run(`axe finds nothing: ${screen}, ${scheme}`, async () => {
          await page.setViewport(viewport);
          // Puppeteer's protocol for Firefox has no color schemes.
          if (name === 'chromium') await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
          await scene.shows('#state', 'live');
          equal(await faults(page), [], 'violations');
          equal(await page.evaluate(() => document.documentElement.scrollWidth > innerWidth), false, 'what is wider than the screen');
          if (!process.env.SOCKEYE_SCREENSHOTS) return;
          await mkdir(process.env.SOCKEYE_SCREENSHOTS, { recursive: true });
          await page.screenshot({ path: join(process.env.SOCKEYE_SCREENSHOTS, `status-${name}-${screen}-${scheme}.png`) });
        });
      }
    }
    await run('what ends is told', async () => {
      await page.setViewport(SCREENS.wide);
      scene.sockets[0].close(1000);
      await scene.shows('#open-sockets', `${SOCKETS - 1}`);
      await scene.shows('#recent tr', /WebSocket localhost\/room\/0 HTTP\/1.1\s+101\s.*done$/s);
    });
    await run('a drain is told, and the end', async () => {
      const ended = front.stop('SIGTERM');
      await scene.shows('#state', /^draining/);
      for (const socket of scene.sockets) socket.close();
      equal(await ended, 0, 'exit status');
      await scene.shows('#state', 'the gateway does not answer');
    });
    // The last is of a gateway that is gone.
    await run('no error in the page before that', async () => {
      equal(scene.complaints.filter((text) => !/ERR_|Failed to load|NetworkError/.test(text)), [], 'errors');
    });
  } finally {
    site.stop();
    await scene.end();
  }
}

async function troubles(run, browser) {
  const scene = await Scene.of(browser, '--status-clients');
  try {
    await run('addresses of clients, where they are asked for', async () => {
      await scene.load();
      await scene.open('/');
      await scene.shows('#open tr td.client', '127.0.0.1');
    });
    await run('an upstream that is gone is told, with its reason', async () => {
      scene.site.stop();
      // It rests for a second, then for two: whoever asks again and again finds it so.
      const asking = setInterval(() => fetch(scene.front.url).catch(() => {}), 100);
      await scene.shows('#upstreams tr', /is the server running there\?/).finally(() => clearInterval(asking));
      await scene.shows('#failed', /^[1-9]/);
    });
  } finally {
    await scene.end();
  }
}

async function check(name, report) {
  const run = (title, check) => report.run(`${name}: the status page: ${title}`, check, 40);
  const { browser, quit } = await launched(name);
  try {
    await happenings(run, browser, name);
    await troubles(run, browser);
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
