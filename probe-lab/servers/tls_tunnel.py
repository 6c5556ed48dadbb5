#!/usr/bin/env python3
"""A plain door to a TLS server: what a client says to it goes to the server enciphered.

The tests' client knows no TLS; through this it need not. One thread a connection, no buffering, so that its clock is late
by a fraction of a millisecond only; the client is sent one byte when hands are shaken, so that it does not time that. Prints
`listening on 127.0.0.1:PORT`.
"""
import argparse
import select
import socket
import ssl
import threading

READY = b"\n"


def pump(plain: socket.socket, server: tuple, context: ssl.SSLContext) -> None:
    with plain, socket.create_connection(server) as raw:
        for side in (plain, raw):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(raw, server_hostname="localhost") as secure:
            plain.sendall(READY)
            while True:
                ready = [secure] if secure.pending() else select.select([plain, secure], [], [])[0]
                for source in ready:
                    # What can be read of the server may be session tickets alone: that must not be waited behind.
                    secure.setblocking(False)
                    try:
                        piece = source.recv(65536)
                    except ssl.SSLWantReadError:
                        continue
                    finally:
                        secure.setblocking(True)
                    if not piece:
                        return
                    (secure if source is plain else plain).sendall(piece)


def serve(plain: socket.socket, server: tuple, context: ssl.SSLContext) -> None:
    try:
        pump(plain, server, context)
    except OSError:
        pass  # Either side hung up in the middle.


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--host", required=True, help="of the TLS server")
    args.add_argument("--port", type=int, required=True, help="of the TLS server")
    args.add_argument("--certificate", required=True, help="the server's, which signs itself")
    args.add_argument("--tls12", action="store_true", help="speak no later version")
    args = args.parse_args()

    context = ssl.create_default_context(cafile=args.certificate)
    if args.tls12:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=serve, args=(plain, (args.host, args.port), context), daemon=True).start()


if __name__ == "__main__":
    main()
