"""Channels: which upstream is open, who closed it and why, what failed over, and how much room is left."""

from . import links, words
from .board import Board
from .dialects import Api
from .panels import bars, by_series, coloured, column, series, stat, states, table, widths, words_for, wrapped
from .queries import (
    CHANNEL,
    INSTANCE,
    ON_A_CHANNEL,
    RANGE,
    ledger,
    metric,
    metric_now,
    moment,
    number,
    text,
    usage,
    usage_over_time,
)
from .rankings import ranking
from .requests import errors

RATE = "[$__rate_interval]"
GATES = words_for({"0": ("closed", words.RED), "1": ("open", words.GREEN)})
STATES = words_for({
    "open": ("open", words.GREEN), "probing": ("probing", words.AMBER), "closed": ("closed", words.RED),
})  # fmt: skip

NO_LIMITS = "No limits told, or all are whole again."

# How a try ended, in the colours of how a request ends: both have the same words where they mean the same.
TRIES = "tollgate_upstream_attempts_total"


def board() -> Board:
    about = "Which upstreams take requests, who closed one and why, what failed over, and how much room is left."
    made = Board(words.CHANNELS, "Tollgate / Channels", about).usual_choices().mark_gates()
    made.panels(*_numbers())
    made.row("Gates", *_gates())
    made.row("Tries", *_tries())
    made.row("How they do", *_doing())
    made.row("Room", *_room())
    made.row("Money", *_money())
    return made.first_aid()


def _numbers():
    gates = f"min by (channel) (tollgate_channel_open{{{CHANNEL}}})"
    # A request counts where it ended. What was refused before a channel was asked has no try.
    ended = f'sum(rate(tollgate_requests_total{{{CHANNEL}, outcome!~"blocked|refused|no_channel"}}{RATE}))'
    sent_on = f"clamp_min(1 - {ended} / sum(rate({TRIES}{{{CHANNEL}}}{RATE})), 0)"
    return [
        stat(
            "Closed now", "Channels that take no requests at this moment. Their share goes to others.",
            metric_now(f"sum({gates} == bool 0)", "closed"), width=4, thresholds=words.NONE_IS_GOOD,
        ),
        stat(
            "Open now", "Channels that take requests at this moment.",
            metric_now(f"sum({gates})", "open"), width=4,
        ),
        stat(
            "In flight", "Requests that were sent to a channel and whose answer has not ended.",
            metric(f"sum(tollgate_in_flight_requests{{{CHANNEL}}})", "in flight"), width=4,
        ),
        stat(
            "Sent on", "The share of tries at these channels that were not the last of their request: they failed "
            "before the first byte, and the request went to another channel. Clients see nothing of it but the time.",
            metric(sent_on, "sent on"), unit=words.RATIO, width=4, thresholds=words.ERRORS,
        ),
        stat(
            "Without a channel", "Requests of this range that found no open channel, with *All* channels chosen. Their "
            "clients got 503, or 404 for a model that no channel serves.",
            usage("summary", "total", [number("no_channel_requests", "Without")]),
            width=4, thresholds=words.NONE_IS_GOOD,
            links=[links.to(words.REQUESTS, "These requests", outcome="no_channel")],
        ),
        stat(
            "Fullest rate limit", "How much of a provider's own limit is used, of all channels and limits the most, by "
            "its last word. Limits that are whole again do not count.",
            metric_now(f"max({_used_limit()})", "used"),
            unit=words.RATIO, width=4, thresholds=words.USED, empty=NO_LIMITS,
        ),
    ]  # fmt: skip


def _used_limit() -> str:
    return f"1 - {_room_of('remaining')} / tollgate_channel_ratelimit_limit{{{CHANNEL}}}"


def _room_of(what: str) -> str:
    """A provider's last word holds until the limit is whole again; with little traffic it would stand for hours."""
    resets = f"tollgate_channel_ratelimit_reset_timestamp_seconds{{{CHANNEL}}}"
    return f"(tollgate_channel_ratelimit_{what}{{{CHANNEL}}} unless {resets} <= timestamp({resets}))"


