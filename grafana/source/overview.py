"""Overview: is all well, what did it cost, and where to look."""

from . import links, queries, words
from .board import Board
from .panels import (
    NO_PRICE,
    NO_REQUESTS,
    NO_STREAMS,
    NO_TOKENS,
    NOTHING,
    bars,
    by_series,
    column,
    coloured,
    in_turn,
    series,
    stat,
    states,
    table,
    widths,
    words_for,
    wrapped,
)
from .queries import (
    CHANNEL,
    INSTANCE,
    ON_A_CHANNEL,
    TRAFFIC,
    ledger,
    metric,
    metric_now,
    number,
    quantile_now_and_before,
    text,
    usage_now_and_before,
    usage_over_time,
)
from .rankings import ranking


def board() -> Board:
    about = (
        "What Tollgate let through, what it cost, how fast it was, what is closed and what fires. Money, tokens and "
        "counts are those of the one ledger chosen; latencies, channels and budgets those of every instance chosen. Of "
        "several Tollgates choose the instance that the ledger belongs to."
    )
    made = Board(words.OVERVIEW, "Tollgate / Overview", about).usual_choices().mark_gates()
    made.panels(*_numbers())
    made.row("Now", *_now())
    made.row("Over time", *_over_time())
    made.row("Who and what", *_tops())
    return made.first_aid()


def _numbers():
    """Each of the whole range, against the period of the same length before; each leads to what explains it."""
    to_cost = links.to(words.COST, "What it is made of")
    to_log = links.to(words.REQUESTS, "The requests")
    failed = links.to(words.REQUESTS, "The failed requests", outcome="failed")
    to_latency = links.to(words.LATENCY, "Where the time goes")
    return [
        stat(
            "Spend",
            "What the requests of this range cost, as the ledger has it, and how that differs from the period before. "
            "Requests without a price are in no sum: see *Unpriced*.",
            usage_now_and_before([number("cost_usd", "Spend")]),
            unit=words.USD, change="more_is_bad", empty=NO_PRICE, links=[to_cost],
        ),
        stat(
            "Tokens",
            "All tokens of this range, of every type, and how that differs from the period before.",
            usage_now_and_before([number("total_tokens", "Tokens")]),
            change="neutral", empty=NO_TOKENS, links=[to_cost],
        ),
        stat(
            "Requests",
            "How many requests started in this range, and how that differs from the period before.",
            usage_now_and_before([number("requests", "Requests")]),
            change="neutral", links=[to_log],
        ),
        stat(
            "Failed",
            "Share of the requests that failed: every outcome but `ok` and `client_closed`. How many, and how: below, "
            "in *Requests by how they ended*.",
            usage_now_and_before([number("error_ratio", "Failed")]),
            unit=words.RATIO, thresholds=words.ERRORS, change="more_is_bad", empty=NO_REQUESTS, links=[failed],
        ),
        stat(
            "Unpriced",
            "Requests whose tokens have no price: what they cost is unknown, and in no sum. `tollgate prices` and "
            "`prices.files` mend it.",
            usage_now_and_before([number("unpriced_requests", "Unpriced")]),
            thresholds=words.NONE_IS_GOOD, change="more_is_bad", links=[links.to(words.COST, "Which models")],
        ),
        stat(
            "Usage missing",
            "Requests whose tokens should be known and are not. They are in no sum of tokens or cost.",
            usage_now_and_before([number("missing_usage_requests", "Missing")]),
            thresholds=words.NONE_IS_GOOD, change="more_is_bad",
            links=[links.to(words.COST, "Where numbers come from")],
        ),
        in_turn(stat(
            "First token, p95",
            "Nineteen of twenty streams of this range had their first token within this time, and how that differs "
            "from the period before. Estimated within a bucket of Prometheus' histogram, as far back as it keeps any.",
            *quantile_now_and_before(0.95, "tollgate_time_to_first_token_seconds"),
            unit=words.SECONDS, thresholds=words.FIRST_TOKEN, change="more_is_bad",
            empty=NO_STREAMS, links=[to_latency],
        )),
        in_turn(stat(
            "Overhead, p99",
            "Tollgate's own time in a request, the total less every wait for the client or the upstream: ninety-nine "
            "of a hundred requests of this range had no more, and how that differs from the period before. Of all "
            "requests: only the choice of an instance makes a difference.",
            *quantile_now_and_before(0.99, "tollgate_overhead_seconds", INSTANCE),
            unit=words.SECONDS, thresholds=words.OVERHEAD, change="more_is_bad",
            empty=NO_REQUESTS, links=[links.to(words.SELF, "Tollgate itself")],
        )),
    ]  # fmt: skip


