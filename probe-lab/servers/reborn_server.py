#!/usr/bin/env python3
"""A plain HTTP server that begins to listen anew: `relisten` closes and re-opens its socket on SIGUSR1,
`supervise` keeps one worker process and starts another when it dies. Answers every GET with `ok`.
Prints `listening on 127.0.0.1:PORT` once, and `worker PID` for every worker.
"""
import http.server
import os
import signal
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")


def serve(port):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def relisten(server):
    port = server.server_address[1]
    print(f"listening on 127.0.0.1:{port}", flush=True)
    wanted = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: wanted.set())
    while True:
        if wanted.wait(0.05):
            wanted.clear()
            server.shutdown()
            server.server_close()
            server = serve(port)


def supervise(port):
    while True:
        pid = os.fork()
        if pid == 0:
            serve(port)
            while True:
                time.sleep(1)
        print(f"worker {pid}", flush=True)
        print(f"listening on 127.0.0.1:{port}", flush=True)
        os.waitpid(pid, 0)


def main():
    if sys.argv[1] == "relisten":
        relisten(serve(0))
    else:
        free = serve(0)
        port = free.server_address[1]
        free.shutdown()
        free.server_close()
        supervise(port)


main()
