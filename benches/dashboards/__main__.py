"""How long each panel's query takes at ten million requests and 5,000 series.

    python3 benches/dashboards PROGRAMS FOLDER [REQUESTS [DAYS]]

Fills a ledger by `fill_ledger` and a Prometheus storage by promtool, both kept in FOLDER, starts Tollgate and Prometheus on
them, and asks what the dashboards ask: as they are opened, with everything chosen; then the request log's longer ranges
and rarer names. Each question once to warm up and then five times; the table has the best, the median and the worst of
the five, and what a question takes of a processor in the mean. On a machine that others use too only the best and the
processor's time say something: the load is told with them. SQL goes to SQLite directly, as Grafana's plugin does it; the
PostgreSQL log is left out.
"""

import glob
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import questions
import series

RUNS = 5
PATIENCE = 120  # seconds
TARGET_MS = 100


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url, timeout=PATIENCE):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read()


def start(command, log, ready):
    """Starts a server and waits until `ready` answers."""
    with open(log, "w", encoding="utf-8") as output:
        server = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            get(ready, timeout=5)
            return server
        except OSError as error:
            if server.poll() is not None or time.monotonic() > until:
                server.kill()
                raise SystemExit(f"{command[0]} does not answer at {ready} ({error}); see {log}") from error
            time.sleep(0.1)


def processor_ms(process):
    """For how long a process has run on a processor, with all its threads."""
    with open(f"/proc/{process}/stat", encoding="utf-8") as file:
        # Its name, in brackets, may hold anything.
        told = file.read().rpartition(")")[2].split()
    return (int(told[11]) + int(told[12])) * 1000 / os.sysconf("SC_CLK_TCK")


def stop(server):
    server.terminate()
    try:
        server.wait(60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def made_once(folder, stamp, make):
    """Makes `folder` unless it is there with the same `stamp`."""
    told = os.path.join(folder, "made")
    if os.path.exists(told):
        with open(told, encoding="utf-8") as file:
            if file.read() == stamp:
                return
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder, mode=0o700)
    make()
    with open(told, "w", encoding="utf-8") as file:
        file.write(stamp)


def schema():
    """Tells the ledger's schema from others."""
    digest = hashlib.sha256()
    for path in sorted(glob.glob("src/ledger/migrations/*.sql")):
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


class Asking:
    """Who answers which kind of question."""

    def __init__(self, api, prometheus, database, servers):
        self.api, self.prometheus = api, prometheus
        self.processes = {"api": servers[0].pid, "prometheus": servers[1].pid, "sqlite": os.getpid()}
        self.database = sqlite3.connect(f"file:{database}?mode=ro", uri=True)

    def ask(self, question):
        if question.kind == "sqlite":
            return len(self.database.execute(question.text).fetchall())
        if question.kind == "api":
            path, params = json.loads(question.text)
            params = [tuple(pair) for pair in params]
            try:
                return len(get(f"{self.api}{path}?{urllib.parse.urlencode(params)}"))
            except urllib.error.HTTPError as error:
                # No payloads are kept here: that is the answer.
                if error.code == 404 and path.endswith("/payload"):
                    return len(error.read())
                raise
        since, until = question.range
        if question.instant:
            params, path = {"query": question.text, "time": until}, "query"
        else:
            since = since // question.step * question.step
            params = {"query": question.text, "start": since, "end": until, "step": question.step}
            path = "query_range"
        return len(get(f"{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(params)}"))

    def timed(self, question):
        """Milliseconds of each run and of the processor in the mean; or why there is no answer."""
        took = []
        worked = 0
        for run in range(RUNS + 1):
            if run == 1:
                worked = processor_ms(self.processes[question.kind])
            began = time.perf_counter()
            try:
                self.ask(question)
            except urllib.error.HTTPError as error:
                return None, None, f"{error.code} {error.read().decode(errors='replace')[:200]}"
            except (OSError, sqlite3.Error) as error:
                return None, None, str(error)
            took.append((time.perf_counter() - began) * 1000)
        worked = processor_ms(self.processes[question.kind]) - worked
        return took[1:], worked / RUNS, None


