"""An echo server for messages behind lengths of four bytes, which can go wrong in one way:

    echo_server.py MODE

    right      sends back what it gets
    drops      forgets every 100th message
    swaps      answers every 50th message after the next one
    crosses    gives every 50th answer to another connection
    damages    changes the last byte of every 100th answer
    closes     closes each connection after 20 answers
    stalls     answers nothing for a second after the 100th message, all connections together
"""

import asyncio
import json
import sys
import time

MODE = sys.argv[1]
writers = []
total = 0


def frame(message):
    return len(message).to_bytes(4, "big") + message


async def serve(reader, writer):
    global total
    writers.append(writer)
    number, kept = 0, None
    try:
        while True:
            message = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
            number += 1
            total += 1
            if MODE == "drops" and number % 100 == 0:
                continue
            if MODE == "damages" and number % 100 == 0:
                message = message[:-1] + bytes([message[-1] ^ 1])
            if MODE == "swaps" and number % 50 == 0:
                kept = message
                continue
            if MODE == "stalls" and total == 100:
                time.sleep(1)
            target = writer
            if MODE == "crosses" and number % 50 == 0:
                target = next((w for w in writers if w is not writer), writer)
            target.write(frame(message))
            if kept is not None:
                writer.write(frame(kept))
                kept = None
            await writer.drain()
            if MODE == "closes" and number == 20:
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writers.remove(writer)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(json.dumps({"event": "listening", "addr": f"{host}:{port}"}), flush=True)
    await server.serve_forever()


asyncio.run(main())
