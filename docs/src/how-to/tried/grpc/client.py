from pathlib import Path

import grpc

credentials = grpc.ssl_channel_credentials(Path("/etc/sockeye/chain.pem").read_bytes())
with grpc.secure_channel("localhost:4433", credentials) as channel:
    print(channel.unary_unary("/Talk/Greet")(b"you", timeout=10).decode())
    for answer in channel.stream_stream("/Talk/Chat")(iter([b"one", b"two"]), timeout=10):
        print(answer.decode())
