#!/usr/bin/env python3
"""The real llama.cpp HTTP server (C++, cpp-httplib), through the `xllamacpp` wheel.

One compute thread, so that barriers never spin beside a busy neighbour, and four slots, so that
requests overlap in one batch. Nothing of the request path is Python: the interpreter only starts
the server and sleeps. Prints `listening on 127.0.0.1:PORT` once the model is loaded.
"""
import argparse
import signal
import threading

import xllamacpp


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--model", required=True)
    args.add_argument("--host", default="127.0.0.1")
    args.add_argument("--port", type=int, default=0)
    args.add_argument("--unix", help="path of a socket to listen on instead, ending in .sock")
    args.add_argument("--threads", type=int, default=1)
    args.add_argument("--parallel", type=int, default=4)
    args.add_argument("--context", type=int, default=8192)
    args = args.parse_args()

    params = xllamacpp.CommonParams()
    params.model.path = args.model
    params.model_alias = {"smollm2"}
    params.hostnames = [args.unix or args.host]
    params.port = args.port
    params.n_parallel = args.parallel
    params.n_ctx = args.context
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = args.threads
    params.cpuparams_batch.n_threads = args.threads
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.warmup = True
    server = xllamacpp.Server(params)

    print(f"listening on {server.listening_address}", flush=True)
    # Blocked before waiting, so that a signal between the print and the wait is not lost.
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    main()
