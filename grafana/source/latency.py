"""Latency: how long requests take, where the time goes, and whether it is Tollgate's or the provider's."""

from functools import partial

from . import links, panels, variables, words
from .board import Board
from .panels import coloured, column, heatmap, hidden, known, series, table, widths
from .queries import (
    CHANNEL,
    INSTANCE,
    TRAFFIC,
    metric,
    metric_buckets,
    moment,
    number,
    requests,
    text,
)

DURATION = "tollgate_request_duration_seconds"
FIRST_TOKEN = "tollgate_time_to_first_token_seconds"
PER_TOKEN = "tollgate_time_per_output_token_seconds"
OVERHEAD = "tollgate_overhead_seconds"
PHASE = "tollgate_phase_duration_seconds"

PERCENTILES = {"p50": "0.5", "p90": "0.9", "p95": "0.95", "p99": "0.99"}

# Phases are counted by channel alone.
BY_CHANNEL_ALONE = "Phases are counted by channel: the choice of a model or an API makes no difference here."
# A number with a line is its end.
LATEST = "The latest of the range that is known; the line shows how it came there."
# Of a histogram only the buckets are known, so a percentile lies somewhere in one.
FROM_BUCKETS = "Estimated within the bucket it falls in."


# A number has room for its line from this height on.
stat = partial(panels.stat, spark=True, height=5)


def board() -> Board:
    about = "How long requests take, in which phase, on which channel, and how much of it is Tollgate's own."
    made = Board(words.LATENCY, "Tollgate / Latency", about).usual_choices(_percentile(), *_limits()).mark_gates()
    made.panels(*_numbers())
    made.row("Where the time goes", *_phases())
    made.row("Until the first token", *_first_token())
    made.row("Until the end", *_duration())
    made.row("Pace of a stream", *_pace())
    made.row("The slowest requests", _slowest())
    made.row("Tollgate's own time", *_overhead())
    return made.first_aid()


def _percentile():
    about = "Which percentile the panels by channel and by model show: of a hundred requests, so many were faster."
    return variables.choice("percentile", "Percentile", PERCENTILES, "0.95", about)


def _limits():
    """Only bounds of buckets: the share above any other number is not known."""
    seconds = {f"{limit} s": limit for limit in words.DURATION_LIMITS}
    yield variables.choice("slow", "Slow above", seconds, "20.48", "From which duration on a request is called slow.")
    first = {f"{limit} s": limit for limit in words.FIRST_TOKEN_LIMITS}
    about = "From which time to the first token on a stream is called late."
    yield variables.choice("late", "First token late above", first, "5", about)


def _numbers():
    requested = links.to(words.REQUESTS, "The slowest requests", order="slowest")
    in_flight = f"sum(tollgate_in_flight_requests{{{CHANNEL}}})"
    return [
        stat(
            "First token, p50",
            f"Half of the streams had their first token within this time. {FROM_BUCKETS} {LATEST}",
            metric(_quantile("0.5", FIRST_TOKEN), "p50"),
            unit=words.SECONDS, thresholds=words.FIRST_TOKEN, links=[requested],
        ),
        stat(
            "First token, p95",
            f"Nineteen of twenty streams had their first token within this time. {FROM_BUCKETS} {LATEST}",
            metric(_quantile("0.95", FIRST_TOKEN), "p95"),
            unit=words.SECONDS, thresholds=words.FIRST_TOKEN, links=[requested],
        ),
        stat(
            "Duration, p50",
            f"Half of the requests had ended within this time, streams and others together. {FROM_BUCKETS} {LATEST}",
            metric(_quantile("0.5", DURATION), "p50"),
            unit=words.SECONDS, thresholds=words.DURATION, links=[requested],
        ),
        stat(
            "Duration, p95",
            f"Nineteen of twenty requests had ended within this time. {FROM_BUCKETS} {LATEST}",
            metric(_quantile("0.95", DURATION), "p95"),
            unit=words.SECONDS, thresholds=words.DURATION, links=[requested],
        ),
        stat(
            "Pace, p50",
            f"Output tokens a second of half of the streams, after the first one. {LATEST}",
            metric(f"1 / {_quantile('0.5', PER_TOKEN)}", "p50"),
            unit=words.TOKENS_PER_SECOND,
        ),
        stat(
            "Slow requests",
            "Share of the requests that took longer than *Slow above* at the top. Not estimated: it is a bucket's "
            f"bound. {LATEST}",
            metric(_slow_share(DURATION, "slow"), "slow"),
            unit=words.RATIO, links=[requested],
        ),
        stat(
            "Overhead, p99",
            "Tollgate's own time in a request: the total less every wait for the client or the upstream. Where it is "
            f"much, look at the dashboard of Tollgate itself. {LATEST}",
            metric(_quantile("0.99", OVERHEAD, INSTANCE), "p99"),
            unit=words.SECONDS, thresholds=words.OVERHEAD, links=[links.to(words.SELF, "Tollgate itself")],
        ),
        stat(
            "In flight",
            "Requests at an upstream whose answer has not ended. It rises while the upstream is slower than requests "
            "come.",
            metric(in_flight, "in flight"),
            links=[links.to(words.CHANNELS, "Channels")],
        ),
    ]  # fmt: skip


