"""Where the request log's rows come from: the JSON API, or the ledger's tables in SQLite or PostgreSQL.

A panel says its columns once, as `Listed`; a dialect asks for them. All of them give the same columns, so units,
colours and links are said once too.
"""

from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from . import queries, variables, words
from .queries import LOG_FILTERS, RANGE, Column, Postgres, Sqlite

# So many rows are shown of each list.
NEWEST, SLOWEST, FAILED = 200, 20, 100


@dataclass
class Listed:
    """A column of a list: its title, what it is in the API's answer and in SQL, and how it looks.

    `type` is Infinity's: `string`, `number`, `boolean`, `timestamp`. `leads` says what its links lead to: the
    `channel` or `key` of the cell, `row`: the request of the row's *Id*, `example`: that of its *Last example*.
    """

    title: str
    selector: str
    type: str = "string"
    sql: str = ""
    leads: str = ""
    look: dict[str, object] = field(default_factory=dict)


class Api:
    """The JSON API through the Infinity plugin."""

    uid = words.REQUESTS

    def choices(self) -> list:
        usual = [variables.prometheus(), variables.ledger(), variables.instance(), variables.channel()]
        named = [variables.model_(), variables.api(), variables.key()]
        return [*usual, *named, variables.outcome(), variables.usage_source()]

    def sums(self, title: str, selector: str, sql: str):
        """A sum of the range's requests, after that of the period before."""
        return queries.usage_now_and_before([queries.number(selector, title)])

    def requests(self, columns: list[Listed], limit: int, order: str = "newest", failed: bool = False):
        chosen = RANGE | LOG_FILTERS | {"order": order, "limit": str(limit)} | ({"failed": "true"} if failed else {})
        return queries.ledger("requests", "requests", _selected(columns), **chosen)

    def chosen_order(self, columns: list[Listed], limit: int):
        return self.requests(columns, limit, order="${order}")

    def errors(self, columns: list[Listed]):
        return queries.ledger("errors", "rows", _selected(columns), **RANGE, **queries.FILTERS)


def _selected(columns: list[Listed]) -> list[Column]:
    return [Column(column.selector, column.title, column.type) for column in columns]


# What stands for "all" in SQL, as it is put there.
_EVERYTHING = "'*'"
# The first condition is that of the index of failures.
_FAILURE = "(outcome <> 'ok' OR status <> 200) AND outcome NOT IN ('ok', 'client_closed')"
_IN_RANGE = "started_at >= ${__from} * 1000 AND started_at < ${__to} * 1000"


def _any_of(variable: str, column: str) -> str:
    """Rows whose column is among what is chosen; with "all", and as `(none)`, those that have no value too."""
    return f"('*' IN (${{{variable}:sqlstring}}) OR {_or_none(column)} IN (${{{variable}:sqlstring}}))"


def _typed(variable: str, column: str) -> str:
    """Rows whose column is what is typed; all where nothing is."""
    return f"(${{{variable}:sqlstring}} = '' OR {_or_none(column)} = ${{{variable}:sqlstring}})"


def _or_none(column: str) -> str:
    """What has no value is NULL in rows and empty in sums; links and readers call it as the tables of answers do."""
    return f"COALESCE(NULLIF({column}, ''), '(none)')"


_CHOSEN = "\n  AND ".join(
    [
        _IN_RANGE,
        _any_of("channel", "channel"),
        _any_of("model", "COALESCE(served_model, requested_model)"),
        _any_of("api", "api"),
        _any_of("key", "key"),
        f"({_any_of('outcome', 'outcome')} OR ('failed' IN (${{outcome:sqlstring}}) AND {_FAILURE}))",
        _any_of("usage_source", "usage_source"),
        _typed("status", "CAST(status AS TEXT)"),
        _typed("session", "session"),
    ]
)
# Without the filters that the roll-up does not have.
_ROLLED_UP = "\n  AND ".join(
    [_any_of("channel", "channel"), _any_of("model", "model"), _any_of("api", "api"), _any_of("key", "key")]
)
# The roll-up's rows are minutes, in microseconds since 1970; Grafana's times are milliseconds.
_FIRST_MINUTE = "${__from} / 60000 * 60000000"
_END_MINUTE = "(${__to} + 59999) / 60000 * 60000000"
_BY = {
    "newest": "started_at DESC",
    "slowest": "total_us DESC",
    "dearest": "cost_nanousd DESC",
}
# Rows that an order leaves out, because they have nothing to be ordered by.
_HAVING = {"newest": "", "slowest": "\n  AND total_us IS NOT NULL", "dearest": "\n  AND cost_nanousd IS NOT NULL"}


