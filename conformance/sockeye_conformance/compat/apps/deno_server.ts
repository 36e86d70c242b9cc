// `deno_server.ts PORT CERTIFICATE KEY`: an echo on Deno.serve.

const [port, certificate, key] = Deno.args;
const [cert, secret] = [Deno.readTextFileSync(certificate), Deno.readTextFileSync(key)];
Deno.serve({ hostname: '127.0.0.1', port: Number(port), cert, key: secret }, (request) => {
  if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') return new Response('a page\n');
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onmessage = (event) => socket.send(event.data);
  return response;
});