def _phases():
    # Over all requests, whether they reached the phase or not: only so do the means add up.
    count = f"sum (rate({PHASE}_count{{{CHANNEL}, {_of_phases('total')}}}[$__rate_interval]))"
    stacked = [
        metric(f"{_phase_sum(_of_phases(phase))} / {count}", phase, ref)
        for phase, ref in zip(words.PHASES_IN_TURN, "ABCDEF")
    ]  # fmt: skip
    between = f"{_phase_sum(_of_phases('total'))} - {_phase_sum(_of_phases(*words.PHASES_IN_TURN))}"
    stacked.append(metric(f"clamp_min({between}, 0) / {count}", "between", "G"))
    phases = series(
        "A request, phase by phase",
        "What the mean request spends in each phase; together they are its mean duration. `read_request`: the client's "
        "body; `admit`: rules, and waiting for a place at a channel; `connect`; `wait`: until the answer's header; "
        "`first_byte`: until its first byte; `stream`: until its last; `between`: sending the body upstream, tries "
        "that failed before, and the end. `first_token` and `overhead` lie across these and are not stacked. A wide "
        f"`wait` or `stream` is the provider's, a wide `read_request` the client's. {BY_CHANNEL_ALONE}",
        *stacked,
        unit=words.SECONDS, width=16, height=10, stacked=True, calcs=("mean", "max"),
    )  # fmt: skip
    waits = series(
        "Wait for the answer's header, mean, by channel",
        "From the request sent to the header of the answer: the provider's own time. One channel above the others is "
        f"slow. {BY_CHANNEL_ALONE}",
        metric(_phase_by_channel("wait"), "{{channel}}"),
        unit=words.SECONDS, width=8, height=10, links=[_only("channel")],
    )  # fmt: skip
    return [
        coloured(phases, words.PHASE_COLOURS),
        waits,
        series(
            "Connecting, mean, by channel",
            "Until a connection to the upstream was there; near 0 where one was open already. A rise is the network's, "
            f"or the provider closes connections early. {BY_CHANNEL_ALONE}",
            metric(_phase_by_channel("connect"), "{{channel}}"),
            unit=words.SECONDS, width=8, links=[_only("channel")],
        ),
        series(
            "Waiting for a place, mean, by channel",
            "Choosing a channel and checking rules, with the wait for a place where `max_in_flight` is reached. More "
            f"than a few milliseconds: raise `max_in_flight`, or add a channel. {BY_CHANNEL_ALONE}",
            metric(_phase_by_channel("admit"), "{{channel}}"),
            unit=words.SECONDS, width=8, links=[_only("channel")],
        ),
        series(
            "In flight, by channel",
            "Requests at each upstream whose answer has not ended.",
            metric(f"sum by (channel) (tollgate_in_flight_requests{{{CHANNEL}}})", "{{channel}}"),
            unit=words.COUNT, width=8, stacked=True,
            links=[links.of_series(words.CHANNELS, "The channel", "channel", "channel")],
        ),
    ]  # fmt: skip


def _first_token():
    about = "From a streamed request's header to its first content."
    return [
        _percentiles("Time to first token", about, FIRST_TOKEN, words.FIRST_TOKEN),
        _against_yesterday("Time to first token", FIRST_TOKEN),
        _heatmap("First tokens", "When streams had their first token", FIRST_TOKEN),
        _by("Time to first token", FIRST_TOKEN, "channel", words.FIRST_TOKEN),
        _by("Time to first token", FIRST_TOKEN, "model", words.FIRST_TOKEN),
        _slow("Streams with a late first token", FIRST_TOKEN, "late", "First token late above"),
    ]  # fmt: skip


def _duration():
    about = "From a request's header to the end of its answer, streams and others together."
    return [
        _percentiles("Duration", about, DURATION, words.DURATION),
        _against_yesterday("Duration", DURATION),
        _heatmap("Durations", "When requests had ended", DURATION),
        _by("Duration", DURATION, "channel", words.DURATION),
        _by("Duration", DURATION, "model", words.DURATION),
        _slow("Slow requests", DURATION, "slow", "Slow above"),
    ]  # fmt: skip


