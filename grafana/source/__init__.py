"""The dashboards of Tollgate, as a program. `make dashboards` writes `grafana/dashboards/*.json`.

One module a dashboard. What they share is said once: `words` (uids, thresholds, colours, units), `queries` (what is asked
of Prometheus, of the ledger's API and of SQL), `variables`, `links`, `panels`, and `board`, which puts a dashboard
together. Files in `grafana/dashboards` are never edited: a test compares them with what this program writes.
"""

from . import calendar, cost, latency, overview, request, requests

BOARDS = [
    overview.board,
    cost.board,
    latency.board,
    calendar.board,
    requests.board,
    request.board,
    requests.sqlite,
    requests.postgres,
]
