"""The providers of the demo: three OpenAI-shaped hosts in one server, told apart by the first part of the path.

They answer chat completions (JSON and server-sent events), responses and embeddings with counted usage, can be made slow
or broken while they run, and hold what Tollgate's webhook receiver is told.
"""

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Seconds a token takes, tokens a chunk, and the median of seconds before the first one.
TOKEN_TIME = 0.011
CHUNK = 8
FIRST_TOKEN = 0.42
# Of a prompt that is in the provider's cache: so much, in whole blocks of tokens.
CACHED_SHARE, CACHE_BLOCK = 0.75, 128
REQUESTS_A_MINUTE, TOKENS_A_MINUTE = 500, 2_000_000


class Host:
    """How one provider is at the moment."""

    def __init__(self) -> None:
        self.slowness = 1.0
        self.broken = False
        self.used = (0, 0, 0)
        self.lock = threading.Lock()

    def room(self, tokens: int) -> tuple[int, int]:
        """Counts a request; the requests and tokens that are left in this minute."""
        minute = int(time.time() // 60)
        with self.lock:
            at, requests, spent = self.used
            requests, spent = (requests + 1, spent + tokens) if at == minute else (1, tokens)
            self.used = (minute, requests, spent)
        return max(0, REQUESTS_A_MINUTE - requests), max(0, TOKENS_A_MINUTE - spent)


class Upstream:
    """The server, its hosts by name, and what the webhook got."""

    def __init__(self, hosts: list[str], seed: int = 7) -> None:
        self.hosts = {name: Host() for name in hosts}
        self.told: list[dict] = []
        self.chance = random.Random(seed)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = self
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    upstream: Upstream

    def handle_error(self, request, client_address) -> None:
        """A peer that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_) -> None:
        """Says nothing: Tollgate's ledger has it."""

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        upstream = self.server.upstream
        name, _, path = self.path.lstrip("/").partition("/")
        if name == "webhook":
            upstream.told.append(body)
            return self._json(200, {})
        host = upstream.hosts[name]
        if host.broken:
            time.sleep(0.05)
            return self._error(503, "server_error", "The server is overloaded or not ready yet.")
        prompt = sum(len(text) for text in _texts(body)) // 4
        left = host.room(prompt)
        roll = upstream.chance.random()
        if roll < 0.003:
            return self._error(429, "rate_limit_exceeded", "Rate limit reached for requests.", left)
        if roll < 0.005:
            return self._error(500, "server_error", "The server had an error while processing your request.", left)
        first = FIRST_TOKEN * upstream.chance.lognormvariate(0, 0.3) * host.slowness
        if path.endswith("embeddings"):
            time.sleep(first / 3)
            return self._json(200, _embeddings(body, prompt), left)
        cached = 0
        if upstream.chance.random() < 2 / 3:
            cached = int(prompt * CACHED_SHARE) // CACHE_BLOCK * CACHE_BLOCK
        most = body.get("max_completion_tokens") or body.get("max_output_tokens") or 400
        output = max(1, int(most * upstream.chance.uniform(0.25, 0.75)))
        answer = _responses if path.endswith("responses") else _chat
        whole, events = answer(body, prompt, cached, output)
        if not body.get("stream"):
            time.sleep(first + output * TOKEN_TIME)
            return self._json(200, whole, left)
        return self._stream(events, first, left)

    def _stream(self, events, first: float, left: tuple[int, int]) -> None:
        time.sleep(first)
        self._head(200, "text/event-stream", left)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for wait, text in events:
            time.sleep(wait)
            data = text.encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _error(self, status: int, code: str, message: str, left: tuple[int, int] | None = None) -> None:
        self._json(status, {"error": {"message": message, "type": code, "param": None, "code": code}}, left)

    def _json(self, status: int, body: dict, left: tuple[int, int] | None = None) -> None:
        data = json.dumps(body).encode()
        self._head(status, "application/json", left)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _head(self, status: int, kind: str, left: tuple[int, int] | None) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("x-request-id", f"req_{random.getrandbits(64):016x}")
        if left is None:
            return
        for what, limit, rest in (("requests", REQUESTS_A_MINUTE, left[0]), ("tokens", TOKENS_A_MINUTE, left[1])):
            self.send_header(f"x-ratelimit-limit-{what}", str(limit))
            self.send_header(f"x-ratelimit-remaining-{what}", str(rest))


def _texts(body: dict):
    for message in body.get("messages", []):
        yield message["content"]
    given = body.get("input", "")
    yield from given if isinstance(given, list) else [given]


def _embeddings(body: dict, prompt: int) -> dict:
    vector = {"object": "embedding", "index": 0, "embedding": [0.0] * 8}
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return {"object": "list", "model": body["model"], "data": [vector], "usage": usage}


def _chat(body: dict, prompt: int, cached: int, output: int):
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": output // 5},
    }
    head = {"id": f"chatcmpl-{random.getrandbits(48):012x}", "created": int(time.time()), "model": body["model"]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * output}, "finish_reason": "stop"}
    whole = head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    def events():
        part = head | {"object": "chat.completion.chunk"}
        for done in range(0, output, CHUNK):
            count = min(CHUNK, output - done)
            delta = {"index": 0, "delta": {"content": "word " * count}, "finish_reason": None}
            yield (TOKEN_TIME * count if done else 0), _event(part | {"choices": [delta]})
        yield 0, _event(part | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        if (body.get("stream_options") or {}).get("include_usage"):
            yield 0, _event(part | {"choices": [], "usage": usage})
        yield 0, "data: [DONE]\n\n"

    return whole, events()


def _responses(body: dict, prompt: int, cached: int, output: int):
    usage = {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": output // 4},
        "total_tokens": prompt + output,
    }
    identity = f"resp_{random.getrandbits(48):012x}"
    text = {"type": "output_text", "text": "word " * output, "annotations": []}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}
    whole = {
        "id": identity, "object": "response", "status": "completed", "model": body["model"],
        "output": [message], "usage": usage, "service_tier": "default",
    }  # fmt: skip

    def events():
        begun = whole | {"status": "in_progress", "output": [], "usage": None}
        yield 0, _event({"type": "response.created", "response": begun})
        for done in range(0, output, CHUNK):
            count = min(CHUNK, output - done)
            delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
            yield (TOKEN_TIME * count if done else 0), _event(delta | {"delta": "word " * count})
        yield 0, _event({"type": "response.completed", "response": whole})

    return whole, events()


def _event(value: dict) -> str:
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n"
