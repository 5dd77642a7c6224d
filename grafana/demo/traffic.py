"""The clients of the demo: who asks, for what, how often, and who begins to spend too much."""

import http.client
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# As in examples/past_traffic.rs, so that the hour before looks like this one.
REQUESTS_A_MINUTE = 90


@dataclass(frozen=True)
class Client:
    """A key, what it asks for, its usual tokens in and out, and its share of all requests in percent."""

    key: str
    project: str
    path: str
    model: str
    input: int
    output: int
    share: int


CLIENTS = [
    Client("web", "shop", "chat/completions", "gpt-5.4-mini", 2_400, 280, 38),
    Client("mobile", "shop", "chat/completions", "gpt-5.4-mini", 1_600, 180, 22),
    Client("agents", "support", "responses", "gpt-5.4", 9_000, 700, 20),
    Client("evals", "research", "chat/completions", "gpt-5.4", 3_000, 500, 8),
    Client("search", "search", "embeddings", "text-embedding-3-small", 2_000, 0, 12),
]
# The spike: a dear model, a large prompt.
SPENDER = Client("evals", "research", "chat/completions", "gpt-5.4-pro", 20_000, 2_000, 0)
SPIKE_A_MINUTE = 60


def credential(key: str) -> str:
    """What a client sends as its API key. Of the demo, known to all, worth nothing."""
    return f"tollgate-demo-key-of-{key}"


class Traffic:
    """Sends requests until it is stopped, at random moments of a steady pace."""

    def __init__(self, port: int, seed: int = 11) -> None:
        self._port = port
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self.spike = threading.Event()
        self.sent = 0
        self._threads = ThreadPoolExecutor(max_workers=48)
        loops = [(REQUESTS_A_MINUTE, self._usual), (SPIKE_A_MINUTE, self._spending)]
        self._loops = [threading.Thread(target=self._loop, args=each) for each in loops]

    def start(self) -> None:
        for thread in self._loops:
            thread.start()

    def stop(self) -> None:
        """Ends when the last answer is there."""
        self._stop.set()
        for thread in self._loops:
            thread.join()
        self._threads.shutdown(wait=True)

    def _loop(self, pace: int, choose) -> None:
        chance = random.Random(self._chance.random())
        while not self._stop.wait(chance.expovariate(pace / 60)):
            client = choose(chance)
            if client is not None:
                self.sent += 1
                size = chance.uniform(0.5, 1.5)
                leaves = chance.random() < 0.004
                self._threads.submit(self._ask, client, size, leaves)

    def _usual(self, chance: random.Random) -> Client:
        return chance.choices(CLIENTS, [client.share for client in CLIENTS])[0]

    def _spending(self, _: random.Random) -> Client | None:
        return SPENDER if self.spike.is_set() else None

    def _ask(self, client: Client, size: float, leaves: bool) -> None:
        body = json.dumps(_body(client, size))
        headers = {
            "authorization": f"Bearer {credential(client.key)}",
            "content-type": "application/json",
            "x-tollgate-tags": f"project={client.project}",
        }
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request("POST", f"/v1/{client.path}", body, headers)
            answer = connection.getresponse()
            # A reader who goes away in the middle of an answer.
            answer.read(2_000 if leaves and client.output else None)
        except (OSError, http.client.HTTPException):
            # Tollgate's ledger has how it ended.
            time.sleep(0)
        finally:
            connection.close()


def _body(client: Client, size: float) -> dict:
    # Four characters count as a token (upstream.py).
    text = "word" * int(client.input * size)
    if client.path == "embeddings":
        return {"model": client.model, "input": text}
    if client.path == "responses":
        return {"model": client.model, "input": text, "stream": True, "max_output_tokens": client.output * 2}
    return {
        "model": client.model,
        "messages": [{"role": "user", "content": text}],
        "stream": True,
        "max_completion_tokens": client.output * 2,
    }
