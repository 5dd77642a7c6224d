"""Request log: one failed, was slow or dear: what was it. From the API, from SQLite and from PostgreSQL alike."""

from . import links, panels, queries, variables, words
from .board import Board
from .dialects import FAILED, NEWEST, SLOWEST, Api, Listed, PostgresLedger, Sql, SqliteLedger
from .panels import column, in_order, stat, table, words_for

_ABOUT = "The requests themselves, one row each: what failed, what was slow, what was dear, and why."
_NAMED = "The data source's name must contain `tollgate`: so the right one of several is chosen."

SQLITE_ABOUT = (
    f"{_ABOUT} Read from the ledger's SQLite file through the SQLite plugin (frser-sqlite-datasource), for where "
    "Grafana shares Tollgate's disk. The file is in WAL mode, so Grafana needs its folder writable even to read. "
    f"{_NAMED} Without a shared disk use “Tollgate / Request log”, which asks the API."
)
POSTGRES_ABOUT = (
    f"{_ABOUT} Read from PostgreSQL. Tollgate of this version keeps its ledger in SQLite: this is for those who copy "
    "the tables `requests`, `attempts` and `usage_minutely` to PostgreSQL under the same names (INTEGER as bigint), "
    "with indexes on requests (started_at), requests (id), attempts (request_id) and usage_minutely (minute). It "
    f"shows what was copied, as old as the copy. {_NAMED}"
)


def board() -> Board:
    return _board(Api(), "Tollgate / Request log", _ABOUT)


def sqlite() -> Board:
    return _board(SqliteLedger(), "Tollgate / Request log (SQLite)", SQLITE_ABOUT)


def postgres() -> Board:
    return _board(PostgresLedger(), "Tollgate / Request log (PostgreSQL)", POSTGRES_ABOUT)


def _board(dialect: Api | Sql, title: str, about: str) -> Board:
    orders = {order: order for order in words.ORDERS}
    made = Board(dialect.uid, title, about).choices(
        *dialect.choices(),
        variables.choice("order", "Order", orders, "newest", "By which the requests of the first table are the first."),
        variables.box("status", "Status", "The HTTP status the client got: `429`. Empty for all."),
        variables.box("session", "Session", "The conversation, as the client named it. Empty for all."),
        variables.box("id", "Request id", "What `x-tollgate-request-id` said. A link at the top leads to it."),
    )
    made.leads(_request(dialect, "The request with this id", "${id:percentencode}"))
    made.panels(*_numbers(dialect))
    made.row("Requests", _log(dialect))
    made.row("What failed", errors(dialect), _failed(dialect))
    made.row("What was slow", _slowest(dialect))
    if isinstance(dialect, Sql):
        tried = attempts(dialect.attempts(TRIES), TRIES, dialect)
        made.folded("One request, by the id typed at the top", _one(dialect), tried)
        return made.first_aid(_SQL_FIRST_AID)
    return made.first_aid()


# What a dashboard carries along to another one: the data sources, where it is the same kind.
def _kept(dialect: Api | Sql) -> list[str]:
    return ["datasource", "ledger", "instance"] if isinstance(dialect, Api) else []


def _request(dialect: Api | Sql, title: str, value: str):
    return links.alone(words.REQUEST, title, *_kept(dialect), id=value)


_OUTCOMES = {outcome: (outcome, colour) for outcome, colour in words.OUTCOME_COLOURS.items()}

OUTCOME_LOOK = {
    "mappings": [words_for(_OUTCOMES).to_json()],
    "custom__cellOptions": {"type": "color-text"},
    "custom__width": 120,
}
_COLOURED = {"custom__cellOptions": {"type": "color-text"}}
_SLIM = {"custom__width": 95}
# What is left of the width goes to these.
_WIDE = {"custom__minWidth": 120}
_NAME = {"custom__width": 155}
_USD = {"unit": words.USD, "decimals": 6, "custom__width": 100}
US_LOOK = {"unit": words.MICROSECONDS, "custom__width": 90}
_TOTAL = US_LOOK | _COLOURED | {"thresholds": words.DURATION_US}
# Room for the sign of a filter beside the title.
_FIRST = US_LOOK | _COLOURED | {"thresholds": words.FIRST_TOKEN_US, "custom__width": 110}
_STATUS = _COLOURED | {"thresholds": words.STATUS, "custom__width": 75}

