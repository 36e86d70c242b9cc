from concurrent import futures

import grpc


def greet(request: bytes, context: grpc.ServicerContext) -> bytes:
    said = dict(context.invocation_metadata())
    return b"hello %s, by %s from %s" % (request, said["x-forwarded-proto"].encode(), said["x-forwarded-for"].encode())


def chat(requests, context: grpc.ServicerContext):
    for request in requests:
        yield b"you said " + request


# Yours has what protoc makes of a .proto file in place of this; octets do for a try.
methods = {
    "Greet": grpc.unary_unary_rpc_method_handler(greet),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
}
server = grpc.server(futures.ThreadPoolExecutor())
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Talk", methods),))
server.add_insecure_port("localhost:8080")
server.start()
server.wait_for_termination()
