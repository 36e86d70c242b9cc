"use strict";

const INTERVAL = 1000;
const POINTS = 60;

const element = (id) => document.getElementById(id);
const number = (count) => count.toLocaleString();
const lines = new Map();
let before = null;
let latest = 0;
let octetsOf = new Map();
let timer;

function octets(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 1000 && unit < units.length - 1) {
    count /= 1000;
    unit += 1;
  }
  return `${count < 10 && unit > 0 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function time(seconds) {
  if (seconds < 1) return `${Math.max(1, Math.round(seconds * 1000))} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} d`;
}

function say(id, text, name) {
  const at = element(id);
  // What stays is not said again to who listens to the page.
  if (at.textContent !== text) at.textContent = text;
  if (name !== undefined) at.className = name;
}

// Text alone, never markup: paths and hosts are what clients say. On a narrow screen each cell has its column's name.
function rows(id, cells) {
  const names = [...element(id).parentElement.tHead.rows[0].cells].map((cell) => cell.textContent);
  const made = cells.map((row) => {
    const tr = document.createElement("tr");
    row.forEach(([text, name], index) => {
      const td = document.createElement("td");
      td.textContent = text;
      td.title = text;
      td.dataset.name = names[index];
      if (name) td.className = name;
      tr.append(td);
    });
    return tr;
  });
  element(id).replaceChildren(...made);
  return made;
}

function draw(id, value) {
  const values = lines.get(id) ?? [];
  lines.set(id, values);
  values.push(value);
  if (values.length > POINTS) values.shift();
  const most = Math.max(1, ...values);
  const first = POINTS - values.length;
  const points = values.map((each, index) => `${((first + index) * 120) / (POINTS - 1)},${30 - (28 * each) / most}`);
  element(id).firstElementChild.setAttribute("points", points.join(" "));
}

function figures(status, now) {
  const seconds = before ? (now - before.now) / 1000 : 1;
  const per = (name) => (before ? Math.max(0, status[name] - before[name]) / seconds : 0);
  const [requests, received, sent, failed] = ["requests", "received", "sent", "failed"].map(per);
  before = { ...status, now };
  say("version", status.version);
  say("open-sockets", number(status.open_sockets));
  say("rate", requests < 10 ? requests.toFixed(1) : number(Math.round(requests)));
  say("flow", octets(received + sent));
  say("failed", number(status.failed));
  const { http1, http2 } = status.connections ?? {};
  say("connections", status.connections ? `clients’ connections: ${number(http2)} of HTTP/2, ${number(http1)} of HTTP/1.1` : "");
  say("under-way", `${number(status.open_requests)} under way`);
  say("octets", `${octets(received)} in, ${octets(sent)} out; ${octets(status.received + status.sent)} so far`);
  say("totals", `of ${number(status.requests)} requests; ${number(status.sockets)} WebSockets opened`);
  draw("sockets-line", status.open_sockets);
  draw("rate-line", requests);
  draw("flow-line", received + sent);
  draw("failed-line", failed);
}

function upstreams(all) {
  const is = ({ left, trouble }) => {
    if (left) return ["no longer configured: its WebSockets stay until they end", "soft"];
    return trouble ? [trouble, "ill"] : ["well", "well"];
  };
  rows(
    "upstreams",
    all.map((one) => [
      [one.route, "what"],
      [one.left ? one.target : `${one.target} (${one.protocol})`, "what"],
      is(one),
      [number(one.sockets), "number"],
      [number(one.open), "number"],
      [one.left ? "–" : number(one.begun), "number"],
      [one.left ? "–" : number(one.failures), "number"],
    ]),
  );
}

function sockets(status, seconds) {
  const seen = new Map(status.open.map((socket) => [socket.number, socket.received + socket.sent]));
  const rate = (socket) => {
    const last = octetsOf.get(socket.number);
    return last === undefined ? "–" : `${octets((seen.get(socket.number) - last) / seconds)}/s`;
  };
  rows(
    "open",
    status.open.map((socket) => [
      [socket.client ?? "–", "client"],
      [socket.path, "what"],
      [socket.route ?? "–"],
      [socket.upstream ?? "–", "what"],
      [socket.version],
      [time(socket.seconds), "number"],
      [octets(socket.received), "number"],
      [octets(socket.sent), "number"],
      [rate(socket), "number"],
    ]),
  );
  octetsOf = seen;
  const rest = status.open_sockets - status.open.length;
  const none = "No WebSocket is open.";
  say("more", status.open_sockets === 0 ? none : rest > 0 ? `and ${number(rest)} more` : "");
}

function recent(exchanges) {
  const made = rows(
    "recent",
    exchanges.map((exchange) => [
      [exchange.client ?? "–", "client"],
      [`${exchange.what} ${exchange.host}${exchange.path} ${exchange.version}`, "what"],
      [exchange.status ?? "–"],
      [exchange.upstream ?? "–", "what"],
      [octets(exchange.received), "number"],
      [octets(exchange.sent), "number"],
      [time(exchange.seconds), "number"],
      [exchange.reason ?? exchange.end.replaceAll("_", " "), /^(failed|unavailable)$/.test(exchange.end) ? "ill" : ""],
    ]),
  );
  made.forEach((tr, index) => {
    if (exchanges[index].number > latest && latest > 0) tr.className = "new";
  });
  element("nothing").hidden = exchanges.length > 0;
  latest = Math.max(latest, ...exchanges.map((exchange) => exchange.number));
}

function show(status) {
  const now = performance.now();
  const seconds = before ? (now - before.now) / 1000 : 1;
  figures(status, now);
  upstreams(status.upstreams);
  sockets(status, seconds);
  recent(status.recent);
  document.body.classList.toggle("with-clients", status.shows_clients);
  if (status.draining) say("state", "draining: no new connections, and WebSockets are told to go one after another", "drains");
  else say("state", "live", "live");
}

async function look() {
  clearTimeout(timer);
  try {
    const response = await fetch(`status.json?order=${element("order").value}`, { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(response.statusText);
    show(await response.json());
  } catch {
    say("state", "the gateway does not answer", "gone");
  }
  clearTimeout(timer);
  // Nobody looks at a page that is hidden.
  if (!document.hidden) timer = setTimeout(look, INTERVAL);
}

element("order").addEventListener("change", look);
document.addEventListener("visibilitychange", look);
look();