TIME = Listed("Time", "started_at", "timestamp", leads="row", look={"unit": words.EXACT_MOMENT, "custom__width": 180})
# For the links of the row.
ID = Listed("Id", "id", look=panels.HIDDEN)
OUTCOME = Listed("Outcome", "outcome", look=OUTCOME_LOOK)
STATUS = Listed("Status", "status", "number", look=_STATUS)
API = Listed("API", "api", look=_SLIM)
MODEL = Listed("Model", "served_model", look=_WIDE)
ASKED = Listed("Asked for", "requested_model", look=_NAME)
CHANNEL = Listed("Channel", "channel", leads="channel", look={"custom__width": 115})
KEY = Listed("Key", "key", leads="key", look={"custom__width": 105})
COST = Listed("Cost", "cost_usd", "number", "cost_nanousd / 1e9", look=_USD)
FIRST_TOKEN = Listed("First token", "first_token_us", "number", look=_FIRST)
TOTAL = Listed("Total", "total_us", "number", look=_TOTAL)
_TRIES = _COLOURED | {"thresholds": words.ATTEMPTS, "custom__width": 75}
ATTEMPTS = Listed("Tries", "attempts", "number", look=_TRIES)
ERROR = Listed("Error", "error_code", look=_WIDE)


def _tokens(title: str, selector: str) -> Listed:
    width = 90 if len(title) > 3 else 70
    return Listed(title, selector, "number", look={"unit": words.EXACT_COUNT, "custom__width": width})


TOKENS = [_tokens("In", "input_tokens"), _tokens("Cached", "input_cached_tokens"), _tokens("Out", "output_tokens")]
# What fits beside each other; the request in full has the rest.
LOG = [TIME, OUTCOME, STATUS, MODEL, CHANNEL, KEY, *TOKENS, COST, FIRST_TOKEN, TOTAL, ATTEMPTS, ERROR, ID]
SLOW = [
    TOTAL, FIRST_TOKEN,
    Listed("Connect", "connect_us", "number", look=US_LOOK),
    Listed("Wait", "wait_us", "number", look=US_LOOK),
    Listed("Stream time", "stream_us", "number", look=US_LOOK),
    Listed("Overhead", "overhead_us", "number", look=US_LOOK),
    TIME, OUTCOME, STATUS, MODEL, CHANNEL, KEY, TOKENS[0], TOKENS[-1], ATTEMPTS, ID,
]  # fmt: skip
MESSAGE = Listed("Message", "error_message", look={"custom__minWidth": 200, "custom__wrapText": True})
BLAME = Listed("Whose fault", "error_source", look={"custom__width": 115})
CODE = Listed("Error", "error_code", look=_NAME)
FAILURES = [TIME, OUTCOME, STATUS, BLAME, CODE, MESSAGE, CHANNEL, ASKED, API, KEY, ATTEMPTS, TOTAL, ID]
GROUPED = [
    Listed("Requests", "requests", "number", "grouped.requests", look={"custom__width": 80}),
    Listed("Outcome", "outcome", sql="grouped.outcome", look=OUTCOME_LOOK),
    Listed("Status", "status", "number", "grouped.status", look=_STATUS),
    Listed("Error", "error_code", sql="grouped.error_code", look=_NAME),
    Listed("Whose fault", "error_source", sql="grouped.error_source", look=_SLIM),
    Listed("Channel", "channel", sql="grouped.channel", leads="channel", look={"custom__width": 115}),
    Listed("Model", "model", sql="grouped.model", look=_NAME),
    Listed("API", "api", sql="grouped.api", look=_SLIM),
    Listed("Since", "first_at", "timestamp", "grouped.first_at", look={"unit": words.MOMENT, "custom__width": 115}),
    Listed("Last", "last_at", "timestamp", "grouped.last_at", "example", {"unit": words.MOMENT, "custom__width": 115}),
    Listed("Last message", "last_message", sql="example.error_message", look=MESSAGE.look),
    Listed("Last example", "last_id", sql="grouped.last_id", look=panels.HIDDEN),
]  # fmt: skip
# Of `/api/v1/requests/{id}` and of the table `attempts`.
TRIES = [
    Listed("Try", "n", "number", look={"custom__width": 50}),
    Listed("Channel", "channel", leads="channel", look={"custom__width": 140}),
    Listed("Began", "started_at", "timestamp", look={"unit": words.EXACT_MOMENT, "custom__width": 190}),
    OUTCOME,
    STATUS,
    ERROR,
    Listed("Connect", "connect_us", "number", look=US_LOOK),
    Listed("Wait", "wait_us", "number", look=US_LOOK),
]  # fmt: skip


