// The browsers as the programs of this folder launch them, and what each page of theirs gets.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

export const BROWSERS = {
  chromium: {
    browser: 'chrome',
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    acceptInsecureCerts: true,
    args: [
      '--headless=new',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--ignore-certificate-errors',
    ],
    // Chromium puts a WebSocket on HTTP/2 only where it already has a session to that very origin.
    firstSocket: 'HTTP/1.1',
  },
  firefox: {
    browser: 'firefox',
    protocol: 'webDriverBiDi',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    acceptInsecureCerts: true,
    headless: true,
    firstSocket: 'HTTP/2',
  },
};

/** Put into the page as `conformance`: a small promise-shaped WebSocket, and the server's statistics. */
export function helpers() {
  window.conformance = {
    url: `wss://${location.host}/echo`,
    open: (url) =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(url, ['echo']);
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => resolve(socket);
        socket.onerror = () => reject(new Error(`${url} did not open`));
      }),
    echo: (socket, message) =>
      new Promise((resolve, reject) => {
        socket.onmessage = (event) => resolve(event.data);
        socket.onclose = (event) => reject(new Error(`closed with ${event.code} ${event.reason}`));
        socket.send(message);
      }),
    close: (socket) =>
      new Promise((resolve) => {
        socket.onclose = (event) => resolve({ code: event.code, clean: event.wasClean });
        socket.close(1000, 'done');
      }),
    /** The whole of the close event that `act` brings about. */
    ended: (socket, act) =>
      new Promise((resolve) => {
        socket.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, clean: wasClean });
        act(socket);
      }),
    /** Opens so many, `batch` at a time, since Chromium delays sockets where many are pending. */
    openMany: async (count, batch) => {
      const started = performance.now();
      const settled = [];
      while (settled.length < count) {
        const opening = Array.from({ length: Math.min(batch, count - settled.length) }, () => conformance.open(conformance.url));
        settled.push(...(await Promise.allSettled(opening)));
      }
      const open = settled.filter(({ status }) => status === 'fulfilled').map(({ value }) => value);
      conformance.sockets = [...(conformance.sockets ?? []), ...open];
      return { failed: count - open.length, milliseconds: performance.now() - started };
    },
    stats: async () => (await fetch('/stats', { cache: 'no-store' })).json(),
  };
}

/** A browser with a profile of its own; `quit()` ends it and removes that. */
export async function launched(name) {
  const { firstSocket, ...launch } = BROWSERS[name];
  const profile = await mkdtemp(join(tmpdir(), `sockeye-${name}-`));
  const browser = await puppeteer.launch({ ...launch, userDataDir: profile });
  const quit = async () => {
    await browser.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 3 });
  };
  return { browser, quit };
}
