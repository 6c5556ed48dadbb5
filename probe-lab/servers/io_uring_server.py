"""A server that holds an io_uring: its requests come by system calls all the same.

Standard library only. Says `listening on ADDRESS` when it is ready.
"""

import ctypes
import http.server

IO_URING_SETUP = 425


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def ring():
    """The descriptor of a ring of 8 entries; negative where the kernel has none."""
    parameters = (ctypes.c_char * 120)()
    return ctypes.CDLL(None).syscall(IO_URING_SETUP, 8, parameters)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("ring", ring(), flush=True)
print("listening on http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
