"use strict";

const INTERVAL = 1000;
const POINTS = 60;

const element = (id) => document.getElementById(id);
const lines = { sockets: [], rate: [] };
let before = null;
let latest = 0;

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
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

// Text alone, never markup: paths and hosts are what clients say.
function row(cells) {
  const tr = document.createElement("tr");
  for (const [text, name] of cells) {
    const td = document.createElement("td");
    td.textContent = text;
    td.title = text;
    if (name) td.className = name;
    tr.append(td);
  }
  return tr;
}

function draw(id, values, value) {
  values.push(value);
  if (values.length > POINTS) values.shift();
  const most = Math.max(1, ...values);
  const points = values.map((each, index) => `${(index * 120) / (POINTS - 1)},${30 - (28 * each) / most}`);
  element(id).firstElementChild.setAttribute("points", points.join(" "));
}

function figures(status) {
  const now = performance.now();
  const rate = before ? ((status.requests - before.requests) * 1000) / (now - before.now) : 0;
  before = { now, requests: status.requests };
  element("version").textContent = status.version;
  element("open-sockets").textContent = status.open_sockets.toLocaleString();
  element("open-requests").textContent = status.open_requests.toLocaleString();
  element("rate").textContent = rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString();
  element("failed").textContent = status.failed.toLocaleString();
  element("totals").textContent =
    `${status.requests.toLocaleString()} requests, ${status.sockets.toLocaleString()} WebSockets so far`;
  element("octets").textContent = `${octets(status.received)} in, ${octets(status.sent)} out`;
  draw("sockets-line", lines.sockets, status.open_sockets);
  draw("rate-line", lines.rate, rate);
}

function upstreams(routes) {
  const rows = routes.flatMap((route) =>
    route.upstreams.map((upstream) =>
      row([
        [`${route.host ?? ""}${route.path}`],
        [`${upstream.target} (${upstream.protocol})`],
        upstream.trouble ? [upstream.trouble, "ill"] : ["well", "well"],
        [upstream.open.toLocaleString(), "number"],
        [upstream.begun.toLocaleString(), "number"],
        [upstream.failures.toLocaleString(), "number"],
      ]),
    ),
  );
  element("upstreams").replaceChildren(...rows);
}

function recent(exchanges) {
  const rows = exchanges.map((exchange) => {
    const failed = exchange.end === "failed" || exchange.end === "unavailable";
    const tr = row([
      [exchange.client ?? "–"],
      [`${exchange.what} ${exchange.host}${exchange.path} ${exchange.version}`, "what"],
      [exchange.status ?? "–"],
      [exchange.upstream ?? "–"],
      [octets(exchange.received), "number"],
      [octets(exchange.sent), "number"],
      [time(exchange.seconds), "number"],
      [exchange.reason ?? exchange.end.replaceAll("_", " "), failed ? "ill" : ""],
    ]);
    if (exchange.number > latest && latest > 0) tr.className = "new";
    return tr;
  });
  element("recent").replaceChildren(...rows);
  element("nothing").hidden = exchanges.length > 0;
  latest = Math.max(latest, ...exchanges.map((exchange) => exchange.number));
}

async function look() {
  const connection = element("connection");
  try {
    const response = await fetch("status.json", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(response.statusText);
    const status = await response.json();
    figures(status);
    upstreams(status.routes);
    recent(status.recent);
    connection.textContent = "live";
    connection.className = "live";
  } catch {
    connection.textContent = "the gateway does not answer";
    connection.className = "gone";
  }
  setTimeout(look, INTERVAL);
}

look();
