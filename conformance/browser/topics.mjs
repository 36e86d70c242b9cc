// Real browsers on the chat of `sockeye serve --hub`: two pages, their sockets on the pages' own HTTP/2 connections, and a server that goes
// and comes back. `node topics.mjs [chromium] [firefox]`; screenshots go to $SOCKEYE_SCREENSHOTS or the temporary folder.

import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Report, equal, serve } from '../harness.mjs';
import { BROWSERS, launched } from './browsers.mjs';

const SCREENSHOTS = process.env.SOCKEYE_SCREENSHOTS ?? join(tmpdir(), 'sockeye-screenshots');
// A page in the background draws nothing, so that frames are none to wait for.
const PATIENCE = { timeout: 20_000, polling: 50 };

async function say(page, who, text) {
  await page.bringToFront();
  await page.$eval('#who', (input, who) => (input.value = who), who);
  await page.type('#text', text);
  await page.keyboard.press('Enter');
}

const shows = (page, text) => page.waitForFunction((text) => document.querySelector('#log')?.innerText.includes(text), PATIENCE, text);
const says = (page, text) => page.waitForFunction((text) => document.querySelector('#state')?.innerText.includes(text), PATIENCE, text);
const lines = (page) => page.$$eval('#log p', (all) => all.map((line) => line.innerText));

async function check(name, report) {
  const run = (title, ...rest) => report.run(`${name}: ${title}`, ...rest);
  let server = await serve('--hub', 'local');
  const { port } = new URL(server.url);
  const { browser, quit } = await launched(name);
  try {
    const complaints = [];
    const pages = [];
    for (const width of [1100, 390]) {
      const page = await browser.newPage();
      // Firefox says of each WebSocket that it cannot open that it cannot, and one is tried while the server is away.
      page.on('pageerror', ({ message }) => /can.t establish a connection/.test(message) || complaints.push(message));
      await page.setViewport({ width, height: 800 });
      pages.push(page);
    }
    const [one, other] = pages;
    await run('two pages of a topic hear each other, and know that they are two', async () => {
      for (const page of pages) {
        await page.goto(`${server.url}/topics#caf%C3%A9`, { waitUntil: 'load' });
        await says(page, 'here');
      }
      await say(one, 'Ann', 'Is anybody there? <b>鮭</b>');
      await shows(other, 'Is anybody there? <b>鮭</b>');
      await say(other, 'Ben', 'I am');
      await shows(one, 'I am');
      for (const page of pages) await says(page, '2 are here');
      equal(await one.$eval('#name', ({ textContent }) => textContent), 'café', 'name of the topic');
    });
    await run('their sockets are on HTTP/2 connections', async () => {
      const stats = await one.evaluate(async () => (await fetch('/stats')).json());
      equal(stats.connections.filter(({ sockets, version }) => sockets && version !== 'HTTP/2'), [], 'connections of HTTP/1.1');
    });
    await run('screenshots, also of a phone and in the dark', async () => {
      await mkdir(SCREENSHOTS, { recursive: true });
      await one.bringToFront();
      await one.screenshot({ path: join(SCREENSHOTS, `topics-${name}.png`) });
      await other.screenshot({ path: join(SCREENSHOTS, `topics-${name}-phone.png`) });
      const wide = await other.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      equal(wide, false, 'the phone has to scroll sideways');
      if (name !== 'chromium') return;
      await one.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: 'dark' }]);
      await one.screenshot({ path: join(SCREENSHOTS, `topics-${name}-dark.png`) });
    });
    await run('every control has a name', async () => {
      const nameless = await one.$$eval('input, button, [role=log]', (all) =>
        all.filter((e) => !(e.labels?.[0]?.innerText || e.innerText || e.ariaLabel)).map((e) => e.outerHTML));
      equal(nameless, [], 'controls without a name');
    });
    await run('who comes later sees what was said, and another topic has nothing of it', async () => {
      const late = await browser.newPage();
      await late.goto(`${server.url}/topics#caf%C3%A9`, { waitUntil: 'load' });
      await shows(late, 'I am');
      await late.evaluate(() => (location.hash = 'elsewhere'));
      await says(late, 'alone here');
      equal(await lines(late), [], 'lines elsewhere');
      await late.close();
    });
    await run('a server that goes and comes back is seen: it cannot tell what was missed', async () => {
      await server.stop();
      for (const page of pages) await says(page, 'Not connected');
      equal(await one.$eval('#send', ({ disabled }) => disabled), true, 'no sending');
      server = await serve('--hub', 'local', '--listen', `127.0.0.1:${port}`);
      for (const page of pages) await shows(page, 'Messages may be missing here.');
      for (const page of pages) await says(page, '2 are here');
      await say(one, 'Ann', 'Still there?');
      await shows(other, 'Still there?');
    });
    await run('the pages did not complain', async () => equal(complaints, [], 'errors of the pages'));
  } finally {
    await quit();
    await server.stop();
  }
}

const asked = process.argv.slice(2);
const report = new Report();
for (const name of asked.length ? asked : Object.keys(BROWSERS)) {
  await check(name, report).catch((error) => report.run(`${name}: runs`, () => Promise.reject(error)));
}
report.finish();
