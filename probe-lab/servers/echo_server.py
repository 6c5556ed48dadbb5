#!/usr/bin/env python3
"""A server that says what it was told: the text of the last message comes back as the answer, as the
arguments of a tool call, and in errors; plain or as server-sent events, and in Ollama's lines. For tests
that look where that text goes. With a certificate it speaks TLS. Prints `listening on 127.0.0.1:PORT`.
"""
import argparse
import http.server
import json
import ssl

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def openai(text, kind):
    call = {"index": 0, "id": "call-1", "type": "function",
            "function": {"name": "look_up", "arguments": json.dumps({"what": text})}}
    message = {"role": "assistant", "content": text, "reasoning_content": text, "tool_calls": [call]}
    return {"id": "chatcmpl-echo", "object": "chat.completion", "model": "echo", "usage": USAGE,
            "choices": [{"index": 0, "finish_reason": "stop", kind: message}]}


def ollama(text, done):
    line = {"model": "echo", "message": {"role": "assistant", "content": text, "thinking": text},
            "done": done}
    return {**line, "prompt_eval_count": 3, "eval_count": 2} if done else line


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        ndjson = self.path.startswith("/api/chat")
        if self.path.startswith("/refuse"):
            self.whole(400, {"error": {"message": f"what is {text}?"}})
        elif body.get("stream") and ndjson:
            self.pieces("application/x-ndjson",
                        [json.dumps(ollama(text, done)) + "\n" for done in (False, True)])
        elif body.get("stream"):
            events = [json.dumps(openai(text, "delta")), json.dumps(openai(text, "delta")), "[DONE]"]
            self.pieces("text/event-stream", [f"data: {event}\n\n" for event in events])
        else:
            self.whole(200, ollama(text, True) if ndjson else openai(text, "message"))

    def whole(self, status, value):
        answer = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Set-Cookie", f"last={self.headers.get('Cookie', '')}")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def pieces(self, kind, pieces):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(f"{len(piece):x}\r\n{piece}\r\n".encode())
        self.wfile.write(b"0\r\n\r\n")


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--certificate", help="speak TLS with it, and --key")
    args.add_argument("--key", help="the certificate's")
    args = args.parse_args()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if args.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.certificate, args.key)
        # Hands are shaken by each connection's own thread.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


main()
