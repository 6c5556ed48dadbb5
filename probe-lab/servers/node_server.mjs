#!/usr/bin/env node
// An OpenAI-compatible server on node's own HTTP stack (libuv), SmolLM2 computed by node-llama-cpp.
//
// What it exercises: requests arrive by `read`, answers leave by `writev` (chunk size, CRLF, data and
// CRLF as separate vectors), tokens are computed on whichever thread of libuv's pool is free, and with
// `--threads 2` every token also gets a compute thread of its own that lives for that token only: so
// nothing may be accounted by thread.
//
// Usage: node node_server.mjs --model FILE.gguf [--host 127.0.0.1] [--port 0] [--unix PATH]
//        [--parallel 4] [--threads 1] [--modules DIR with node_modules/node-llama-cpp]
//        [--certificate FILE.pem --key FILE.pem to speak TLS]
// Prints `listening on http://HOST:PORT` or `listening on unix:PATH` when it accepts connections.

import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";
import {parseArgs} from "node:util";

const {values: args} = parseArgs({options: {
    model: {type: "string"},
    host: {type: "string", default: "127.0.0.1"},
    port: {type: "string", default: "0"},
    unix: {type: "string"},
    parallel: {type: "string", default: "4"},
    threads: {type: "string", default: "1"},
    modules: {type: "string", default: process.cwd()},
    certificate: {type: "string"},
    key: {type: "string"},
}});

// The packages lie in the provisioned folder, not beside this file.
const found = createRequire(pathToFileURL(`${args.modules}/package.json`)).resolve("node-llama-cpp");
const {getLlama} = await import(pathToFileURL(found));

const parallel = Number(args.parallel);
const threads = Number(args.threads);
const llama = await getLlama({gpu: false, build: "never", maxThreads: threads, logLevel: "error"});
const model = await llama.loadModel({modelPath: args.model});
const context = await model.createContext({contextSize: 2048, sequences: parallel, threads});
const idle = Array.from({length: parallel}, () => context.getSequence());
const waiting = [];

const acquire = () => idle.length > 0
    ? Promise.resolve(idle.pop())
    : new Promise((resolve) => waiting.push(resolve));

function release(sequence) {
    const next = waiting.shift();
    if (next) next(sequence);
    else idle.push(sequence);
}

function prompt(messages) {
    const turns = messages.map(({role, content}) => `<|im_start|>${role}\n${content}<|im_end|>\n`);
    return model.tokenize(`${turns.join("")}<|im_start|>assistant\n`, true);
}

// What was computed so far, for `/metrics`; of requests whose client left, too.
const computed = {prompt: 0, predicted: 0, processing: 0};

// Generates the answer's tokens; `onText` may return false to stop.
async function generate(body, onText) {
    computed.processing += 1;
    const sequence = await acquire();
    try {
        await sequence.clearHistory();
        const tokens = prompt(body.messages);
        const limit = body.max_tokens ?? 64;
        let count = 0;
        let finish = "stop";
        computed.prompt += tokens.length;
        for await (const token of sequence.evaluate(tokens, {temperature: body.temperature ?? 0})) {
            if (model.isEogToken(token)) break;
            count += 1;
            computed.predicted += 1;
            if (!onText(model.detokenize([token], false, tokens))) { finish = "abort"; break; }
            if (count >= limit) { finish = "length"; break; }
        }
        return {finish, usage: {
            prompt_tokens: tokens.length,
            completion_tokens: count,
            total_tokens: tokens.length + count,
        }};
    } finally {
        computed.processing -= 1;
        release(sequence);
    }
}

function metrics(response) {
    const text = `node_prompt_tokens_total ${computed.prompt}\n`
        + `node_predicted_tokens_total ${computed.predicted}\n`
        + `node_requests_processing ${computed.processing}\n`;
    response.writeHead(200, {"content-type": "text/plain", "content-length": text.length});
    response.end(text);
}

const json = (response, status, value) => {
    const text = JSON.stringify(value);
    response.writeHead(status, {"content-type": "application/json", "content-length": Buffer.byteLength(text)});
    response.end(text);
};

async function plain(body, response) {
    let content = "";
    const {finish, usage} = await generate(body, (text) => { content += text; return !response.destroyed; });
    json(response, 200, {
        id: "chatcmpl-node", object: "chat.completion", model: "smollm2",
        choices: [{index: 0, finish_reason: finish, message: {role: "assistant", content}}], usage,
    });
}

async function stream(body, response) {
    response.writeHead(200, {"content-type": "text/event-stream", "cache-control": "no-cache"});
    const send = (choices, more = {}) => response.write(`data: ${JSON.stringify({
        id: "chatcmpl-node", object: "chat.completion.chunk", model: "smollm2", choices, ...more,
    })}\n\n`);
    send([{index: 0, delta: {role: "assistant"}, finish_reason: null}]);
    const {finish, usage} = await generate(body, (content) => {
        if (content !== "") send([{index: 0, delta: {content}, finish_reason: null}]);
        return !response.destroyed;
    });
    send([{index: 0, delta: {}, finish_reason: finish}]);
    if (body.stream_options?.include_usage) send([], {usage});
    response.end("data: [DONE]\n\n");
}

async function chat(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    let body;
    try {
        body = JSON.parse(Buffer.concat(parts).toString("utf8"));
        if (!Array.isArray(body.messages)) throw new Error("no messages");
    } catch (error) {
        return json(response, 400, {error: {message: String(error)}});
    }
    await (body.stream ? stream(body, response) : plain(body, response));
}

function answer(request, response) {
    if (request.url === "/health") return json(response, 200, {status: "ok"});
    if (request.url === "/metrics") return metrics(response);
    if (request.method !== "POST" || request.url !== "/v1/chat/completions") {
        request.resume();
        return json(response, 404, {error: {message: "no such path"}});
    }
    chat(request, response).catch((error) => response.destroy(error));
}

const server = args.certificate
    ? https.createServer({cert: fs.readFileSync(args.certificate), key: fs.readFileSync(args.key)}, answer)
    : http.createServer(answer);
server.keepAliveTimeout = 30_000;
const listening = () => {
    if (args.unix) return console.log(`listening on unix:${args.unix}`);
    const {address, family, port} = server.address();
    console.log(`listening on http://${family === "IPv6" ? `[${address}]` : address}:${port}`);
};
if (args.unix) server.listen(args.unix, listening);
else server.listen(Number(args.port), args.host, listening);
for (const name of ["SIGINT", "SIGTERM"]) process.on(name, () => process.exit(0));
