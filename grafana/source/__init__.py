"""The dashboards of Tollgate, as a program. `make dashboards` writes `grafana/dashboards/*.json`.

One module a dashboard. What they share is said once: `words` (uids, thresholds, colours, units), `queries` (what is asked
of Prometheus, of the ledger's API and of SQL), `variables`, `links`, `panels`, and `board`, which puts a dashboard
together. Files in `grafana/dashboards` are never edited: a test compares them with what this program writes.
"""

from . import budgets, calendar, channels, cost, itself, latency, overview, request, requests

BOARDS = [
    overview.board,
    cost.board,
    latency.board,
    channels.board,
    budgets.board,
    requests.board,
    request.board,
    calendar.board,
    itself.board,
    requests.sqlite,
    requests.postgres,
]
