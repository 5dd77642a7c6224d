"""What is asked: of Prometheus, of the ledger through the JSON API, and of the ledger in SQL.

Exact numbers (money, tokens, how many requests) come from the ledger. PromQL's `increase` extrapolates, misses what a
series began with, and knows no further back than Prometheus keeps; so Prometheus is asked for what moves: rates,
latencies, gates, alerts, health.
"""

from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import prometheus as prometheus_build
from grafana_foundation_sdk.cog import builder as cog
from grafana_foundation_sdk.cog import variants
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as prometheus_model

PROMETHEUS = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
LEDGER = model.DataSourceRef(type_val="yesoreyeram-infinity-datasource", uid="${ledger}")
SQLITE = model.DataSourceRef(type_val="frser-sqlite-datasource", uid="${ledger}")
POSTGRES = model.DataSourceRef(type_val="grafana-postgresql-datasource", uid="${ledger}")

# Which series a panel reads. The variables are regular expressions there (`.*` for all).
INSTANCE = 'instance=~"$instance"'
CHANNEL = f'{INSTANCE}, channel=~"$channel"'
TRAFFIC = f'{CHANNEL}, model=~"$model", api=~"$api"'
# Without what was refused before a channel was chosen.
ON_A_CHANNEL = f'{TRAFFIC}, channel!=""'

# 0 of what has no series while there is none of it: but only where Prometheus scrapes a Tollgate, which would tell it.
NONE_OF_IT = f"0 * sum(tollgate_build_info{{{INSTANCE}}})"

# The range of the dashboard, and the filters that every question about usage takes. As JSON a name is itself, also with a
# comma or a star in it.
RANGE = {"since": "${__from:date:iso}", "until": "${__to:date:iso}"}
FILTERS = {"channel": "${channel:json}", "model": "${model:json}", "api": "${api:json}", "key": "${key:json}"}
# What the request log filters by on top of that. An empty box filters nothing.
LOG_FILTERS = FILTERS | {
    "outcome": "${outcome:json}", "status": "${status}", "session_is": "${session}", "usage_source": "${usage_source:json}",
}  # fmt: skip


def metric(expr: str, legend: str = "__auto", ref: str = "A") -> prometheus_build.Dataquery:
    """Prometheus, over the range of the dashboard."""
    query = prometheus_build.Dataquery().ref_id(ref).datasource(PROMETHEUS)
    return query.expr(expr).legend_format(legend).range()


def metric_now(expr: str, legend: str = "__auto", ref: str = "A") -> prometheus_build.Dataquery:
    """Prometheus, at the end of the range."""
    query = prometheus_build.Dataquery().ref_id(ref).datasource(PROMETHEUS)
    return query.expr(expr).legend_format(legend).instant()


def metric_table(expr: str, ref: str = "A") -> prometheus_build.Dataquery:
    """Prometheus at the end of the range, a row for each series."""
    return metric_now(expr, ref=ref).format(prometheus_model.PromQueryFormat.TABLE)


def quantile_of_range(quantile: float, family: str, matchers: str = TRAFFIC, offset: str = "") -> str:
    """A quantile over the whole range, for a question at its end: each sample is read once, as for a line over it."""
    rate = f"rate({family}_bucket{{{matchers}}}[$__range]{offset})"
    return f"histogram_quantile({quantile}, sum by (le) ({rate})) >= 0"


def quantile_now_and_before(quantile: float, family: str, matchers: str = TRAFFIC) -> list[prometheus_build.Dataquery]:
    """The quantile of the period before, then that of the range: for `panels.in_turn`. As `usage_now_and_before` has
    it, before is infinity where one of the two is not known; what is not known of the range is not a number."""
    before = quantile_of_range(quantile, family, matchers, " offset $__range")
    now = quantile_of_range(quantile, family, matchers)
    told = f"sum(rate({family}_count{{{matchers}}}[$__range])) > 0"
    both = f"({before}) and on () ({told}) or vector(Inf)"
    return [metric_now(both, "before", "A"), metric_now(f"({now}) or vector(NaN)", "now", "B")]


def metric_buckets(expr: str, ref: str = "A") -> prometheus_build.Dataquery:
    """A classic histogram's buckets over time, for a heatmap."""
    return metric(expr, legend="{{le}}", ref=ref).format(prometheus_model.PromQueryFormat.HEATMAP)


def budget(what: str, by: str, matchers: str = INSTANCE) -> str:
    """A figure of each budget; of several Tollgates that of the worst, which is the least where room is `remaining`."""
    worst = "min" if what == "remaining" else "max"
    return f"{worst} by ({by}) (tollgate_budget_{what}{{{matchers}}})"


def budget_share(what: str, by: str, matchers: str = INSTANCE) -> str:
    """A figure of each budget as a share of its limit: each Tollgate's of its own limit, and then that of the worst."""
    return f"max by ({by}) (tollgate_budget_{what}{{{matchers}}} / tollgate_budget_limit{{{matchers}}})"


