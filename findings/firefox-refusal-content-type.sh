#!/usr/bin/env bash
# Firefox ESR 153.8.0 (Debian 153.8.0esr-1~deb12u1) with a server of Node's own http2, WebSocket over HTTP/2 (RFC 8441).
# Did: a page asks for a WebSocket and is refused with 404 and some content, once without and once with `content-type`;
# before and after it fetches the number of its HTTP/2 connection.
# Surprise: that one field costs the page its connection. Without it, same status and content, the connection is kept.
# Printed: without content-type: connection kept true; with content-type: connection kept false
# Seen: 2026-11-28.
set -euo pipefail
VERSION=153.8.0esr-1~deb12u1
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT; cd "$folder"
command -v node openssl npm >/dev/null
# Firefox itself goes into the folder; the system's package, if any, brings its libraries.
{ dpkg -s libgtk-3-0 libasound2 libdbus-glib-1-2 libxtst6 || { apt-get update -qq && apt-get install -y -qq --no-install-recommends libgtk-3-0 libasound2 libdbus-glib-1-2 libxtst6; }; } >/dev/null 2>&1
apt-get download -qq "firefox-esr=$VERSION" >/dev/null 2>&1 && dpkg -x firefox-esr_*.deb firefox
npm install --silent --no-audit --no-fund --ignore-scripts puppeteer-core@24.43.1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -keyout key.pem -out cert.pem 2>/dev/null
cat >run.mjs <<'JS'
import http2 from 'node:http2';
import { readFileSync } from 'node:fs';
import puppeteer from 'puppeteer-core';

const server = http2.createSecureServer({ key: readFileSync('key.pem'), cert: readFileSync('cert.pem'), settings: { enableConnectProtocol: true } });
let connections = 0;
server.on('session', (session) => (session.number = connections += 1));
server.on('stream', (stream, head) => {
  stream.on('error', () => {});
  if (head[':protocol'] === 'websocket') {
    stream.respond({ ':status': 404, ...(head[':path'] === '/with' && { 'content-type': 'text/plain' }) });
    return stream.end('There is nothing here.');
  }
  stream.respond({ ':status': 200, 'content-type': 'text/html', 'cache-control': 'no-store' });
  stream.end(`${stream.session.number}`);
});
await new Promise((resolve) => server.listen(0, resolve));
const browser = await puppeteer.launch({
  browser: 'firefox', protocol: 'webDriverBiDi', headless: true, acceptInsecureCerts: true,
  executablePath: 'firefox/usr/lib/firefox-esr/firefox-esr',
});
console.error(await browser.version());
const page = await browser.newPage();
await page.goto(`https://localhost:${server.address().port}/`);
const kept = (path) => page.evaluate(async (path) => {
  const pause = () => new Promise((resolve) => setTimeout(resolve, 1000));
  const number = async () => (await fetch('/', { cache: 'no-store' })).text();
  await pause();
  const before = await number();
  await new Promise((resolve) => (new WebSocket(`wss://${location.host}${path}`).onclose = resolve));
  await pause();
  return before === (await number());
}, path);
console.log(`without content-type: connection kept ${await kept('/without')}; with content-type: connection kept ${await kept('/with')}`);
await browser.close();
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'without content-type: connection kept true; with content-type: connection kept false' ]]
