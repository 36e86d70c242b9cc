/**
 * Topics of `sockeye serve --hub`, for pages and other JavaScript with a WebSocket; without dependencies.
 *
 *     import { Topic } from "/topics.js";
 *     const topic = new Topic("lobby", { last: 50 });
 *     topic.addEventListener("message", ({ data }) => console.log(data));
 *     topic.addEventListener("missed", ({ count }) => console.log(`${count ?? "some"} messages were lost`));
 *     topic.send("hello"); // false while it is not connected
 *
 * It connects again by itself and then gets what was said meanwhile, each message once. Events:
 *
 * - `message`: `data`, a string or an ArrayBuffer, also of what this page has sent; `isOld` where it was said before the page was there.
 * - `missed`: `count` messages are lost and do not come; null where the server cannot tell how many.
 * - `members`: `count`, the sockets of the topic on all servers.
 * - `open`: it hears the topic.
 * - `closed`: it does not, with the `code` and `reason` of the WebSocket; it tries again in `retryIn` milliseconds.
 */

const PROTOCOL = "sockeye-topic.1";
/** The server says something at least every 25 seconds; a connection that is silent for longer is none. */
const SILENCE = 60_000;
/** Sources of which it is remembered what was seen: more than servers that say something to a topic. */
const SOURCES = 1_024;
/** After as long it counts as a success to be connected, and the next wait is short again. */
const SUCCESS = 5_000;

class TopicEvent extends Event {
  constructor(type, fields) {
    super(type);
    Object.assign(this, fields);
  }
}

export class Topic extends EventTarget {
  #url;
  #last;
  #shortest;
  #longest;
  #WebSocket;
  #socket = null;
  #isOpen = false;
  #isClosed = false;
  #tries = 0;
  /** How many messages of each source were seen; nothing before the first join. */
  #seen = null;
  /** The same as it was before each join, also of sources that the next server did not know: for what comes again from another. */
  #before = new Map();
  /** What came before the server has said what it is. */
  #early = [];
  #heard = 0;
  #joined = 0;
  #timer;
  #online = () => this.#retryNow();