@dataclass
class Column:
    """A column of an answer: where it is, what it is called, what it is (`string`, `number`, `timestamp`, `boolean`)."""

    selector: str
    text: str
    type: str = "number"

    def to_json(self) -> dict[str, object]:
        return {"selector": self.selector, "text": self.text, "type": self.type}


def flag(selector: str, name: str | None = None) -> Column:
    return Column(selector, name or selector, "boolean")


def text(selector: str, name: str | None = None) -> Column:
    return Column(selector, name or selector, "string")


def as_text(selector: str, name: str) -> Column:
    """An object or a list, written as JSON: Infinity makes nothing of one, GJSON's modifier a text."""
    return Column(f"{selector}.@tostr", name, "string")


def number(selector: str, name: str | None = None) -> Column:
    return Column(selector, name or selector, "number")


def moment(selector: str, name: str | None = None) -> Column:
    return Column(selector, name or selector, "timestamp")


@dataclass
class Ledger(variants.Dataquery, cog.Builder):
    """A question to `/api/v1/`, asked through the Infinity plugin: one row for each element of the list at `root`.

    The members are those of Infinity's query model (its `JSON` type with the backend parser).
    """

    path: str
    parameters: dict[str, str]
    root: str
    columns: list[Column]
    ref_id: str = "A"
    format: str = "table"
    datasource: model.DataSourceRef = field(default_factory=lambda: LEDGER)

    def build(self) -> "Ledger":
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self.ref_id,
            "datasource": self.datasource,
            "type": "json",
            "source": "url",
            "parser": "backend",
            "format": self.format,
            "url": f"/api/v1/{self.path}",
            "url_options": {
                "method": "GET",
                "data": "",
                "params": [{"key": key, "value": value} for key, value in self.parameters.items()],
            },
            "root_selector": self.root,
            "columns": [column.to_json() for column in self.columns],
            "filters": [],
            "global_query_id": "",
        }


def ledger(path: str, root: str, columns: list[Column], ref: str = "A", **parameters: str) -> Ledger:
    """Any question to the API."""
    return Ledger(path, parameters, root, columns, ref)


def usage(path: str, root: str, columns: list[Column], ref: str = "A", **parameters: str) -> Ledger:
    """A question about usage in the range of the dashboard, with its filters."""
    return Ledger(f"usage/{path}", RANGE | FILTERS | parameters, root, columns, ref)


def requests(columns: list[Column], **parameters: str) -> Ledger:
    """Requests of the range of the dashboard, with its filters: the newest first, or as `order` says."""
    return Ledger("requests", RANGE | FILTERS | parameters, "requests", columns)


def usage_now_and_before(columns: list[Column], **parameters: str) -> Ledger:
    """Two rows: the sums of the period before, then those of the range. What a stat panel shows with its change.

    Where no change can be told, the period before has infinity: from there to anything is no number of percent, and
    Grafana shows none. A row less, or one without a value, it shows as a change of 0 %.
    """
    both = [moment("since", "time"), *columns]
    return usage("summary", "compared", both, compare="previous", **parameters)


def usage_over_time(
    columns: list[Column], by: str = "", ref: str = "A", step: str = "$__interval", begin: str = "time", **parameters: str
) -> Ledger:
    """Sums by step of time; with `by` a row for each step and group, the smaller groups together as `(other)`. `begin`
    names the column of when a step begins."""
    groups = [text(f"group.{name}", name) for name in by.split(",") if name]
    columns = [moment("time", begin), *groups, *columns]
    return usage("timeseries", "rows", columns, ref, step=step, by=by, **parameters)


@dataclass
class Sqlite(variants.Dataquery, cog.Builder):
    """SQL for the SQLite plugin. `moments` are columns of seconds since 1970 that are times."""

    sql: str
    moments: list[str]
    ref_id: str = "A"
    datasource: model.DataSourceRef = field(default_factory=lambda: SQLITE)

    def build(self) -> "Sqlite":
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self.ref_id,
            "datasource": self.datasource,
            "queryType": "table",
            "queryText": self.sql,
            "rawQueryText": self.sql,
            "timeColumns": self.moments,
        }


@dataclass
class Postgres(variants.Dataquery, cog.Builder):
    """SQL for Grafana's PostgreSQL data source."""

    sql: str
    ref_id: str = "A"
    datasource: model.DataSourceRef = field(default_factory=lambda: POSTGRES)

    def build(self) -> "Postgres":
        return self

    def to_json(self) -> dict[str, object]:
        return {
            "refId": self.ref_id,
            "datasource": self.datasource,
            "format": "table",
            "rawQuery": True,
            "editorMode": "code",
            "rawSql": self.sql,
        }