def _pace():
    paces = [
        metric(f"1 / {_quantile(quantile, PER_TOKEN)}", name, ref)
        for (name, quantile), ref in zip((("half", "0.5"), ("19 of 20", "0.95"), ("99 of 100", "0.99")), "ABC")
    ]  # fmt: skip
    shown = [
        series(
            "Pace",
            "Output tokens a second after the first one: half of the streams, 19 of 20 and 99 of 100 were faster than "
            "this. Streams of at least two tokens.",
            *paces,
            unit=words.TOKENS_PER_SECOND, width=8,
        ),
    ]  # fmt: skip
    for by in ("channel", "model"):
        expression = f"1 / {_quantile('$percentile', PER_TOKEN, by=by)}"
        shown.append(series(
            f"Pace by {by}, ${{percentile:text}}",
            "Output tokens a second that so many of a hundred streams reach: at p95 nineteen of twenty are faster. One "
            f"{by} below the others writes slowly.",
            metric(expression, f"{{{{{by}}}}}"),
            unit=words.TOKENS_PER_SECOND, width=8, links=[_only(by)], calcs=("mean", "min"), coarse=True,
        ))  # fmt: skip
    about = "How long streams took for each token after the first"
    return [*shown, _heatmap("Time per token", about, PER_TOKEN, width=24)]


def _overhead():
    own = _phase_sum(_of_phases("overhead"), "channel")
    share = _of_some(f"{own} / {_phase_sum(_of_phases('total'), 'channel')}")
    return [
        series(
            "Overhead",
            "Tollgate's own time in a request: the total less every wait for the client or the upstream. It is of all "
            "requests of the instance; channel, model and API make no difference.",
            *_all_percentiles(OVERHEAD, INSTANCE),
            unit=words.SECONDS, width=8, thresholds=words.OVERHEAD, links=[links.to(words.SELF, "Tollgate itself")],
        ),
        series(
            "Overhead's share of the total, by channel",
            f"How much of all the time that requests took was Tollgate's own. {BY_CHANNEL_ALONE}",
            metric(share, "{{channel}}"),
            unit=words.RATIO, width=8,
        ),
        heatmap(
            "Overhead, how often how long",
            "Each column counts the requests of its time by Tollgate's own part of them.",
            metric_buckets(_in_each_step(OVERHEAD, INSTANCE)),
            width=8, height=8,
        ),
    ]  # fmt: skip


def _slowest():
    shown = table(
        "The twenty slowest",
        "The requests of this range that took longest, as the ledger has them; *Started* shows one in full. What they "
        "wait for tells whom to ask: a long *Wait* is the provider's, a long *Stream* a long answer.",
        requests(
            [
                moment("started_at", "Started"), number("total_us", "Duration"), text("channel", "Channel"),
                text("served_model", "Model"), text("api", "API"), text("key", "Key"), text("outcome", "Outcome"),
                number("attempts", "Tries"), number("read_request_us", "Read"), number("admit_us", "Admit"),
                number("connect_us", "Connect"), number("wait_us", "Wait"), number("first_token_us", "First token"),
                number("stream_us", "Stream"), number("output_tokens", "Output"),
                number("reasoning_tokens", "Reasoning"), text("id", "Request"),
            ],
            order="slowest", limit="20",
        ),
        width=24, height=10,
    )  # fmt: skip
    shown = known(shown, "Duration")
    for phase in ("Duration", "Read", "Admit", "Connect", "Wait", "First token", "Stream"):
        shown = column(shown, phase, unit=words.MICROSECONDS, decimals=1, custom__width=85)
    for tokens in ("Output", "Reasoning"):
        shown = column(shown, tokens, unit=words.COUNT, custom__width=85)
    request = links.of_field(words.REQUEST, "This request in full", "id", "Request")
    shown = column(shown, "Started", unit=words.MOMENT, links=[request])
    shown = column(shown, "Channel", links=[links.of_field(words.LATENCY, "Only this channel", "channel", "Channel")],
                   mappings=words.NAMELESS)  # fmt: skip
    shown = column(shown, "Model", links=[links.of_field(words.LATENCY, "Only this model", "model", "Model")])
    shown = widths(shown, Started=115, Channel=115, API=90, Key=100, Outcome=115, Tries=60)
    return hidden(shown, "Request")


