"""`make demo`: a real Tollgate with a made-up past, traffic, a mock provider, Prometheus, and an incident on a timetable.

Writes to a work folder, prints where things answer, and stops all it started. `--keep` leaves everything running, with
usual traffic, until Ctrl-C.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from string import Template

import traffic
import upstream

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

# Minute by minute, of LENGTH. What happens is said here once; docs/incident.md tells the story. At a picture the command
# of `then` runs.
LENGTH = 18
TIMETABLE = [
    (0, "usual", "usual traffic"),
    (5, "slow", "openai-eu takes eight times as long to its first token"),
    (8.5, "picture", "slow"),
    (9, "fast", "openai-eu is as fast as before"),
    (9, "spike", "the key evals sends large prompts to gpt-5.4-pro"),
    (11.8, "picture", "spike"),
    (12, "calm", "evals asks for what it did before"),
    (12, "broken", "openai-main answers 503"),
    (14, "picture", "closed"),
    (15, "mended", "openai-main answers again"),
    (LENGTH, "picture", "end"),
]
SLOWNESS = 8
# Says that a folder is a demo's, to be emptied by the next one.
MARK = ".tollgate-demo"
PAST_DAYS, PAST_A_DAY = 90, 3_000


def main() -> None:
    given = _arguments()
    work = given.work.resolve()
    _empty(work)
    running: list[subprocess.Popen] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    provider = upstream.Upstream(["main", "eu", "backup"])
    clients = None
    failed = 0
    try:
        data_port, admin_port, prometheus_port = _free_ports(3)
        values = {
            "DATA_PORT": data_port,
            "ADMIN_PORT": admin_port,
            "UPSTREAM": provider.url,
            "ALERTS": ROOT / "alerts.yaml",
        }
        for name in ("tollgate.yaml", "rules.yaml", "prometheus.yml"):
            text = (HERE / "settings" / name).read_text(encoding="utf-8")
            (work / name).write_text(Template(text).safe_substitute(values), encoding="utf-8")
        _say("writing the past, a minute or less")
        past = [given.past, work / "data", PAST_DAYS, PAST_A_DAY, traffic.REQUESTS_A_MINUTE]
        subprocess.run([str(part) for part in past], check=True)
        running.append(_start(work, "tollgate", [given.tollgate, "run", "--config", "tollgate.yaml"]))
        _wait(f"http://127.0.0.1:{admin_port}/readyz", running[-1], work)
        running.append(
            _start(
                work,
                "prometheus",
                [
                    given.prometheus,
                    "--config.file=prometheus.yml",
                    "--storage.tsdb.path=prometheus",
                    f"--web.listen-address=127.0.0.1:{prometheus_port}",
                ],
            )
        )
        _wait(f"http://127.0.0.1:{prometheus_port}/-/ready", running[-1], work)
        clients = traffic.Traffic(data_port)
        clients.start()
        told = {
            "prometheus": f"http://127.0.0.1:{prometheus_port}",
            "ledger": f"http://127.0.0.1:{admin_port}",
            "proxy": f"http://127.0.0.1:{data_port}/v1",
            "timetable": [],
            "pictures": [],
        }
        _say(f"Prometheus {told['prometheus']}, Tollgate's API {told['ledger']}/api/v1/, its proxy {told['proxy']}")
        _play(provider, clients, given.minutes / LENGTH, told, work, given.then)
        failed = told.get("failed", 0)
        if given.keep:
            _say("the incident is over; usual traffic goes on until Ctrl-C")
            signal.pause()
    except KeyboardInterrupt:
        _say("stopping")
    finally:
        if clients is not None:
            clients.stop()
        for process in reversed(running):
            _stop(process)
        provider.close()
        (work / "webhook.json").write_text(json.dumps(provider.told, indent=1), encoding="utf-8")
    if failed:
        sys.exit("not all pictures could be drawn")


def _play(provider, clients, scale: float, told: dict, work: Path, then: list[str]) -> None:
    """Goes through the timetable, `scale` times as long."""
    began = told["from"] = time.time()
    for minute, event, text in TIMETABLE:
        time.sleep(max(0, began + minute * 60 * scale - time.time()))
        match event:
            case "slow":
                provider.hosts["eu"].slowness = SLOWNESS
            case "fast":
                provider.hosts["eu"].slowness = 1.0
            case "spike":
                clients.spike.set()
            case "calm":
                clients.spike.clear()
            case "broken":
                provider.hosts["main"].broken = True
            case "mended":
                provider.hosts["main"].broken = False
        if event == "picture":
            told["pictures"].append({"at": time.time(), "name": text})
        else:
            told["timetable"].append({"at": time.time(), "text": text})
            _say(text)
        (work / "demo.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        if event == "picture" and then:
            _say(f"pictures: {text}")
            # What is drawn shows the moment of the start; the timetable goes on.
            drawn = subprocess.run([*then, str(work / "demo.json")], check=False)
            told["failed"] = told.get("failed", 0) + drawn.returncode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    target = ROOT / "target" / os.environ.get("DEMO_PROFILE", "release")
    parser.add_argument("--work", type=Path, default=ROOT / "target" / "demo" / "run", help="is emptied first, where an earlier demo made it")
    parser.add_argument("--tollgate", type=Path, default=target / "tollgate")
    parser.add_argument("--past", type=Path, default=target / "examples" / "past_traffic")
    parser.add_argument("--prometheus", default=shutil.which("prometheus") or ROOT / "target" / "demo" / "bin" / "prometheus")
    parser.add_argument("--minutes", type=float, default=LENGTH, help=f"how long the incident takes ({LENGTH})")
    parser.add_argument("--keep", action="store_true", help="go on with usual traffic until Ctrl-C")
    parser.add_argument("then", nargs="*", help="a command to run at each picture; demo.json is its last argument")
    return parser.parse_args()


def _empty(work: Path) -> None:
    """Makes `work` an empty folder with the demo's mark. What is in it goes only where that mark is."""
    if work.is_dir() and any(work.iterdir()):
        if not (work / MARK).is_file():
            sys.exit(f"{work} is not empty and no demo made it: remove it, or name another folder for --work")
        shutil.rmtree(work)
    work.mkdir(parents=True, exist_ok=True)
    (work / MARK).touch()


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _start(work: Path, name: str, command: list) -> subprocess.Popen:
    with (work / f"{name}.log").open("w", encoding="utf-8") as log:
        return subprocess.Popen([str(part) for part in command], cwd=work, stdout=log, stderr=log)


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(url: str, process: subprocess.Popen, work: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"{process.args[0]} ended with {process.returncode}: look at the logs in {work}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer: look at the logs in {work}")


def _say(text: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", flush=True)


main()
