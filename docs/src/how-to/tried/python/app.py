from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/")
def who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.url.scheme} from {request.client.host}\n")


@app.websocket("/chat")
async def chat(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
