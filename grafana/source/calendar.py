"""Usage calendar: which days and hours, which keys, models and channels, and which of them change."""

from . import links, variables, words
from .board import Board
from .panels import (
    NO_PRICE,
    NO_TOKENS,
    by_series,
    calculated,
    column,
    dated,
    first_rows,
    hidden,
    matrix,
    only,
    ordered,
    series,
    shaded,
    stat,
    table,
    with_some,
)
from .queries import moment, number, text, usage, usage_now_and_before, usage_over_time
from .rankings import MEASURES, ranking

# What may be shown: what it is called, and its name, which is that of the columns below and of the API's orders.
SHOWN = {"Spend in USD": "cost", "Tokens": "tokens", "Requests": "requests"}
SUMS = [number("cost_usd", "cost"), number("total_tokens", "tokens"), number("requests", "requests")]

# Days and weeks are those of the reader's time zone: Grafana knows its name, the API counts by it.
ZONE = {"timezone": "${__timezone}"}

def board() -> Board:
    about = "Usage by day, hour, key, model and channel: what is usual, what was not, and who is on top."
    made = Board(words.CALENDAR, "Tollgate / Usage calendar", about, since="now-90d", refresh="15m")
    made.usual_choices(_shown())
    made.panels(*_numbers())
    made.row("${measure:text} by day and hour", _days(), _hours())
    made.row("Leaderboard", *_leaderboard())
    made.row("Day by day", *_by_day("model"), *_by_day("key"), *_by_day("channel"))
    made.row("Days that stand out", _top_days("Dearest", "cost"), _top_days("Busiest", "requests"), _key_weeks())
    return made.first_aid()


def _shown():
    return variables.choice("measure", "Show", SHOWN, "cost", "What the calendar, the leaderboard and the bars show.")


def _numbers():
    to_cost = links.to(words.COST, "What it is made of")
    return [
        stat(
            "Spend",
            "What the requests of this range cost, and how that differs from the range of the same length before. "
            "Requests without a price are in no sum.",
            usage_now_and_before([number("cost_usd", "Spend")]),
            unit=words.USD, width=4, change="more_is_bad", empty=NO_PRICE, links=[to_cost],
        ),
        stat(
            "Tokens",
            "All tokens of this range, of every type, and how that differs from the range before.",
            usage_now_and_before([number("total_tokens", "Tokens")]),
            width=4, change="neutral", empty=NO_TOKENS, links=[to_cost],
        ),
        stat(
            "Requests",
            "How many requests started in this range, and how that differs from the range before.",
            usage_now_and_before([number("requests", "Requests")]),
            width=4, change="neutral", links=[links.to(words.REQUESTS, "The requests")],
        ),
        only(stat(
            "Dearest day",
            "What the dearest day of this range cost. Which one it was is below, under *Days that stand out*.",
            _each_day([number("cost_usd", "Spend")]),
            unit=words.USD, width=4, calc="max", links=[to_cost],
        ), "Spend"),
        only(with_some(stat(
            "A usual day",
            "The median of the days with any spend: half of them cost more.",
            _each_day([number("cost_usd", "Spend")]),
            unit=words.USD, width=4, calc="median", links=[to_cost],
        ), "Spend"), "Spend"),
        only(with_some(stat(
            "Days with requests",
            "Days of this range on which anything was asked.",
            _each_day([number("requests", "Requests")]),
            width=4, calc="count",
        ), "Requests"), "Requests"),
    ]  # fmt: skip


def _each_day(columns):
    return usage("heatmap", "rows", [text("day", "Day"), *columns], of="days", **ZONE)


def _days():
    shown = table(
        "${measure:text}, day by day",
        "A column a week, by its Monday; a row a weekday. The darker, the more. A dark cell in a light row is a day "
        "that was not like others: set the range to it and see *Cost and tokens*. A cell without a number had no "
        "requests of known amount.",
        usage("heatmap", "rows", [text("week"), text("weekday"), *SUMS], of="days", **ZONE),
        width=24, height=9, unit=words.COUNT,
    )  # fmt: skip
    return _coloured_cells(matrix(shown, "weekday", "week", "$measure"), "weekday\\week", "Weekday")


def _hours():
    shown = table(
        "${measure:text}, hour by hour of the week",
        "What was used in this range at each hour of each weekday, added up. Dark nights and weekends are machines: "
        "jobs, or somebody else's use of a key.",
        usage("heatmap", "rows", [text("weekday"), text("hour"), *SUMS], of="hours", **ZONE),
        width=24, height=9, unit=words.COUNT,
    )  # fmt: skip
    return _coloured_cells(matrix(shown, "weekday", "hour", "$measure"), "weekday\\hour", "Weekday")


def _coloured_cells(panel, rows: str, title: str):
    """Cells in shades of one scale; the column of names stays plain."""
    return column(shaded(panel), rows, title, unit=words.TEXT, custom__cellOptions={"type": "auto"}, custom__width=100)


def _leaderboard():
    for by in ("key", "model", "channel"):
        yield ranking(by, f"{by.capitalize()}s", order="$measure", measure="${measure:text}", height=10, tokens=True)


def _by_day(by: str):
    panel = series(
        f"${{measure:text}} by {by}",
        f"A bar a day; the ten {by}s that cost most, the others together as `(other)`.",
        usage_over_time(SUMS, by=by, **ZONE, step="1d"),
        unit=words.COUNT, width=24, stacked=True, bars=True, calcs=("sum",),
        links=[
            links.of_series(words.COST, f"What this {by} is made of", by, by),
            links.of_series(words.REQUESTS, "The requests", by, by),
        ],
    )  # fmt: skip
    return [by_series(only(panel, "time", by, "$measure"), "|".join(SHOWN.values()))]


def _top_days(title: str, order: str):
    most, _ = MEASURES[order]
    shown = table(
        f"{title} days",
        f"The ten days of this range with most {most.lower()}. A click shows what one was made of.",
        # Named so: what is told of a column `time` Grafana takes for told of every column of times.
        usage_over_time(
            [
                moment("until", "until"), number("cost_usd", "Spend"), number("requests", "Requests"),
                number("total_tokens", "Tokens"), number("error_ratio", "Failed"),
            ],
            **ZONE, step="1d", begin="Day",
        ),
    )  # fmt: skip
    shown = calculated(with_some(shown, most), "end", "until", "-", "1")
    shown = hidden(first_rows(ordered(shown, most, descending=True), 10), "until", "end")
    that_day = [
        links.of_span(words.COST, "What it was made of", "Day", "end"),
        links.of_span(words.REQUESTS, "Its requests", "Day", "end"),
    ]
    shown = column(shown, "Day", unit=words.DAY, links=that_day)
    for measured, unit in MEASURES.values():
        shown = column(shown, measured, unit=unit)
    failed = {"unit": words.RATIO, "thresholds": words.ERRORS, "custom__cellOptions": {"type": "color-text"}}
    return column(shown, "Failed", **failed)


def _key_weeks():
    shown = table(
        "${measure:text} by key and week",
        "A row a key, a column a week, by its first day; the fifty keys that cost most. A key that fades is no longer "
        "used: revoke it. One that appears or doubles is worth a question.",
        usage_over_time(SUMS, by="key", top="50", **ZONE, step="7d"),
        width=24, height=10, unit=words.COUNT,
    )  # fmt: skip
    return _coloured_cells(matrix(dated(shown, "time"), "key", "time", "$measure"), "key\\time", "Key")
