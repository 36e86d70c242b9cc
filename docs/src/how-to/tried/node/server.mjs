import { createServer } from 'node:http';
import express from 'express';
import { WebSocketServer } from 'ws';

const app = express();
// req.protocol, req.ip and req.hostname then say what the gateway says, and so what the browser did.
app.set('trust proxy', 'loopback');
app.get('/', (req, res) => res.send(`${req.protocol} from ${req.ip} to ${req.hostname}\n`));

const server = createServer(app);
const sockets = new WebSocketServer({ server, path: '/chat' });
sockets.on('connection', (socket) => {
  socket.on('error', console.error);
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen(3000, 'localhost');
