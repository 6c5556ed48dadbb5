#!/usr/bin/env python3
"""An OpenAI-compatible server on a real uvicorn (asyncio, h11): SmolLM2 computed in this process.

What it exercises that llama.cpp's own HTTP server does not: head and body leave in separate
`sendto` calls, the head of a stream leaves before prefill, the event loop reads its own socketpair,
and answers carry `usage` but no `timings`. Inference is llama.cpp through `xllamacpp`, called in a
worker thread a request; `/metrics` is the engine's own. Prints `listening on http://127.0.0.1:PORT` or
`listening on unix:PATH` when it accepts connections.
"""
import argparse
import asyncio
import json
import socket

import uvicorn
import xllamacpp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

DONE = object()


def engine(model: str, parallel: int) -> xllamacpp.Server:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {"smollm2"}
    params.n_parallel = parallel
    params.n_ctx = 2048 * parallel
    params.n_gpu_layers = 0
    params.endpoint_metrics = True
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    return xllamacpp.Server(params)


def without_timings(answer: dict) -> dict:
    """What a Python server publishes: `usage`, not llama.cpp's own `timings`."""
    answer.pop("timings", None)
    return answer


async def events(llm: xllamacpp.Server, body: dict):
    """The server-sent events of one answer; a cancelled stream stops the computation."""
    loop, queue, gone = asyncio.get_running_loop(), asyncio.Queue(), False

    def on_chunk(chunk: dict) -> bool:
        loop.call_soon_threadsafe(queue.put_nowait, chunk)
        return gone

    def compute() -> None:
        try:
            llm.handle_chat_completions(body, on_chunk)
        finally:
            loop.call_soon_threadsafe(queue.put_nowait, DONE)

    running = loop.run_in_executor(None, compute)
    try:
        while (chunk := await queue.get()) is not DONE:
            yield f"data: {json.dumps(without_timings(chunk))}\n\n"
        yield "data: [DONE]\n\n"
    finally:
        gone = True
    await running


def application(llm: xllamacpp.Server) -> Starlette:
    async def chat(request: Request) -> Response:
        try:
            body = json.loads(await request.body())
            assert isinstance(body, dict) and isinstance(body.get("messages"), list)
        except (ValueError, AssertionError):
            return JSONResponse({"error": {"message": "expected a chat completion"}}, 400)
        if body.get("stream"):
            return StreamingResponse(events(llm, body), media_type="text/event-stream")
        answer = await asyncio.to_thread(llm.handle_chat_completions, body)
        return JSONResponse(without_timings(answer), 400 if "error" in answer else 200)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def metrics(_: Request) -> Response:
        return PlainTextResponse(await asyncio.to_thread(llm.handle_metrics))

    return Starlette(routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/health", health),
        Route("/metrics", metrics),
    ])


def listen(args: argparse.Namespace) -> tuple[socket.socket, str]:
    """A listening socket and its address as a client would write it."""
    if args.unix:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(args.unix)
        listener.listen(512)
        return listener, f"unix:{args.unix}"
    six = ":" in args.host
    # asyncio sets TCP_NODELAY only on sockets that name their protocol, as uvicorn's own do; without it
    # the last piece of an answer waits 40 ms for the client's acknowledgement.
    family = socket.AF_INET6 if six else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((args.host, args.port))
    listener.listen(512)
    host = f"[{args.host}]" if six else args.host
    return listener, f"http://{host}:{listener.getsockname()[1]}"


def main() -> None:
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--model", required=True)
    args.add_argument("--host", default="127.0.0.1")
    args.add_argument("--port", type=int, default=0)
    args.add_argument("--unix", help="path of a socket to listen on instead")
    args.add_argument("--parallel", type=int, default=4)
    args.add_argument("--certificate", help="speak TLS with it, and --key")
    args.add_argument("--key")
    args = args.parse_args()

    llm = engine(args.model, args.parallel)
    listener, address = listen(args)
    print(f"listening on {address}", flush=True)
    config = uvicorn.Config(application(llm), log_level="warning", timeout_keep_alive=30,
                            ssl_certfile=args.certificate, ssl_keyfile=args.key)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