def report(title, asking, asked):
    rows, unanswered = [], []
    for question in asked:
        took, worked, error = asking.timed(question)
        place = question.places[0]
        more = len(question.places) - 1
        place += f" and {more} more" if more else ""
        if error:
            unanswered.append(f"{question.kind:10} {place}: {error}")
        else:
            rows.append((min(took), statistics.median(took), max(took), worked, question.kind, place))
    rows.sort(reverse=True)
    slow, slower = (sum(1 for row in rows if row[which] >= TARGET_MS) for which in (0, 1))
    print(f"\n{title}: {len(rows)} queries answered, {len(unanswered)} not; at best {slow} of them in {TARGET_MS} ms or "
          f"more, by the median {slower}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print(f"{'best ms':>8} {'median':>8} {'worst':>8} {'processor':>9}  {'source':10} panel")
    for best, median, worst, worked, kind, place in rows:
        print(f"{best:8.1f} {median:8.1f} {worst:8.1f} {worked:9.0f}  {kind:10} {place}")
    for line in unanswered:
        print(f"{'no answer':>20}  {line}")


def main(programs, folder, requests="10000000", days="90"):
    ledger = os.path.abspath(os.path.join(folder, "ledger"))
    storage = os.path.abspath(os.path.join(folder, "prometheus"))
    now = int(time.time()) // 60 * 60
    fill = [os.path.join(programs, "fill_ledger"), ledger, requests, days]
    # Anew each day, for ranges end now, and with each schema.
    today = str(now // 86400)
    made_once(ledger, f"{requests} {days} {today} {schema()}", lambda: subprocess.run(fill, check=True))
    made_once(storage, today, lambda: print(series.make(storage, now), "series"))

    database = os.path.join(ledger, "tollgate.db")
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        ask = lambda sql: connection.execute(sql).fetchone()[0]
        last = ask("SELECT max(started_at) FROM requests")
        some = ask("SELECT max(sequence) / 2 FROM requests")
        request_id = ask(f"SELECT id FROM requests WHERE sequence >= {some} LIMIT 1")
        session = ask(f"SELECT session FROM requests WHERE sequence >= {some} AND session IS NOT NULL LIMIT 1")
    now = last // 60_000_000 * 60 + 60

    proxy, admin, port = free_port(), free_port(), free_port()
    settings = os.path.join(folder, "tollgate.yaml")
    with open(settings, "w", encoding="utf-8") as file:
        file.write(
            f'listen: "127.0.0.1:{proxy}"\nadmin:\n  listen: "127.0.0.1:{admin}"\n'
            f"data_dir: {ledger}\nledger:\n  retention: 1000d\n"
        )
    scrapes = os.path.join(folder, "prometheus.yaml")
    with open(scrapes, "w", encoding="utf-8") as file:
        file.write("global: {scrape_interval: 30s}\n")
    servers = []
    try:
        run = [os.path.join(programs, "tollgate"), "run", "--config", settings]
        api = f"http://127.0.0.1:{admin}"
        servers.append(start(run, os.path.join(folder, "tollgate.log"), f"{api}/api/v1/info"))
        prometheus = f"http://127.0.0.1:{port}"
        run = ["prometheus", f"--config.file={scrapes}", f"--storage.tsdb.path={storage}",
               "--storage.tsdb.retention.time=365d", f"--web.listen-address=127.0.0.1:{port}"]
        servers.append(start(run, os.path.join(folder, "prometheus.log"), f"{prometheus}/-/ready"))
        asking = Asking(api, prometheus, database, servers)
        asked = questions.of_dashboards("grafana/dashboards", now, request_id)
        left_out = [question for question in asked if question.kind == "postgres"]
        asked = [question for question in asked if question.kind != "postgres"]
        rows = asking.database.execute("SELECT count(*) FROM requests").fetchone()[0]
        names = json.loads(get(f"{prometheus}/api/v1/status/tsdb?limit=1"))["data"]["headStats"]["numSeries"]
        count = urllib.parse.urlencode({"query": 'count(last_over_time({job="tollgate"}[1h]))', "time": now})
        found = json.loads(get(f"{prometheus}/api/v1/query?{count}"))["data"]["result"]
        held = found[0]["value"][1] if found else names
        print(f"{rows} requests in the ledger, {held} series in Prometheus; {len(left_out)} queries for PostgreSQL left out")
        report("Dashboards as they open", asking, asked)
        report("The request log, further", asking, questions.of_the_log(now, session, request_id))
    finally:
        for server in servers:
            stop(server)


main(*sys.argv[1:])
