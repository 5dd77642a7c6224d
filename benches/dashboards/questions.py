"""The queries of every panel of every dashboard, with Grafana's variables filled in."""

import glob
import json
import re
from datetime import datetime, timezone

WIDTH = 1680  # pixels of a dashboard; a panel has a sample for each of its own
SCRAPE = 30
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# Steps as Grafana rounds them, in seconds.
STEPS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]


class Question:
    """A query, ready to be asked; equal ones are asked once."""

    def __init__(self, kind, text, step=None, instant=False):
        self.kind, self.text, self.step, self.instant = kind, text, step, instant
        self.places = []

    def key(self):
        return (self.kind, self.text, self.step, self.instant)


def seconds(span):
    """The length of `now-6h` or `6h`."""
    number, unit = re.fullmatch(r"(?:now-|>=?)?(\d+)([smhdw])", span).groups()
    return int(number) * UNITS[unit]


def duration(length):
    for unit in ["d", "h", "m"]:
        if length % UNITS[unit] == 0:
            return f"{length // UNITS[unit]}{unit}"
    return f"{length}s"


def panels(board):
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def iso(moment):
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def step_of(panel, length):
    """Seconds between two samples of a panel over a range."""
    points = panel.get("maxDataPoints") or panel["gridPos"]["w"] * WIDTH // 24
    least = max(SCRAPE, seconds(panel.get("interval") or "1s"))
    return max(least, min(STEPS, key=lambda each: abs(each - length / points)))


def values(board, panel, now, request_id):
    """What each variable stands for in a panel, as its reader finds it."""
    length = seconds(board["time"]["from"])
    step = step_of(panel, length)
    known = {
        "__from": str((now - length) * 1000),
        "__to": str(now * 1000),
        "__from:date:iso": iso(now - length),
        "__to:date:iso": iso(now),
        "__interval": duration(step),
        "__interval_ms": str(step * 1000),
        "__rate_interval": duration(max(step + SCRAPE, 4 * SCRAPE)),
        "__range": f"{length}s",
        "__range_s": str(length),
        "__timezone": "UTC",
    }
    for variable in board["templating"]["list"]:
        current = (variable.get("current") or {}).get("value") or ""
        if current == "$__all" or current == ["$__all"]:
            # As it is, in whatever form it is asked for.
            known[f"{variable['name']}:sqlstring"] = variable.get("allValue") or "'*'"
            current = variable.get("allValue") or ".*"
        known[variable["name"]] = current if isinstance(current, str) else ",".join(current)
    if "id" in known:
        known["id"] = request_id if board["uid"] == "tollgate-request" else ""
    return known, step, length


def filled(text, known):
    def value(found):
        name, _, form = (found.group(1) or found.group(2)).partition(":")
        if f"{name}:{form}" in known:
            return known[f"{name}:{form}"]
        value = known.get(name, found.group(0))
        return "'" + value.replace("'", "''") + "'" if form == "sqlstring" else value

    return re.sub(r"\$\{([^}]+)\}|\$(\w+)", value, text)


def of_target(target, known, step):
    """The question of a panel's target; None of what asks nobody."""
    kind = (target.get("datasource") or {}).get("type")
    if kind == "prometheus" and target.get("expr"):
        instant = bool(target.get("instant")) and not target.get("range")
        return Question("prometheus", filled(target["expr"], known), None if instant else step, instant)
    if kind == "yesoreyeram-infinity-datasource" and target.get("url"):
        params = (target.get("url_options") or {}).get("params") or []
        params = [(each["key"], filled(each["value"], known)) for each in params]
        return Question("api", json.dumps([filled(target["url"], known), params]))
    if kind == "frser-sqlite-datasource":
        return Question("sqlite", filled(target.get("queryText") or target.get("rawQueryText"), known))
    if kind == "grafana-postgresql-datasource":
        return Question("postgres", filled(target["rawSql"], known))
    return None


def of_dashboards(folder, now, request_id):
    """Every question of the dashboards in `folder`, equal ones once, each with the range it is over."""
    questions = {}
    for path in sorted(glob.glob(f"{folder}/*.json")):
        with open(path, encoding="utf-8") as file:
            board = json.load(file)
        for panel in panels(board):
            if not panel.get("targets"):
                continue
            known, step, length = values(board, panel, now, request_id)
            for target in panel["targets"]:
                question = of_target(target, known, step)
                if question is None:
                    continue
                question = questions.setdefault((question.key(), length), question)
                question.range = (now - length, now)
                question.places.append(f"{board['uid']} “{panel['title']}”")
    return list(questions.values())


def of_the_log(now, session, request_id):
    """What is asked of the request log beside its dashboard's defaults: longer ranges, and what is rare."""
    names = ["", "channel=openai", "channel=gemini", "channel=rare-channel", "channel=once-channel",
             "model=gpt-5*,claude*", "model=rare-model", "key=team-data", "key=rare-key", "key=nobody"]
    views = [("order=newest&limit=200", names), ("order=slowest&limit=20", names),
             ("failed=true&limit=100", names), ("failed=true&order=slowest&limit=20", names),
             ("limit=100", ["outcome=quota_exhausted", "outcome=connect_error", "status=502", "unpriced=true",
                            "usage_source=missing", "usage_source=estimated", "min_total=100s",
                            "min_total=102390ms", "min_total=200s", f"session={session}", "session=nobody"])]
    for since in ["6h", "24h", "90d"]:
        for view, filters in views:
            for each in filters:
                text = f"since={iso(now - seconds(since))}&{view}" + (f"&{each}" if each else "")
                pairs = [tuple(pair.split("=", 1)) for pair in text.split("&")]
                question = Question("api", json.dumps(["/api/v1/requests", pairs]))
                question.places.append(f"the log of {since}: {view}&{each}".rstrip("&"))
                yield question
    question = Question("api", json.dumps([f"/api/v1/requests/{request_id}", []]))
    question.places.append("the log: one request")
    yield question
