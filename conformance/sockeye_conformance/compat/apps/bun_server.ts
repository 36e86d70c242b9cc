// `bun_server.ts PORT CERTIFICATE KEY`: an echo on Bun.serve, with HTTP/2 switched on.

const [port, certificate, key] = process.argv.slice(2);
Bun.serve({
  hostname: '127.0.0.1',
  port: Number(port),
  tls: { cert: Bun.file(certificate), key: Bun.file(key) },
  http2: true,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('a page\n')),
  websocket: { message: (socket, message) => void socket.send(message) },
});