def _now():
    open_or_closed = words_for({"0": ("closed", words.RED), "1": ("open", words.GREEN)})
    firing = table(
        "Firing",
        "Alerts of Tollgate's own rules that fire now: what passed which limit, since when, and what was done.",
        ledger(
            "alerts",
            "alerts",
            [
                text("severity", "Severity"), text("alert", "Alert"), text("value", "Measured"), text("limit", "Limit"),
                text("unit", "Unit"), queries.moment("fired_at", "Since"), text("mode", "Mode"),
            ],
            state="firing",
        ),
        width=12, height=7, empty=NOTHING, links=[links.to(words.BUDGETS, "Budgets and alerts")],
    )  # fmt: skip
    severities = words_for({"critical": ("critical", words.RED), "warning": ("warning", words.AMBER)}).to_json()
    firing = column(firing, "Severity", mappings=[severities], custom__cellOptions={"type": "color-text"})
    firing = column(firing, "Since", unit=words.MOMENT)
    firing = wrapped(widths(firing, Severity=75, Measured=80, Limit=70, Unit=65, Since=115, Mode=70), "Alert")
    return [
        states(
            "Channels",
            "Which upstreams take requests. A closed one is held by an alert, its breaker or an operator; its share "
            "goes to others.",
            metric(f"min by (channel) (tollgate_channel_open{{{CHANNEL}}})", "{{channel}}"),
            width=6, height=7, mappings=[open_or_closed], links=[links.to(words.CHANNELS, "Why, and what happened")],
        ),
        firing,
        bars(
            "Budgets used",
            "How much of its limit each budget has used in its window; the five fullest. At 100 % an enforced one "
            "refuses.",
            metric_now(
                f"topk(5, max by (rule, scope) (tollgate_budget_used{{{INSTANCE}}} / tollgate_budget_limit{{{INSTANCE}}}))",
                "{{rule}} {{scope}}",
            ),
            unit=words.RATIO, width=6, height=7, thresholds=words.USED, most=1, empty="No budgets are set.",
            links=[links.to(words.BUDGETS, "Budgets and alerts")],
        ),
    ]  # fmt: skip


def _over_time():
    outcomes = [number(f"{outcome}_requests", outcome) for outcome in words.OUTCOMES]
    return [
        by_series(series(
            "Spend by channel",
            "What requests cost, by when they started.",
            usage_over_time([number("cost_usd", "Spend")], by="channel"),
            unit=words.USD, stacked=True, bars=True, calcs=("sum",),
            links=[links.of_series(words.COST, "Cost of ${__field.labels.channel}", "channel", "channel")],
        ), "Spend"),
        coloured(series(
            "Requests by how they ended",
            "All requests, by when they started. Failures are red, purple and dark; limits are yellow and amber.",
            usage_over_time(outcomes),
            unit=words.COUNT, stacked=True, bars=True, calcs=("sum",),
            links=[links.to(words.REQUESTS, "${__field.name}", outcome="${__field.name}")],
        ), words.OUTCOME_COLOURS),
        series(
            "Duration",
            "From a request's header to the end of its answer, streams and others together.",
            *[metric(_quantile(q, "tollgate_request_duration_seconds"), f"p{q * 100:.0f}", ref) for q, ref in ((0.5, "A"), (0.95, "B"), (0.99, "C"))],
            unit=words.SECONDS, thresholds=words.DURATION, links=[links.to(words.LATENCY, "Where the time goes")],
        ),
        series(
            "Time to first token, p95, by channel",
            "From a streamed request's header to its first content.",
            metric(
                "histogram_quantile(0.95, sum by (le, channel) (rate("
                f"tollgate_time_to_first_token_seconds_bucket{{{ON_A_CHANNEL}}}[$__rate_interval]))) >= 0",
                "{{channel}}",
            ),
            unit=words.SECONDS, thresholds=words.FIRST_TOKEN,
            links=[links.of_series(words.LATENCY, "Latency of ${__field.labels.channel}", "channel", "channel")],
        ),
    ]  # fmt: skip


def _tops():
    return [ranking("model", "Models"), ranking("key", "Keys"), ranking("channel", "Channels")]


def _quantile(quantile: float, family: str) -> str:
    return f"histogram_quantile({quantile}, sum by (le) (rate({family}_bucket{{{TRAFFIC}}}[$__rate_interval]))) >= 0"
