// What every Node program of this folder shares: the server under test, and the list of what passed.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import http2 from 'node:http2';
import { fileURLToPath } from 'node:url';

const PROGRAM = process.env.SOCKEYE ?? fileURLToPath(new URL('../target/release/sockeye', import.meta.url));
const STARTUP_MILLISECONDS = 20_000;

/**
 * Starts `sockeye serve` on a free port, or where `--listen` says. SOCKEYE_URL names a server that already runs instead. `log()` is what it has
 * logged, warnings and errors; with SOCKEYE_LOG that goes to our stderr instead. `kill()` ends it without a word.
 */
export async function serve(...extra) {
  if (process.env.SOCKEYE_URL) return { url: process.env.SOCKEYE_URL, log: () => '', stop: async () => 0, kill: () => {} };
  return started('serve', '--stats', 'all', ...extra);
}

/** The same for `sockeye gateway`, in front of the server at `upstream`; `said()` is all that it wrote to its stdout. */
export function gateway(upstream, ...extra) {
  return started('gateway', upstream, ...extra);
}

async function started(command, ...extra) {
  const log = process.env.SOCKEYE_LOG ? 'inherit' : 'pipe';
  const listen = extra.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
  const child = spawn(PROGRAM, [command, ...listen, ...extra], { stdio: ['ignore', 'pipe', log] });
  let logged = '';
  let written = '';
  child.stderr?.setEncoding('utf8').on('data', (text) => (logged += text));
  const ended = new Promise((resolve) => child.once('exit', (status, signal) => resolve(status ?? signal)));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
  const listening = new Promise((resolve) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      written += `${line}\n`;
      const found = line.match(/listening on (https?):\/\/[\d.]+:(\d+)/);
      if (found) resolve(`${found[1]}://localhost:${found[2]}`);
    });
  });
  const failed = Promise.race([ended, new Promise((resolve) => child.once('error', resolve)), sleep(STARTUP_MILLISECONDS)]);
  const url = await Promise.race([listening, failed.then(() => null)]);
  if (url === null) {
    kill();
    throw new Error(`${PROGRAM} ${command} ${extra.join(' ')}: did not say where it listens: ${logged.split('\n')[0]}`);
  }
  /** Ends the server as Ctrl-C does, or another signal; its exit status. */
  const stop = async (signal = 'SIGINT') => {
    child.kill(signal);
    const status = await Promise.race([ended, sleep(15_000, 'still running')]);
    child.kill('SIGKILL');
    return status;
  };
  return { url, log: () => logged, said: () => written, stop, kill };
}

export function sleep(milliseconds, value) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds, value).unref());
}

/** An HTTP/2 session to the server, which has a self-signed certificate. */
export function session(url) {
  const created = http2.connect(url, { rejectUnauthorized: false });
  created.on('error', () => {}); // what is under way fails by itself
  return created;
}

/** GET over HTTP/2, on a session of its own unless one is given: { status, body }. */
export async function get(url, path, on = session(url)) {
  try {
    const stream = on.request({ ':path': path });
    const status = new Promise((resolve, reject) => stream.once('response', (head) => resolve(head[':status'])).once('error', reject));
    let body = '';
    for await (const part of stream.setEncoding('utf8')) body += part;
    return { status: await status, body };
  } finally {
    if (arguments.length < 3) on.close();
  }
}

export function equal(actual, expected, what) {
  const [got, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (got !== wanted) throw new Error(`${what}: got ${got}, wanted ${wanted}`);
}

/** One line per case, and the closing line that says how many passed. */
export class Report {
  passed = 0;
  failed = 0;

  /** Runs `check`; what it throws is why the case failed. */
  async run(name, check, seconds = 30) {
    try {
      const late = new Error(`not done after ${seconds} s`);
      let timer;
      const timeout = new Promise((_, reject) => (timer = setTimeout(reject, seconds * 1000, late)));
      await Promise.race([check(), timeout]).finally(() => clearTimeout(timer));
      this.passed += 1;
      console.log(`ok    ${name}`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAIL  ${name}: ${`${error?.message ?? error}`.split("\n")[0]}`);
    }
  }

  /** Prints the closing line and ends the program. */
  finish() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    process.exit(this.failed || !this.passed ? 1 : 0);
  }
}
