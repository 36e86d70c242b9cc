#!/usr/bin/env bash
# Firefox ESR 153.8.0 (Debian 153.8.0esr-1~deb12u1) with a server of Node's own http2, WebSocket over HTTP/2 (RFC 8441).
# Did: a page calls close(1000, "done"); the server answers with a Close that has END_STREAM, and waits for Firefox's own.
# Surprise: none ever comes, no RST_STREAM either: the stream stays half-closed (local) for the life of the connection, while
# the page is told of a clean close. A server that counts such streams refuses the page's new ones after some reloads.
# Printed: page: code 1000 "done" clean true; server after 8 s: END_STREAM false, reset false, connection open true
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
const seen = { ended: false, reset: false, open: true };
server.on('stream', (stream, head) => {
  if (head[':protocol'] !== 'websocket') return stream.respond({ ':status': 200, 'content-type': 'text/html' }), stream.end('<p>page');
  stream.respond({ ':status': 200 });
  stream.on('data', (octets) => {
    if (octets[0] !== 0x88) return; // a Close, masked: its payload goes back as it is (RFC 6455 §5.5.1)
    const [mask, masked] = [octets.subarray(2, 6), octets.subarray(6, 6 + (octets[1] & 0x7f))];
    stream.end(Buffer.from([0x88, masked.length, ...masked.map((octet, index) => octet ^ mask[index % 4])]));
  });
  stream.on('end', () => (seen.ended = true));
  stream.on('close', () => (seen.reset = true));
  stream.on('error', () => (seen.reset = true));
  stream.session.on('close', () => (seen.open = false));
});
await new Promise((resolve) => server.listen(0, resolve));
const browser = await puppeteer.launch({
  browser: 'firefox', protocol: 'webDriverBiDi', headless: true, acceptInsecureCerts: true,
  executablePath: 'firefox/usr/lib/firefox-esr/firefox-esr',
});
console.error(await browser.version());
const page = await browser.newPage();
await page.goto(`https://localhost:${server.address().port}/`);
const event = await page.evaluate(() => new Promise((resolve) => {
  const socket = new WebSocket(`wss://${location.host}/`);
  socket.onopen = () => socket.close(1000, 'done');
  socket.onclose = ({ code, reason, wasClean }) => resolve(`code ${code} "${reason}" clean ${wasClean}`);
}));
await new Promise((resolve) => setTimeout(resolve, 8000));
console.log(`page: ${event}; server after 8 s: END_STREAM ${seen.ended}, reset ${seen.reset}, connection open ${seen.open}`);
await browser.close();
process.exit();
JS
printed=$(node run.mjs)
echo "$printed"
[[ $printed == 'page: code 1000 "done" clean true; server after 8 s: END_STREAM false, reset false, connection open true' ]]