def _gates():
    held = table(
        "Gates now",
        "Every channel, and who holds it closed: an alert, its breaker, or an operator. It opens when nobody holds it; "
        "only the owner or an operator ends a hold. *Cools down for*: the model that ends first of those the provider "
        "asked to wait with. `tollgate channels` shows the same.",
        ledger("channels", "channels", [
            text("name", "Channel"), text("state", "State"), text("holds.0.owner", "Held by"),
            text("holds.0.reason", "Reason"), moment("holds.0.since", "Since"), moment("holds.0.until", "Until"),
            text("holds.0.note", "Note"), text("holds.1.owner", "Held too by"), moment("next_probe", "Next probe"),
            number("in_flight", "In flight"), number("max_in_flight", "At most"),
            text("cooldowns.0.model", "Cools down for"), moment("cooldowns.0.until", "Cool until"),
        ]),
        width=24, height=7, empty="No channels are configured.",
    )  # fmt: skip
    held = column(held, "State", mappings=[STATES.to_json()], custom__cellOptions={"type": "color-text"})
    held = column(held, "Channel", links=[links.of_field(words.REQUESTS, "Its requests", "channel", "Channel")])
    for name in ("Since", "Until", "Next probe", "Cool until"):
        held = column(held, name, unit=words.MOMENT, custom__width=115)
    held = widths(held, State=80, Held_by=90, Reason=110, Held_too_by=95, In_flight=75, At_most=75, Cools_down_for=130)
    held = wrapped(held, "Channel", "Note")
    happened = table(
        "What happened to gates",
        "Each change of a hold on any channel, the newest first: who closed or opened it, and why. *Until* of the "
        "breaker is its next probe.",
        ledger("channel-events", "events", [
            moment("at", "When"), text("channel", "Channel"), text("state", "It became"), text("owner", "By"),
            text("reason", "Reason"), moment("until", "Until"), text("who", "Who"), text("note", "Note"),
        ], limit="100", **RANGE),
        width=16, height=9, empty="Nothing was closed or opened in this range.",
    )  # fmt: skip
    happened = column(happened, "When", unit=words.POINT)
    happened = column(happened, "Until", unit=words.POINT)
    happened = column(happened, "It became", mappings=[STATES.to_json()], custom__cellOptions={"type": "color-text"})
    happened = widths(happened, When=165, Channel=120, It_became=80, By=85, Reason=100, Until=165, Who=90)
    happened = wrapped(happened, "Note")
    return [
        states(
            "Gates over time",
            "Which channels took requests. A gap means that Prometheus did not scrape.",
            metric(f"min by (channel) (tollgate_channel_open{{{CHANNEL}}})", "{{channel}}"), mappings=[GATES],
            links=[links.of_series(words.REQUESTS, "Requests of ${__field.labels.channel}", "channel", "channel")],
        ),
        held,
        happened,
        series(
            "Changes by reason",
            "How often an hour gates changed: to what, and why. A channel that comes and goes here flaps: see "
            "`breaker` in the settings. The breaker's probes are `probing: failures`.",
            metric(
                f"sum by (channel, to, reason) (rate(tollgate_channel_transitions_total{{{CHANNEL}}}{RATE})) * 3600",
                "{{channel}} {{to}}: {{reason}}",
            ),
            unit=words.PER_HOUR, width=8, height=9, bars=True, stacked=True,
            empty="No gate has changed since Tollgate started.",
        ),
    ]  # fmt: skip


def _tries():
    return [
        coloured(series(
            "Tries by how they ended",
            "Every try at an upstream, those too that were given up for another channel.",
            metric(f"sum by (result) (rate({TRIES}{{{CHANNEL}}}{RATE}))", "{{result}}"),
            unit=words.PER_SECOND, width=8, stacked=True,
            links=[links.to(words.REQUESTS, "The failed requests", outcome="failed")],
        ), words.OUTCOME_COLOURS),
        series(
            "Failed tries by channel",
            "The share of a channel's tries that did not go well. What a client left does not count.",
            metric(
                f'sum by (channel) (rate({TRIES}{{{CHANNEL}, result!~"ok|client_closed"}}{RATE})) '
                f"/ sum by (channel) (rate({TRIES}{{{CHANNEL}}}{RATE}))",
                "{{channel}}",
            ),
            unit=words.RATIO, width=8, thresholds=words.ERRORS,
            links=[links.of_series(words.REQUESTS, "Requests of ${__field.labels.channel}", "channel", "channel")],
        ),
        series(
            "Traffic by channel",
            "Requests by the channel that answered, or was tried last.",
            metric(f"sum by (channel) (rate(tollgate_requests_total{{{ON_A_CHANNEL}}}{RATE}))", "{{channel}}"),
            unit=words.PER_SECOND, width=8, stacked=True,
            links=[links.of_series(words.REQUESTS, "Requests of ${__field.labels.channel}", "channel", "channel")],
        ),
        errors(Api()),
    ]  # fmt: skip


