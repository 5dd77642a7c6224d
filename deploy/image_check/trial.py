"""What is expected of the image: as it is, and with the compose stack's settings."""

import http.client
import http.server
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

from .build import Image, mounted
from .container import Container, Failed, expect

# An address of this machine that is not its loopback: what another container would connect to. RFC 5737 keeps it free.
OUTSIDE = "192.0.2.1"

# docker-compose.yaml's stop_grace_period (s).
GRACE_S = 45

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
).encode()


class Upstream(http.server.BaseHTTPRequestHandler):
    """A provider that gives every request the same answer; one for `/v1/slow/…` waits for `let_go`."""

    let_go = threading.Event()
    asked = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        if "/slow/" in self.path:
            Upstream.asked.set()
            Upstream.let_go.wait(20)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_) -> None:
        pass


def ask(host: str, port: int, method: str, path: str, token: str | None = None, body: dict | None = None) -> tuple[int, bytes]:
    """One request; status and body."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["content-type"] = "application/json"
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    response = connection.getresponse()
    return response.status, response.read()


def call(path: str = "/v1/chat/completions") -> tuple[int, bytes]:
    """What a client sends through Tollgate."""
    return ask(OUTSIDE, 8080, "POST", path, "sk-client", {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]})


def try_out(image: Image, source: Path, folder: Path) -> None:
    """Every expectation, in the network namespace that this process is alone in."""
    for words in (["link", "set", "lo", "up"], ["address", "add", f"{OUTSIDE}/32", "dev", "lo"]):
        subprocess.run(["ip", *words], check=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    volume = folder / "volume"
    shutil.rmtree(volume, ignore_errors=True)
    upstream = {"TOLLGATE_UPSTREAM": "http://127.0.0.1:9000/v1"}
    try:
        print("The image:", flush=True)
        _looks(image, folder)
        print("As it is, without settings:", flush=True)
        with Container(image, folder, volume, upstream, {}) as container:
            _as_it_is(container)
        print("With the settings of the compose stack, on the same volume:", flush=True)
        secrets, grafanas = folder / "secrets" / "tollgate", folder / "secrets" / "grafana"
        shutil.rmtree(folder / "secrets", ignore_errors=True)
        for made in (secrets, grafanas):
            made.mkdir(parents=True)
        subprocess.run(["sh", source / "deploy/compose/secrets.sh", secrets, grafanas], check=True, stdout=subprocess.DEVNULL)
        mounts = {"/etc/tollgate": source / "deploy/compose/tollgate", "/usr/share/tollgate/rules": source / "rules", "/run/tollgate": secrets}
        with Container(image, folder, volume, upstream, mounts) as container:
            _in_the_stack(container, secrets, grafanas)
    except Failed as failure:
        raise SystemExit(f"FAILED: {failure}") from None
    finally:
        for left in (volume, folder / "secrets", folder / "writable"):
            shutil.rmtree(left, ignore_errors=True)
    print("image-check: all of it holds", flush=True)


def _looks(image: Image, folder: Path) -> None:
    with mounted(image.layers, folder) as root:
        files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
        total = sum(path.stat().st_size for path in files)
        binary = root / "usr/local/bin/tollgate"
        own = binary.stat().st_size
        print(f"  {total / 1e6:.1f} MB in {len(files)} files; the program is {own / 1e6:.1f} MB of it", flush=True)
        linked = subprocess.run(["chroot", root, "/lib64/ld-linux-x86-64.so.2", "--list", "/usr/local/bin/tollgate"], capture_output=True, text=True)
        expect(linked.returncode == 0 and "not found" not in linked.stdout, "every library that the program links is there")
        shells = [name for name in ("bin/sh", "usr/bin/sh", "bin/bash", "usr/bin/dpkg") if (root / name).exists()]
        expect(not shells, "there is no shell and no package manager")
        bundle = (root / image.environment["SSL_CERT_FILE"].lstrip("/")).read_text()
        expect(bundle.count("BEGIN CERTIFICATE") > 100, "the certificates of authorities are there")
        mine = [str(path.relative_to(root)) for path in files if path.stat().st_mode & 0o6000]
        expect(not mine, f"nothing runs with another's rights (setuid) {mine or ''}")
    expect(image.user.split(":")[0] not in ("0", "root"), f"its user is {image.user}")
    expect(image.labels["org.opencontainers.image.revision"] == "image-check", "its labels say the revision it was built from")


def _as_it_is(container: Container) -> None:
    container.start()
    took = container.wait_until_healthy()
    expect(True, f"HEALTHCHECK succeeds ({took:.1f} s after the start)")
    expect(set(container.status("Uid")) == {"65532"}, "the process is not root")
    expect(set(container.status("CapEff")) == {"0000000000000000"}, "the process has no capability")
    expect(container.status("NSpid")[-1] == "1", "the process is number 1")
    status, body = call()
    expect((status, body) == (200, ANSWER), "a request goes through, byte for byte")
    recorded = _recorded(container)
    expect(recorded["total_tokens"] == 18 and recorded["status"] == 200, "`tollgate requests` in the container shows it")
    revision = json.loads(ask("127.0.0.1", 8081, "GET", "/api/v1/info")[1])["revision"]
    expect(revision == "image-check", "the program knows the revision it was built from")
    try:
        ask(OUTSIDE, 8081, "GET", "/metrics")
        reached = True
    except ConnectionRefusedError:
        reached = False
    expect(not reached, "the admin port is not to be reached from outside")
    names = {path.name for path in container.volume.iterdir()}
    owners = {path.stat().st_uid for path in container.volume.rglob("*")} | {container.volume.stat().st_uid}
    expect({"tollgate.db", "journal"} <= names and owners == {65532}, "ledger and journal are in the volume, and its user's")
    answers: list[tuple[int, bytes]] = []
    slow = threading.Thread(target=lambda: answers.append(call("/v1/slow/completions")))
    slow.start()
    expect(Upstream.asked.wait(20), "a request is under way")
    stopping = threading.Timer(1.0, Upstream.let_go.set)
    stopping.start()
    code, took = container.stop(GRACE_S)
    slow.join(20)
    expect(answers == [(200, ANSWER)], "it ends well though SIGTERM came meanwhile")
    expect(code == 0, f"the process ended with 0, {took:.1f} s after SIGTERM ({GRACE_S} s are granted)")
    left = [str(path) for path in (container.writable / "files").rglob("*") if path.is_file() and path.stat().st_size]
    expect(not left, "nothing was written beside the volume")


def _recorded(container: Container) -> dict:
    """The one request in the ledger, which is written a moment after the client has its answer."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        listed = container.run("tollgate", "requests", "--last", "5", "--format", "json")
        if listed.returncode != 0:
            raise Failed(f"tollgate requests: {listed.stderr}")
        if found := json.loads(listed.stdout):
            return found[0]
    raise Failed("the ledger has no request")


