"""What an echo server costs in Python's asyncio, for messages behind lengths of four bytes."""

import asyncio


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readexactly(4)
            message = await reader.readexactly(int.from_bytes(head, "big"))
            writer.write(head + message)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    host, port = server.sockets[0].getsockname()
    print(f"listening {host}:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
