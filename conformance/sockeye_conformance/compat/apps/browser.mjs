// `browser.mjs chromium|firefox URL`: what a page of the server's sees of one echo and a Close; a line of JSON tells it.

import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const [name, url] = process.argv.slice(2);
const puppeteer = createRequire(`${process.env.MODULES}/`)('puppeteer-core');
const launch = {
  chromium: { browser: 'chrome', args: ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'] },
  firefox: { browser: 'firefox', protocol: 'webDriverBiDi', headless: true },
}[name];
const profile = mkdtempSync(join(tmpdir(), `compat-${name}-`));
const browser = await puppeteer.launch({ ...launch, executablePath: process.env.BROWSER, acceptInsecureCerts: true, userDataDir: profile });
const version = await browser.version();
try {
  const page = await browser.newPage();
  await page.goto(new URL('/', url.replace('wss:', 'https:')).href);
  const said = await page.evaluate(
    (address) =>
      new Promise((resolve) => {
        const said = { opened: false, echoed: false, code: null, clean: null, error: null };
        const socket = new WebSocket(address);
        socket.onopen = () => ((said.opened = true), socket.send('hello'));
        socket.onmessage = ({ data }) => ((said.echoed = data === 'hello'), socket.close(1000, 'done'));
        socket.onerror = () => (said.error = 'an error event');
        socket.onclose = ({ code, wasClean }) => resolve({ ...said, code, clean: wasClean });
        setTimeout(() => resolve({ ...said, error: 'nothing more after 10 s' }), 10_000);
      }),
    url,
  );
  console.log(JSON.stringify({ ...said, version: version.replace(/^[^\d]*/, '') }));
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 3 });
}