def _in_the_stack(container: Container, secrets: Path, grafanas: Path) -> None:
    checked = container.run("tollgate", "check")
    expect(checked.returncode == 0, f"`tollgate check` accepts the settings {checked.stderr if checked.returncode else ''}")
    warnings = [line for line in (checked.stdout + checked.stderr).splitlines() if "warning" in line]
    expect(not warnings, f"and warns of nothing {warnings or ''}")
    container.start()
    took = container.wait_until_healthy()
    expect(True, f"HEALTHCHECK succeeds with the admin port on every interface ({took:.1f} s)")
    for path in ("/metrics", "/livez", "/readyz"):
        expect(ask(OUTSIDE, 8081, "GET", path)[0] == 200, f"Prometheus needs no token for {path}")
    expect(ask(OUTSIDE, 8081, "GET", "/api/v1/info")[0] == 401, "the API wants a token")
    grafana, admin = (path.read_text() for path in (grafanas / "tollgate-token", secrets / "admin-token"))
    status, body = ask(OUTSIDE, 8081, "GET", "/api/v1/requests?limit=5", grafana)
    expect(status == 200 and len(json.loads(body)["requests"]) == 2, "Grafana's token reads what was there before the restart")
    path = "/api/v1/channels/openai/disable"
    expect(ask(OUTSIDE, 8081, "POST", path, grafana, {"reason": "trial"})[0] == 403, "Grafana's token closes no channel")
    listed = container.run("tollgate", "rules", "list")
    expect(listed.returncode == 0 and "ChannelDailySpend" in listed.stdout, "the rules of the repository are in force")
    owners = [{path.stat().st_uid for path in folder.iterdir()} for folder in (secrets, grafanas)]
    expect(owners == [{65532}, {472}], "each secret belongs to the one who reads it")
    modes = {path.stat().st_mode & 0o777 for folder in (secrets, grafanas) for path in folder.iterdir()}
    expect(modes == {0o400} and len(admin) == 64, "and nobody else can read it")
    code, took = container.stop(GRACE_S)
    expect(code == 0, f"the process ended with 0, {took:.1f} s after SIGTERM")