def _percentiles(title: str, about: str, family: str, thresholds):
    return series(
        title,
        f"{about} {FROM_BUCKETS}",
        *_all_percentiles(family),
        unit=words.SECONDS, width=8, thresholds=thresholds,
        links=[links.to(words.REQUESTS, "The slowest requests", order="slowest")],
    )  # fmt: skip


def _against_yesterday(title: str, family: str):
    panel = series(
        f"{title}, ${{percentile:text}}, and a day ago",
        "Now, and what it was at this time of the day before. Prometheus keeps some days only.",
        metric(_quantile("$percentile", family), "now", "A"),
        metric(_quantile("$percentile", family, offset=" offset 1d"), "a day ago", "B"),
        unit=words.SECONDS, width=8,
    )  # fmt: skip
    return coloured(panel, {"now": words.NEUTRAL, "a day ago": words.GREY})


def _by(title: str, family: str, by: str, thresholds):
    return series(
        f"{title} by {by}, ${{percentile:text}}",
        f"One {by} above the others is slow; all of them together: the network, or Tollgate. A click leaves only that "
        f"{by}.",
        metric(_quantile("$percentile", family, by=by), f"{{{{{by}}}}}"),
        unit=words.SECONDS, width=8, thresholds=thresholds, links=[_only(by)], coarse=True,
    )  # fmt: skip


def _slow(title: str, family: str, variable: str, label: str):
    return series(
        f"{title} (over ${variable}), by channel",
        f"Share of those that took longer than *{label}* at the top. Not estimated: it is a bucket's bound.",
        metric(_slow_share(family, variable, "channel"), "{{channel}}"),
        unit=words.RATIO, width=8, most=1, links=[_only("channel")],
    )  # fmt: skip


def _heatmap(title: str, about: str, family: str, width: int = 8):
    return heatmap(
        f"{title}, how often how long",
        f"{about}: each column counts those of its time. Two bands are two kinds of requests; a band that rises is a "
        "slow provider.",
        metric_buckets(_in_each_step(family, TRAFFIC)),
        width=width, height=8,
    )  # fmt: skip


def _in_each_step(family: str, matchers: str) -> str:
    # An increase over `$__rate_interval`, which is longer than a step, would count a request in more than one column.
    return f"sum by (le) (rate({family}_bucket{{{matchers}}}[$__rate_interval])) * $__interval_ms / 1000"


def _all_percentiles(family: str, matchers: str = TRAFFIC):
    for (name, quantile), ref in zip(PERCENTILES.items(), "ABCD"):
        yield metric(_quantile(quantile, family, matchers), name, ref)


def _only(by: str):
    return links.of_series(words.LATENCY, f"Only this {by}", by, by)


def _quantile(quantile: str, family: str, matchers: str = TRAFFIC, offset: str = "", by: str = "") -> str:
    rate = f"rate({family}_bucket{{{_named(matchers, by)}}}[$__rate_interval]{offset})"
    return _of_some(f"histogram_quantile({quantile}, sum by (le{f', {by}' if by else ''}) ({rate}))")


def _of_some(expr: str) -> str:
    """Without what is of no requests: its legend would say "no requests" in place of each figure."""
    return f"{expr} >= 0"


def _slow_share(family: str, variable: str, by: str = "") -> str:
    summed = f"sum by ({by})" if by else "sum"
    counted = _named(TRAFFIC, by)
    # From version 3 on Prometheus writes a bound of "5" as "5.0".
    bound = f'le=~"${variable}(\\\\.0)?"'
    within = f"{summed} (rate({family}_bucket{{{counted}, {bound}}}[$__rate_interval]))"
    share = f"1 - {within} / {summed} (rate({family}_count{{{counted}}}[$__rate_interval]))"
    return _of_some(f"clamp_min({share}, 0)")


def _named(matchers: str, by: str) -> str:
    """Without what has no such name: what was blocked has no channel."""
    return f'{matchers}, {by}!=""' if by else matchers


def _of_phases(*phases: str) -> str:
    return f'phase=~"{"|".join(phases)}"' if len(phases) > 1 else f'phase="{phases[0]}"'


def _phase_sum(matcher: str, by: str = "") -> str:
    summed = f"sum by ({by})" if by else "sum"
    return f"{summed} (rate({PHASE}_sum{{{_named(CHANNEL, by)}, {matcher}}}[$__rate_interval]))"


def _phase_by_channel(phase: str) -> str:
    """Over the requests that reached the phase."""
    matcher = _of_phases(phase)
    counted = _named(CHANNEL, "channel")
    reached = f"sum by (channel) (rate({PHASE}_count{{{counted}, {matcher}}}[$__rate_interval]))"
    return _of_some(f"{_phase_sum(matcher, 'channel')} / {reached}")
