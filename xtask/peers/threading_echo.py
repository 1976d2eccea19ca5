"""What an echo server costs in Python's ThreadingTCPServer, for messages behind lengths of four bytes."""

import socket
import socketserver


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while head := self.rfile.read(4):
                self.wfile.write(head + self.rfile.read(int.from_bytes(head, "big")))
        except ConnectionError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 4096
    daemon_threads = True


with Server(("127.0.0.1", 0), Echo) as server:
    host, port = server.server_address
    print(f"listening {host}:{port}", flush=True)
    server.serve_forever()