  /**
   * @param {string} name of the topic: 1 to 255 octets of text.
   * @param {object} [options]
   * @param {string|URL} [options.server] where the topics are; by default where this module came from.
   * @param {number} [options.last] how many of the last messages come first.
   * @param {number} [options.shortest] milliseconds that the first wait before it connects again may have; each further one may be twice as long.
   * @param {number} [options.longest] milliseconds that any wait may have.
   * @param {typeof WebSocket} [options.WebSocket] where there is none.
   */
  constructor(name, { server = import.meta.url, last = 0, shortest = 1_000, longest = 30_000, WebSocket } = {}) {
    super();
    // A URL's path has no such part.
    if (!name || name === "." || name === "..") throw new RangeError(`no topic is called "${name}": it is 1 to 255 octets of text`);
    this.#url = new URL(`/topics/${encodeURIComponent(name)}`, server);
    this.#url.protocol = this.#url.protocol.replace(/^http/, "ws");
    [this.#last, this.#shortest, this.#longest] = [last, shortest, longest];
    this.#WebSocket = WebSocket ?? globalThis.WebSocket;
    globalThis.addEventListener?.("online", this.#online);
    // Whoever makes it can still listen.
    this.#timer = setTimeout(() => this.#connect());
  }

  /** Whether it hears the topic now. */
  get isOpen() {
    return this.#isOpen;
  }

  /** Says something to all, a string or octets. False where it is not connected: then nobody gets it. */
  send(data) {
    if (this.#isOpen) this.#socket.send(data);
    return this.#isOpen;
  }

  /** Leaves for good. */
  close() {
    this.#isClosed = true;
    globalThis.removeEventListener?.("online", this.#online);
    clearTimeout(this.#timer);
    this.#drop()?.close(1000);
  }

  #emit(type, fields) {
    this.dispatchEvent(new TopicEvent(type, fields));
  }

  #connect() {
    const url = new URL(this.#url);
    if (this.#seen) url.searchParams.set("seen", [...this.#seen].map(([source, count]) => `${source}:${count}`).join());
    else if (this.#last) url.searchParams.set("last", this.#last);
    const socket = new this.#WebSocket(url, PROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    // A close follows, but in Node 20 where it could not connect.
    socket.onerror = () => setTimeout(() => socket === this.#socket && this.#lost(1006, ""));
    [this.#socket, this.#early, this.#heard] = [socket, [], Date.now()];
    this.#watch();
  }

  /** Gives up a connection on which nothing comes: its end may take minutes to be seen. */
  #watch() {
    const rest = this.#heard + SILENCE - Date.now();
    if (rest > 0) {
      this.#timer = setTimeout(() => this.#watch(), rest);
      return;
    }
    this.#socket.close();
    this.#lost(1006, "nothing came for a minute");
  }

  /** Hears no more of this connection. */
  #drop() {
    const socket = this.#socket;
    if (socket) socket.onmessage = socket.onclose = socket.onerror = null;
    if (this.#isOpen && Date.now() > this.#joined + SUCCESS) this.#tries = 0;
    [this.#socket, this.#isOpen] = [null, false];
    return socket;
  }

  #lost(code, reason) {
    this.#drop();
    clearTimeout(this.#timer);
    // All that lost the same server come back at different times.
    const most = Math.min(this.#longest, this.#shortest * 2 ** this.#tries);
    const retryIn = Math.random() * most;
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#connect(), retryIn);
    this.#emit("closed", { code, reason, retryIn });
  }

  #retryNow() {
    if (this.#socket || this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  #hear(data) {
    this.#heard = Date.now();
    const message = read(data);
    if (message && this.#isOpen) this.#give(message);
    else if (message) this.#early.push(message);
    else this.#told(JSON.parse(data));
  }

  #told({ joined, missed, members }) {
    if (joined) this.#join(joined);
    if (missed !== undefined) this.#emit("missed", { count: missed });
    if (members !== undefined) this.#emit("members", { count: members });
  }

  #join({ seen, missed, replayed }) {
    const [early, isOld] = [this.#early, !this.#seen];
    this.#early = [];
    for (const [source, count] of this.#seen ?? []) {
      // What was seen last stays longest.
      this.#before.delete(source);
      this.#before.set(source, count);
    }
    for (const source of [...this.#before.keys()].slice(0, -SOURCES)) this.#before.delete(source);
    this.#seen = new Map();
    for (const part of seen ? seen.split(",") : []) {
      const [source, count] = part.split(":");
      this.#seen.set(source, Math.max(count, this.#before.get(source) ?? 0));
    }
    [this.#isOpen, this.#joined] = [true, Date.now()];
    this.#emit("open", {});
    if (missed !== 0) this.#emit("missed", { count: missed });
    // What comes first is within what the server says was seen with it.
    for (const { source, number, data } of early.splice(0, replayed)) {
      if (number >= (this.#before.get(source) ?? 0)) this.#emit("message", { data, isOld });
    }
    for (const message of early) this.#give(message);
  }

  #give({ source, number, data }) {
    // From another server may come what came from the first.
    if (number < Math.max(this.#seen.get(source) ?? 0, this.#before.get(source) ?? 0)) return;
    if (source) this.#seen.set(source, number + 1);
    this.#emit("message", { data, isOld: false });
  }
}

/** A message with its number, `@SOURCE:NUMBER`, a line feed and the data; null for what is none. */
function read(data) {
  let head;
  if (typeof data === "string") {
    if (!data.startsWith("@")) return null;
    const end = data.indexOf("\n");
    [head, data] = [data.slice(1, end), data.slice(end + 1)];
  } else {
    const octets = new Uint8Array(data);
    const end = octets.indexOf(10);
    [head, data] = [new TextDecoder().decode(octets.subarray(1, end)), data.slice(end + 1)];
  }
  const [source, number] = head.split(":");
  return { source, number: Number(number), data };
}