def _doing():
    def quantile(family: str) -> str:
        buckets = f"rate({family}_bucket{{{ON_A_CHANNEL}}}{RATE})"
        return f"histogram_quantile(0.95, sum by (le, channel) ({buckets})) >= 0"

    latency = [links.of_series(words.LATENCY, "Latency of ${__field.labels.channel}", "channel", "channel")]
    return [
        series(
            "First token by channel, p95", "Nineteen of twenty streams had their first token within this time.",
            metric(quantile("tollgate_time_to_first_token_seconds"), "{{channel}}"),
            unit=words.SECONDS, width=8, thresholds=words.FIRST_TOKEN, links=latency, coarse=True,
        ),
        series(
            "Duration by channel, p95", "Nineteen of twenty requests ended within this time.",
            metric(quantile("tollgate_request_duration_seconds"), "{{channel}}"),
            unit=words.SECONDS, width=8, thresholds=words.DURATION, links=latency, coarse=True,
        ),
        series(
            "In flight by channel", "Requests sent to a channel whose answer has not ended; `max_in_flight` bounds them.",
            metric(f'sum by (channel) (tollgate_in_flight_requests{{{CHANNEL}, channel!=""}})', "{{channel}}"),
            unit=words.COUNT, width=8, stacked=True,
        ),
    ]  # fmt: skip


def _room():
    return [
        bars(
            "Rate limits used",
            "How much of each of the provider's own limits is used, by its last word. From 80 % on requests may soon be "
            "turned away with 429.",
            metric_now(f"topk(12, max by (channel, kind) ({_used_limit()}))", "{{channel}}: {{kind}}"),
            unit=words.RATIO, width=8, thresholds=words.USED, most=1, empty=NO_LIMITS,
        ),
        series(
            "Room of rate limits over time", "What is left of each limit, in its own unit (requests, tokens).",
            metric(f"min by (channel, kind) ({_room_of('remaining')})", "{{channel}}: {{kind}}"),
            unit=words.COUNT, width=8, calcs=("min", "lastNotNull"), empty=NO_LIMITS,
        ),
        bars(
            "Windows of plans used",
            "How much of a plan's window (five hours, a week) is used, as the provider says it in its answers.",
            metric_now(
                f'topk(12, max by (account, window) (tollgate_quota_used_ratio{{{INSTANCE}, account=~"$channel"}}))',
                "{{account}}: {{window}}",
            ),
            unit=words.RATIO, width=8, thresholds=words.USED, most=1, empty="Plans alone have windows of usage.",
        ),
        states(
            "The same channel in new-api",
            "Whether the channel in new-api or one-api that follows this one is as its gate wishes.",
            metric(f"min by (channel) (tollgate_new_api_synced{{{CHANNEL}}})", "{{channel}}"), height=5,
            mappings=[words_for({"0": ("not yet", words.AMBER), "1": ("follows", words.GREEN)})],
            empty="No channel has `new_api` in the settings.",
        ),
    ]  # fmt: skip


def _money():
    return [
        ranking("channel", "Channels", width=10),
        by_series(series(
            "Spend by channel over time", "What requests cost, by the channel that answered.",
            usage_over_time([number("cost_usd", "Spend")], by="channel"),
            unit=words.USD, width=14, stacked=True, bars=True, calcs=("sum",),
            links=[links.of_series(words.COST, "Cost of ${__field.labels.channel}", "channel", "channel")],
        ), "Spend"),
    ]  # fmt: skip