def shown(panel, columns: list[Listed], dialect: Api | Sql):
    """The columns in their order, each as it looks, with its links."""
    for listed in columns:
        ways = _ways(listed, dialect)
        look = {"links": ways} if ways else {}
        if listed.leads in ("channel", "key", "session"):
            # What a link says is what the cell shows: a word that the API takes for none.
            look["mappings"] = words.NAMELESS
        panel = column(panel, listed.title, **listed.look, **look)
    return in_order(panel, *[listed.title for listed in columns])


def _ways(listed: Listed, dialect: Api | Sql) -> list:
    value = links.value_of(listed.title)
    kept = _kept(dialect)
    match listed.leads:
        case "row":
            return [links.alone(words.REQUEST, "This request in full", *kept, id=links.value_of(ID.title))]
        case "example":
            return [links.alone(words.REQUEST, "The last one in full", *kept, id=links.value_of("Last example"))]
        case "channel":
            return [links.alone(words.CHANNELS, "This channel", *kept, channel=value)]
        case "key":
            return [links.alone(words.COST, "What this key spent", *kept, key=value)]
    return []


def _numbers(dialect: Api | Sql):
    rolled_up = " Of the channels, models, APIs and keys chosen; the other choices do not change it."
    to_cost = links.alone(words.COST, "What it is made of", *_same(dialect))
    return [
        stat(
            "Requests",
            "How many requests started in this range, and how that differs from the period before." + rolled_up,
            dialect.sums("Requests", "requests", "COALESCE(SUM(requests), 0)"),
            width=5, change="neutral", links=[links.alone(words.OVERVIEW, "Overview", *_same(dialect))],
        ),
        stat(
            "Failed",
            "Share of the requests that failed: every outcome but `ok` and `client_closed`. Which, and how many, is "
            "below." + rolled_up,
            dialect.sums("Failed", "error_ratio", "1.0 * SUM(errors) / NULLIF(SUM(requests), 0)"),
            unit=words.RATIO, width=5, thresholds=words.ERRORS, change="more_is_bad", empty=panels.NO_REQUESTS,
            links=[links.alone(dialect.uid, "Only the failed", *(_same(dialect) or ["ledger"]), outcome="failed")],
        ),
        stat(
            "Spend",
            "What they cost together, as the ledger has it. Requests without a price are in no sum." + rolled_up,
            dialect.sums("Spend", "cost_usd", "SUM(cost_nanousd) / 1e9"),
            unit=words.USD, width=5, change="more_is_bad", empty=panels.NO_PRICE, links=[to_cost],
        ),
        stat(
            "Tokens",
            "All their tokens, of every type." + rolled_up,
            dialect.sums("Tokens", "total_tokens", "SUM(total_tokens)"),
            width=5, change="neutral", empty=panels.NO_TOKENS, links=[to_cost],
        ),
        _p95(dialect),
    ]  # fmt: skip


def _same(dialect: Api | Sql) -> list[str]:
    """What goes along to a dashboard of the same data: the data sources and the filters both have."""
    return [*_kept(dialect), "channel", "model", "api", "key"] if isinstance(dialect, Api) else []


