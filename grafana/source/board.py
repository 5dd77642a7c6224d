"""A dashboard as a whole: its variables, its rows of panels, first aid at its end, and how it becomes JSON."""

import json

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from . import links, panels, queries, variables, words

_FIRST_AID = "What to do when panels are empty."
# First aid by what is asked.
_NEITHER = f"""
| what you see | why | what to do |
|---|---|---|
| “{panels.NO_TRAFFIC}” | nothing was sent, or the choice at the top leaves nothing | widen the range, choose *All* |"""
_PROMETHEUS = f"""
| latencies, rates, gates, budgets and health are empty | Prometheus does not scrape Tollgate, or another one is chosen: *Seen by Prometheus* is 0 | [is it scraped?]({words.RUNBOOK}#prometheus-does-not-scrape-tollgate) |"""
_LEDGER = f"""
| money, tokens, counts of requests and tables of them fail | the Infinity plugin is missing, or the address or token of its data source is wrong: *Answered by the ledger* fails too | [plugin]({words.RUNBOOK}#the-infinity-plugin-is-missing), [admin port]({words.RUNBOOK}#the-admin-port-is-closed) |"""
_BOTH = f"""
| of one model money and tokens are there, latencies and rates are not | Prometheus counts it as `other` | [which names]({words.RUNBOOK}#a-dashboard-without-data) |"""
_SOURCES = f"""
| “Datasource … was not found” | no data source of that kind, or for the ledger none whose name contains `tollgate` | [data sources]({words.RUNBOOK}#the-wrong-data-source) |
"""


class Board:
    """A dashboard in the making. Panels fill rows from the left; a row of the grid is 24 wide."""

    def __init__(self, uid: str, title: str, description: str, since: str = "now-6h", refresh: str = "1m") -> None:
        self.uid = uid
        self._built = build.Dashboard(title).uid(uid).description(description).tags([words.TAG])
        self._built = self._built.readonly().timezone("browser").time(since, "now").refresh(refresh)
        self._built = self._built.tooltip(model.DashboardCursorSync.CROSSHAIR).link(links.between_dashboards())
        self._gates = False
        self._sources: set[str] = set()

    def choices(self, *chosen) -> "Board":
        """What a reader chooses, in this order."""
        for variable in chosen:
            self._built = self._built.with_variable(variable)
            self._sources.add(variable.build().name)
        return self

    def leads(self, *ways) -> "Board":
        """Links at the top, beside the list of all dashboards."""
        for way in ways:
            self._built = self._built.link(way)
        return self

    def usual_choices(self, *more) -> "Board":
        """Both data sources and every filter."""
        usual = [variables.prometheus(), variables.ledger(), variables.instance(), variables.channel()]
        return self.choices(*usual, variables.model_(), variables.api(), variables.key(), *more)

    def mark_gates(self) -> "Board":
        """Draws a line where a channel was closed or opened."""
        self._gates = True
        return self

    def row(self, title: str, *rows_panels) -> "Board":
        """A titled row of panels."""
        self._built = self._built.with_row(build.Row(title))
        return self.panels(*rows_panels)

    def panels(self, *shown) -> "Board":
        """Panels, each where the last one ended."""
        for panel in shown:
            self._built = self._built.with_panel(panel)
        return self

    def folded(self, title: str, *rows_panels) -> "Board":
        """A row that is closed until somebody opens it; its panels ask nothing before."""
        row = build.Row(title).collapsed(True)
        for panel in rows_panels:
            row = row.with_panel(panel)
        self._built = self._built.with_row(row)
        return self

    def first_aid(self, content: str = "") -> "Board":
        """The last row: why a panel may be empty. Without `content` by what is asked: Prometheus, the ledger's API."""
        if content:
            return self.folded("Nothing to see?", panels.note("First aid", _FIRST_AID, content, height=7))
        text, seen = _NEITHER, []
        if "datasource" in self._sources:
            text += _PROMETHEUS
            seen.append(_seen_by_prometheus())
        if "ledger" in self._sources:
            text += _LEDGER
            seen.append(_answered_by_the_ledger())
        if len(seen) == 2:
            text += _BOTH
        note = panels.note("First aid", _FIRST_AID, text + _SOURCES, width=24 - 4 * len(seen), height=9)
        return self.folded("Nothing to see?", note, *seen)

    def to_json(self) -> dict[str, object]:
        """Grafana's classic model, importable everywhere."""
        encoded = json.dumps(self._built.build(), cls=JSONEncoder)
        dashboard = json.loads(encoded)
        _number(dashboard["panels"])
        _tidy(dashboard["panels"])
        for variable in dashboard.get("templating", {}).get("list", []):
            if variable["type"] != "interval":
                # The builders give what only intervals have to every variable.
                for member in ("auto", "auto_min", "auto_count"):
                    variable.pop(member, None)
        if self._gates:
            dashboard["annotations"] = {"list": [_gates()]}
        # Ids and versions are given by the Grafana that imports it.
        dashboard.pop("id", None)
        return dashboard


def _seen_by_prometheus():
    return panels.stat(
        "Seen by Prometheus",
        "How many Tollgates the Prometheus chosen at the top scrapes, of the instances chosen. 0: none, so every panel "
        "that reads Prometheus is empty, whatever the traffic.",
        queries.metric_now(f"count(tollgate_build_info{{{queries.INSTANCE}}}) or vector(0)", "seen"),
        width=4, height=9, thresholds=words.ONE_IS_GOOD,
        empty="This Prometheus does not answer, so whether it scrapes Tollgate is not known.",
        links=[links.to(words.SELF, "Tollgate itself")],
    )  # fmt: skip


def _answered_by_the_ledger():
    return panels.stat(
        "Answered by the ledger",
        "The version of the Tollgate that the ledger's data source asks. An error: the plugin is missing, or the "
        "address or the token of the data source is wrong.",
        queries.ledger("info", "", [queries.text("version", "Version")]),
        width=4, height=9, unit=words.TEXT, field="Version", empty="The ledger's data source does not answer.",
        links=[links.to(words.SELF, "Tollgate itself")],
    )  # fmt: skip


def _gates() -> dict[str, object]:
    # Wider than the step: what changes between two windows is in neither. Grafana makes one mark of adjacent ones.
    closed = f"sum by (channel) (changes(tollgate_channel_open{{{queries.CHANNEL}}}[$__rate_interval])) > 0"
    return {
        "name": "Channels closed and opened",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "enable": True,
        "hide": False,
        "iconColor": "purple",
        "expr": closed,
        "step": "30s",
        "titleFormat": "{{channel}}",
        "textFormat": "closed or opened",
    }


def _number(listed: list[dict], first: int = 1) -> int:
    """Gives each panel its id: stable while the order is."""
    for panel in listed:
        panel["id"] = first
        first = _number(panel.get("panels") or [], first + 1)
    return first


def _tidy(listed: list[dict]) -> None:
    """Takes out what the builders write and Grafana's present schema does not know."""
    for panel in listed:
        defaults = panel.get("fieldConfig", {}).get("defaults", {})
        if "links" in defaults:
            # A link of a dashboard has more members than a data link.
            defaults["links"] = [{"title": link["title"], "url": link["url"]} for link in defaults["links"]]
            if not defaults["links"]:
                del defaults["links"]
        if panel["type"] == "table":
            # Footers are configured by column since Grafana 12.4.
            panel["options"].pop("footer", None)
        _tidy(panel.get("panels") or [])
