"""Pace and budgets: how fast money goes, and what of its limits."""

from . import links, words
from .panels import bars, column, merged, series, stat, table
from .queries import INSTANCE, ON_A_CHANNEL, TRAFFIC, budget, budget_share, metric, metric_now, metric_table

# A month, in hours.
MONTH_HOURS = 730

USD_PER_HOUR = f"(rate(tollgate_cost_usd_total{{{TRAFFIC}}}[$__rate_interval])) * 3600"


def panels():
    """The panels of a row."""
    budgets = links.to(words.BUDGETS, "Budgets and alerts")
    usd = f'{INSTANCE}, unit="usd"'
    forecast = budget_share("forecast", "rule, scope", usd)
    shown = table(
        "Budgets in USD",
        "Of each budget: its limit, what is used of it in its window, what is reserved for requests on their way, what "
        "is left, and what will be used at the window's end at the present rate. Red: it will come near its limit, or "
        "pass it.",
        *[
            metric_table(budget(what, "rule, scope", usd), ref)
            for what, ref in (("limit", "A"), ("used", "B"), ("reserved", "C"), ("remaining", "D"), ("forecast", "E"))
        ],
        metric_table(forecast, "F"),
        width=16, empty="No budgets in USD are set.", sort="Forecast of the limit",
    )  # fmt: skip
    shown = merged(shown, {
        "rule": "Rule", "scope": "Scope", "Value #A": "Limit", "Value #B": "Used", "Value #C": "Reserved",
        "Value #D": "Left", "Value #E": "Forecast", "Value #F": "Forecast of the limit",
    })  # fmt: skip
    shown = column(shown, "Rule", links=[budgets])
    for name in ("Limit", "Used", "Reserved", "Left", "Forecast"):
        shown = column(shown, name, unit=words.USD)
    shown = column(
        shown, "Forecast of the limit",
        unit=words.RATIO, thresholds=words.USED, custom__cellOptions={"type": "color-text"},
    )  # fmt: skip
    return [
        stat(
            "Burn",
            "What is spent an hour at the end of the range, by Prometheus' rates; the line shows how it came there.",
            metric(f"sum {USD_PER_HOUR}", "Burn"),
            unit=words.USD_PER_HOUR, width=4, height=8, spark=True,
        ),
        stat(
            "A month at this pace",
            f"The mean pace of this range times {MONTH_HOURS} hours, by Prometheus' rates: an estimate, and only as "
            "good as the range is usual. Choose a week.",
            metric(f"sum {USD_PER_HOUR} * {MONTH_HOURS}", "Month"),
            unit=words.USD, width=4, height=8, calc="mean",
        ),
        series(
            "Burn by channel",
            "USD an hour, by Prometheus' rates. A step up that stays is a change; a spike is one client.",
            metric(f"sum by (channel) {USD_PER_HOUR.replace(TRAFFIC, ON_A_CHANNEL)}", "{{channel}}"),
            unit=words.USD_PER_HOUR, width=16, stacked=True,
            links=[links.of_series(words.COST, "Only this channel", "channel", "channel")],
        ),
        shown,
        bars(
            "Forecast against budget",
            "What will be used at each window's end, as a share of its limit; the ten fullest. Above 100 % it will be "
            "passed.",
            metric_now(f"topk(10, {forecast})", "{{rule}} {{scope}}"),
            unit=words.RATIO, width=8, thresholds=words.USED, empty="No budgets in USD, or no forecast yet.",
            links=[budgets],
        ),
    ]  # fmt: skip