def _first(order: str, limit: int, more: str = "") -> str:
    """The ids of the first of the requests chosen."""
    return f"SELECT id FROM requests\nWHERE {_CHOSEN}{_HAVING[order]}{more}\nORDER BY {_BY[order]} LIMIT {limit}"


class Sql:
    """The ledger's tables. What differs between the two kinds is how times and infinity are made, and the plugin's
    query model."""

    uid: str
    plugin: str
    source: model.DataSourceRef
    infinity: str
    next_minute: str

    def moment(self, micros: str) -> str:
        raise NotImplementedError

    def query(self, sql: str, columns: list[tuple[str, str]]):
        raise NotImplementedError

    def choices(self) -> list:
        named = [
            self._names("channel", "Channel", "The upstream."),
            self._names("model", "Model", "The model that answered; else the one that was asked for."),
            variables.api(_EVERYTHING),
            self._names("key", "Key", "The client's key, by its name."),
        ]
        chosen = [variables.outcome(_EVERYTHING), variables.usage_source(_EVERYTHING)]
        return [variables.ledger(self.plugin), *named, *chosen]

    def _names(self, name: str, label: str, description: str) -> build.QueryVariable:
        """The names in the last day of the range: more would be read for long, and any other can be typed."""
        sql = (
            f"SELECT DISTINCT {name} FROM usage_minutely\n"
            "WHERE minute >= ${__from} / 60000 * 60000000 AND minute >= ${__to} / 60000 * 60000000 - 86400000000\n"
            f"  AND minute < {_END_MINUTE} AND {name} <> ''\n"
            "ORDER BY 1"
        )
        variable = build.QueryVariable(name).label(label).datasource(self.source).query(sql)
        variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True)
        description += " Listed are those of the last day of the range; any other can be typed."
        return variable.all_value(_EVERYTHING).current(variables.ALL).description(description)

    def sums(self, title: str, selector: str, sql: str):
        """As the API has it in `compared`: where no change can be told, the period before has infinity."""
        begin, end = _FIRST_MINUTE, _END_MINUTE
        before = f"{begin} - ({end} - {begin})"
        known = f"{before} >= (SELECT MIN(minute) FROM usage_minutely) AND {end} <= {self.next_minute}"
        told = f"earlier.value > 0 AND present.value <= 100 * earlier.value AND {known}"
        return self.query(
            f"WITH earlier AS (\n{self._sum(sql, before, begin)}\n), present AS (\n{self._sum(sql, begin, end)}\n)\n"
            f'SELECT {self.moment(before)} AS "time", CASE WHEN {told} THEN earlier.value ELSE {self.infinity} END '
            f'AS "{title}"\nFROM earlier, present\nUNION ALL\n'
            f"SELECT {self.moment(begin)}, value FROM present\nORDER BY 1",
            [("time", "timestamp"), (title, "number")],
        )

    def _sum(self, sql: str, begin: str, end: str) -> str:
        return (
            f"  SELECT {sql} AS value FROM usage_minutely\n"
            f"  WHERE minute >= {begin} AND minute < {end}\n  AND {_ROLLED_UP}"
        )

    def requests(self, columns: list[Listed], limit: int, order: str = "newest", failed: bool = False):
        more = f"\n  AND {_FAILURE}" if failed else ""
        return self._those(columns, _first(order, limit, more), _BY[order])

    def chosen_order(self, columns: list[Listed], limit: int):
        """Of three lists one is read: what says which stands before any row. An index serves the newest."""
        asked = {order: f"\n  AND ${{order:sqlstring}} = '{order}'" for order in words.ORDERS}
        lists = [f"SELECT id FROM (\n{_first(order, limit, more)}\n) AS {order}" for order, more in asked.items()]
        by = " ".join(f"WHEN '{order}' THEN {_BY[order].removesuffix(' DESC')}" for order in words.ORDERS)
        return self._those(columns, "\nUNION ALL\n".join(lists), f"CASE ${{order:sqlstring}} {by} END DESC")

    def _those(self, columns: list[Listed], ids: str, by: str):
        """Which rows is found first, so that columns are made of few."""
        return self.query(
            f"SELECT {self._named(columns)}\nFROM requests\nWHERE id IN (\n{ids}\n)\nORDER BY {by}",
            _typed_columns(columns),
        )

    def errors(self, columns: list[Listed]):
        """Ids are made in the order of time, so the greatest is the last."""
        model_ = "COALESCE(served_model, requested_model)"
        groups = ["channel", model_, "api", "outcome", "status", "error_code", "error_source"]
        named = ", ".join(groups).replace(model_, f"{model_} AS model")
        return self.query(
            f"WITH grouped AS (\n  SELECT {named},\n"
            "    COUNT(*) AS requests, MIN(started_at) AS first_at, MAX(started_at) AS last_at, MAX(id) AS last_id\n"
            f"  FROM requests\n  WHERE {_CHOSEN}\n  AND {_FAILURE}\n"
            f"  GROUP BY {', '.join(groups)}\n  ORDER BY COUNT(*) DESC LIMIT 100\n)\n"
            f"SELECT {self._named(columns)}\nFROM grouped JOIN requests AS example ON example.id = grouped.last_id\n"
            "ORDER BY grouped.requests DESC",
            _typed_columns(columns),
        )

    def p95(self, title: str):
        """Exact, of the rows that are chosen, in seconds."""
        raise NotImplementedError

    def one(self, columns: list[Listed]):
        """The request whose id is typed."""
        return self.query(
            f"SELECT {self._named(columns)}\nFROM requests\nWHERE id = ${{id:sqlstring}}", _typed_columns(columns)
        )

    def attempts(self, columns: list[Listed]):
        """The tries of the request whose id is typed."""
        return self.query(
            f"SELECT {self._named(columns)}\nFROM attempts\nWHERE request_id = ${{id:sqlstring}}\nORDER BY n",
            _typed_columns(columns),
        )

    def _named(self, columns: list[Listed]) -> str:
        return ",\n  ".join(f'{self._expression(column)} AS "{column.title}"' for column in columns)

    def _expression(self, column: Listed) -> str:
        expression = column.sql or column.selector
        return self.moment(expression) if column.type == "timestamp" else expression