def _p95(dialect: Api | Sql):
    to_latency = links.alone(words.LATENCY, "Where the time goes", *_same(dialect))
    if isinstance(dialect, Sql):
        return stat(
            "Total, p95",
            "Nineteen of twenty of the requests chosen ended within this time: exact, of their rows.",
            dialect.p95("p95"),
            unit=words.SECONDS, width=4, thresholds=words.DURATION, links=[to_latency],
        )  # fmt: skip
    return stat(
        "Total, p95",
        "Nineteen of twenty requests of this range ended within this time, as Prometheus' histogram has it: estimated "
        "within its buckets. Keys, outcomes and sessions chosen do not change it.",
        queries.metric_now(queries.quantile_of_range(0.95, "tollgate_request_duration_seconds"), "p95"),
        unit=words.SECONDS, width=4, thresholds=words.DURATION, links=[to_latency],
    )  # fmt: skip


def _log(dialect: Api | Sql):
    made = table(
        "The requests",
        f"The first {NEWEST} of the requests chosen, in the order chosen at the top. *Time* leads to all that is "
        "known of one: its session, phases, attempts, tokens and captured bytes. A dash is unknown, not 0: a cost without "
        "a price, a first token of what was no stream.",
        dialect.chosen_order(LOG, NEWEST),
        width=24, height=16,
    )  # fmt: skip
    return shown(made, LOG, dialect).filterable(True)


def errors(dialect: Api | Sql, width: int = 24):
    """What fails where."""
    some = "" if isinstance(dialect, Sql) else " Outcomes, sessions and statuses chosen do not change it."
    made = table(
        "What fails where",
        "Failed requests grouped by channel, model, API and error, the most frequent first: since when and the last "
        f"time, which leads to that request as an example.{some}",
        dialect.errors(GROUPED),
        width=width, height=9, empty=panels.NOTHING,
    )  # fmt: skip
    return shown(made, GROUPED, dialect)


def _failed(dialect: Api | Sql):
    made = table(
        "Failed requests",
        f"The newest {FAILED} that failed, with whose fault it was, the error's code and its words.",
        dialect.requests(FAILURES, FAILED, failed=True),
        width=24, height=11, empty=panels.NOTHING,
    )  # fmt: skip
    return shown(made, FAILURES, dialect).filterable(True)


def _slowest(dialect: Api | Sql):
    made = table(
        f"Slowest {SLOWEST}",
        "The longest from header to end, with where the time went: until a connection was there, until the upstream "
        "answered, while it streamed, and Tollgate's own share.",
        dialect.requests(SLOW, SLOWEST, order="slowest"),
        width=24, height=11,
    )  # fmt: skip
    return shown(made, SLOW, dialect)


def _one(dialect: Sql):
    made = table(
        "The request",
        "The request whose id is typed at the top. *Time* leads to it in full, which asks Tollgate's API.",
        dialect.one([*LOG, MESSAGE]),
        width=24, height=4, empty="No request has the id typed at the top, or none is typed.",
    )  # fmt: skip
    return shown(made, [*LOG, MESSAGE], dialect)


def attempts(target, columns: list[Listed], dialect: Api | Sql):
    """Each try at an upstream."""
    made = table(
        "Each attempt",
        "Each try at an upstream, in order: which channel, how it ended, how long its connection and its answer took. "
        "More than one means that a channel failed and another was tried.",
        target,
        width=24, height=6, empty="Nothing was tried: it was answered or refused before, or the id is not known.",
    )  # fmt: skip
    return shown(made, columns, dialect)


_SQL_FIRST_AID = f"""
| what you see | why | what to do |
|---|---|---|
| “{panels.NO_TRAFFIC}” | nothing was sent, or the choice at the top leaves nothing | widen the range, choose *All*, empty the boxes |
| “Datasource … was not found” | no data source of this kind has `tollgate` in its name | [data sources]({words.RUNBOOK}#the-wrong-data-source) |
| “no such table”, “relation … does not exist” | it is another database, or the copy lacks a table | look at the data source's path or database |
| “unable to open database file”, “readonly database” | SQLite's WAL mode needs the folder writable, also to read | give Grafana the ledger's folder, writable |
"""
