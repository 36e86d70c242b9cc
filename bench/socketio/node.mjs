// socket.io with its adapter for Redis, as its documentation has it, for bench/hub.
//
//     node node.mjs ADDRESS REDIS     a node, whose sockets are all in the room `t0`
//     node node.mjs publish REDIS     another node, which sends each line of its input to that room

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const [address, url] = process.argv.slice(2);
const publisher = createClient({ url });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const http = createServer();
const io = new Server(http, { adapter: createAdapter(publisher, subscriber), transports: ["websocket"] });
io.on("connection", (socket) => socket.join("t0"));

if (address === "publish") {
  createInterface({ input: process.stdin }).on("line", (line) => io.to("t0").emit("message", line));
} else {
  const [host, port] = address.split(":");
  http.listen(Number(port), host, 4096);
}