def _typed_columns(columns: list[Listed]) -> list[tuple[str, str]]:
    return [(column.title, column.type) for column in columns]


class SqliteLedger(Sql):
    uid = words.REQUESTS_SQLITE
    plugin = "frser-sqlite-datasource"
    source = queries.SQLITE
    # More than a double holds.
    infinity = "9e999"
    next_minute = "(STRFTIME('%s', 'now') / 60 + 1) * 60000000"

    def moment(self, micros: str) -> str:
        return f"({micros}) / 1e6"

    def query(self, sql: str, columns: list[tuple[str, str]]) -> Sqlite:
        return Sqlite(sql, [title for title, type_ in columns if type_ == "timestamp"])

    def p95(self, title: str) -> Sqlite:
        """The least that nineteen of twenty do not exceed."""
        return Sqlite(
            f"WITH chosen AS (\n  SELECT total_us FROM requests\n  WHERE {_CHOSEN}\n  AND total_us IS NOT NULL\n)\n"
            f'SELECT total_us / 1e6 AS "{title}" FROM chosen\n'
            "ORDER BY total_us LIMIT 1 OFFSET (SELECT MAX((COUNT(*) * 95 + 99) / 100 - 1, 0) FROM chosen)",
            [],
        )


class PostgresLedger(Sql):
    uid = words.REQUESTS_POSTGRES
    plugin = "grafana-postgresql-datasource"
    source = queries.POSTGRES
    infinity = "CAST('Infinity' AS double precision)"
    next_minute = "(FLOOR(EXTRACT(EPOCH FROM NOW()) / 60) + 1) * 60000000"

    def moment(self, micros: str) -> str:
        return f"to_timestamp(({micros}) / 1e6)"

    def query(self, sql: str, columns: list[tuple[str, str]]) -> Postgres:
        return Postgres(sql)

    def p95(self, title: str) -> Postgres:
        """The same, which PostgreSQL knows by a name of its own."""
        share = "PERCENTILE_DISC(0.95) WITHIN GROUP (ORDER BY total_us)"
        return Postgres(f'SELECT {share} / 1e6 AS "{title}" FROM requests\nWHERE {_CHOSEN}')
