"""A dashboard as a whole: its variables, its rows of panels, first aid at its end, and how it becomes JSON."""

import json

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from . import links, panels, queries, variables, words

FIRST_AID = f"""
| what you see | why | what to do |
|---|---|---|
| “{panels.NO_TRAFFIC}” | nothing was sent, or the choice at the top leaves nothing | widen the range, choose *All* |
| every panel over time is empty, the numbers are there | Prometheus does not scrape Tollgate, or another one is chosen | [is it scraped?]({words.RUNBOOK}#prometheus-does-not-scrape-tollgate) |
| the numbers and tables fail, what is over time is there | the Infinity plugin is missing, or the address or token of its data source is wrong | [plugin]({words.RUNBOOK}#the-infinity-plugin-is-missing), [admin port]({words.RUNBOOK}#the-admin-port-is-closed) |
| “Datasource … was not found” | no data source of that kind, or none whose name contains `tollgate` | [data sources]({words.RUNBOOK}#the-wrong-data-source) |
"""


class Board:
    """A dashboard in the making. Panels fill rows from the left; a row of the grid is 24 wide."""

    def __init__(self, uid: str, title: str, description: str, since: str = "now-6h", refresh: str = "1m") -> None:
        self.uid = uid
        self._built = build.Dashboard(title).uid(uid).description(description).tags([words.TAG])
        self._built = self._built.readonly().timezone("browser").time(since, "now").refresh(refresh)
        self._built = self._built.tooltip(model.DashboardCursorSync.CROSSHAIR).link(links.between_dashboards())
        self._gates = False

    def choices(self, *chosen) -> "Board":
        """What a reader chooses, in this order."""
        for variable in chosen:
            self._built = self._built.with_variable(variable)
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

    def first_aid(self, content: str = FIRST_AID) -> "Board":
        """The last row: why a panel may be empty."""
        about = "What to do when panels are empty."
        return self.folded("Nothing to see?", panels.note("First aid", about, content, height=7))

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
