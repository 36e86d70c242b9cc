export default {
  fetch(request) {
    if (request.headers.get('upgrade') !== 'websocket') return new Response('a page');
    const { 0: client, 1: server } = new WebSocketPair();
    server.accept();
    server.addEventListener('message', ({ data }) => server.send(data));
    server.addEventListener('close', ({ code, reason }) => server.close(code, reason));
    return new Response(null, { status: 101, webSocket: client });
  },
};
