"""Cost and tokens: what was spent, by whom, on what, what changed, and how good the numbers are."""

from . import links, pace, words
from .board import Board
from .panels import (
    NO_PRICE,
    NO_TOKENS,
    bars,
    by_series,
    calculated,
    column,
    coloured,
    first_rows,
    in_order,
    known,
    only,
    ordered,
    pie,
    series,
    share,
    stat,
    summed,
    table,
    with_some,
    without,
)
from .queries import (
    FILTERS,
    INSTANCE,
    TRAFFIC,
    metric,
    moment,
    number,
    requests,
    text,
    usage,
    usage_now_and_before,
    usage_over_time,
)
from .rankings import ranking

# The types of tokens that are input, and where the ledger has each type.
INPUT = ["input", "input_cached", "input_cache_write", "input_audio", "input_image"]
TOKENS = [number(f"{kind}_tokens", kind) for kind in words.TOKEN_TYPES]
INPUT_TOKENS = [number(f"{kind}_tokens", kind) for kind in INPUT]

# What is billed besides tokens: its column, and what it is called.
UNITS = {
    "web_searches": "Web searches",
    "file_searches": "File searches",
    "images": "Images",
    "audio_ms": "Audio",
    "characters": "Characters",
    "other_tools": "Other tools",
}

# Who and what money is spent on, as the API calls it and as readers do.
GROUPS = {"model": "models", "channel": "channels", "key": "keys", "tier": "service tiers", "api": "APIs"}

# The ledger knows tiers by whole hours of UTC, which begin no day of a zone that is half an hour off.
TIER_ZONE = {"timezone": "UTC"}
TIER_HOURS = "Tiers are known by whole hours of UTC: a range is rounded to these, and days are those of UTC."


def board() -> Board:
    about = "What was spent, by whom and on what, what changed since the period before, and how good the numbers are."
    made = Board(words.COST, "Tollgate / Cost and tokens", about).usual_choices()
    made.panels(*_numbers())
    made.row("What changed", *_changes())
    made.row("Who spends what", *_groups())
    made.row("Tokens and cache", *_tokens())
    made.row("What one costs", *_unit_costs())
    made.row("How good the numbers are", *_provenance())
    made.row("Pace and budgets", *pace.panels())
    made.row("Billed besides tokens", *_units())
    return made.first_aid()


def _numbers():
    per_request = stat(
        "Per request",
        "Spend over all requests of this range, refused and failed ones too. Too low while some have no price.",
        usage("summary", "total", [number("cost_usd", "Spend"), number("requests", "Requests")]),
        unit=words.USD, links=[links.to(words.REQUESTS, "The requests")],
    )  # fmt: skip
    per_thousand = stat(
        "Per 1,000 tokens",
        "Spend over all tokens of this range, of every type. It falls as more is cached or goes to cheaper models. "
        "Too low while some requests have no price.",
        usage("summary", "total", [number("cost_usd", "Spend"), number("total_tokens", "Tokens")]),
        unit=words.USD,
    )  # fmt: skip
    return [
        stat(
            "Spend",
            "What the requests of this range cost, and how that differs from the period before. Requests without a "
            "price are in no sum: see *How good the numbers are*.",
            usage_now_and_before([number("cost_usd", "Spend")]),
            unit=words.USD, change="more_is_bad", empty=NO_PRICE,
            links=[links.to(words.CALENDAR, "Day by day", measure="cost")],
        ),
        stat(
            "Tokens",
            "All tokens of this range, of every type, and how that differs from the period before.",
            usage_now_and_before([number("total_tokens", "Tokens")]),
            change="neutral", empty=NO_TOKENS, links=[links.to(words.CALENDAR, "Day by day", measure="tokens")],
        ),
        only(_per_request(per_request), "Per request"),
        only(_per_thousand_tokens(per_thousand), "Per 1,000 tokens"),
        only(_with_cached(stat(
            "Cached input",
            "Share of the input that was read from the provider's cache, at a lower price. More is cheaper: keep what "
            "repeats at the beginning of prompts.",
            usage("summary", "total", INPUT_TOKENS),
            unit=words.RATIO, thresholds=words.CACHED, empty="No provider said what was cached.",
        )), "Cached"),
        stat(
            "Cache saved",
            "What the cached input would have cost more at the full price of input, by the prices in force, and how "
            "that differs from the period before. What writing to the cache costs is in *Spend*.",
            usage_now_and_before([number("cached_saved_usd", "Saved")]),
            unit=words.USD, change="more_is_good", empty="No provider said what was cached, or its price is unknown.",
        ),
        stat(
            "Unpriced",
            "Requests whose tokens have no price: what they cost is unknown, and in no sum. `tollgate prices` and "
            "`prices.files` mend it.",
            usage_now_and_before([number("unpriced_requests", "Unpriced")]),
            thresholds=words.NONE_IS_GOOD, change="more_is_bad", links=[links.to(words.REQUESTS, "The requests")],
        ),
        stat(
            "Usage missing",
            "Requests whose tokens should be known and are not: in no sum of tokens or cost. What they may have cost "
            "by Tollgate's own count is below, under *How good the numbers are*.",
            usage_now_and_before([number("missing_usage_requests", "Missing")]),
            thresholds=words.NONE_IS_GOOD, change="more_is_bad",
            links=[links.to(words.REQUESTS, "The requests", usage_source="missing")],
        ),
    ]  # fmt: skip


def _changes():
    periods = table(
        "Now and before",
        "This range, and the one of the same length before it. Spend rises by more tokens, or by dearer ones: the "
        "price of 1,000 tokens tells which. A period without any price is not shown, and none that the ledger does not "
        "know all of.",
        usage(
            "summary",
            "periods",
            [
                moment("since", "From"), moment("until", "To"), number("cost_usd", "Spend"),
                number("requests", "Requests"), number("total_tokens", "Tokens"),
                number("cached_saved_usd", "Saved by the cache"), number("unpriced_requests", "Unpriced"),
            ],
            compare="previous",
        ),
        width=24, height=4, empty="No request had a price.",
    )  # fmt: skip
    periods = _per_thousand_tokens(_per_request(periods))
    for name in ("From", "To"):
        periods = column(periods, name, unit=words.POINT)
    periods = column(periods, "Saved by the cache", unit=words.USD)
    return [_money(_counts(ordered(periods, "From", descending=True))), *map(_change, ("model", "key", "channel"))]


def _change(by: str):
    name = by.capitalize()
    shown = table(
        f"Which {by}s rose",
        f"How the spend of each {by} differs from the period before: the twenty with the greatest rise. What was not "
        "there before, or had no price then, counts as all new; what was there only before is not listed.",
        usage(
            "summary",
            "rows",
            [
                text(f"group.{by}", name), number("cost_usd", "Spend"), number("previous.cost_usd", "Before"),
                number("requests", "Requests"), number("previous.requests", "Requests before"),
            ],
            by=by, compare="previous",
        ),
        width=8, empty="Nothing to compare: no requests here, or the ledger does not know of all of the period before.",
    )  # fmt: skip
    shown = calculated(known(shown, "Spend", "Requests before"), "Change", "Spend", "-", "Before")
    shown = first_rows(ordered(shown, "Change", descending=True), 20)
    shown = in_order(without(shown, "Requests before"), name, "Change", "Spend", "Before", "Requests")
    shown = column(shown, "Change", unit=words.USD)
    return _led(_money(_counts(shown)), by, name)


def _groups():
    for by, several in GROUPS.items():
        shown = _by_over_time(by, several)
        if by in FILTERS:
            chosen = links.of_series(words.COST, f"Only this {several[:-1]}", by, by)
            shown = shown.data_links([chosen, links.of_series(words.REQUESTS, "The requests", by, by)])
        yield shown
        title = several[0].upper() + several[1:]
        more = TIER_HOURS if by == "tier" else ""
        yield ranking(by, title, width=12, tokens=True, leads=by in FILTERS, more=more)


def _by_over_time(by: str, several: str):
    more, zone = (f" {TIER_HOURS}", TIER_ZONE) if by == "tier" else ("", {})
    return by_series(series(
        f"Spend by {several[:-1]}",
        f"By when the requests started; the ten {several} that cost most, the others together as `(other)`.{more}",
        usage_over_time([number("cost_usd", "Spend")], by=by, **zone),
        unit=words.USD, stacked=True, bars=True, calcs=("sum",),
    ), "Spend")  # fmt: skip


def _tokens():
    types = "The types are disjoint, so they add up: `input` is what was not cached, `output` is without reasoning."
    over_time = series(
        "Tokens by type",
        f"By when the requests started. {types}",
        usage_over_time(TOKENS),
        unit=words.COUNT, width=16, stacked=True, bars=True, calcs=("sum",),
    )  # fmt: skip
    composition = pie(
        "What the tokens are",
        f"All tokens of this range by type. {types}",
        usage("summary", "total", TOKENS),
        unit=words.COUNT, width=8,
    )  # fmt: skip
    cached = _with_cached(series(
        "Cached share of the input",
        "How much of the input was read from the provider's cache. A fall without a change of traffic: prompts begin "
        "differently, or requests go to another channel.",
        usage_over_time(INPUT_TOKENS),
        unit=words.RATIO, width=8, most=1, calcs=("min", "max"), empty="No provider said what was cached.",
    ))  # fmt: skip
    saved = by_series(series(
        "Saved by the cache, by model",
        "What the cached input would have cost more at the full price of input, by the prices in force.",
        usage_over_time([number("cached_saved_usd", "Saved")], by="model"),
        unit=words.USD, width=8, stacked=True, bars=True, calcs=("sum",),
        empty="No provider said what was cached, or its price is unknown.",
    ), "Saved")  # fmt: skip
    models = table(
        "Cache by model",
        "How much of each model's input was cached, and what that saved. Much input and little cached: a place to "
        "save.",
        usage(
            "summary",
            "rows",
            [text("group.model", "Model"), *INPUT_TOKENS, number("cached_saved_usd", "Saved")],
            by="model",
        ),
        width=8, empty="No provider said what was cached.",
    )  # fmt: skip
    models = only(_with_cached(models), "Model", "All input", "Cached", "Saved")
    models = column(models, "All input", unit=words.COUNT)
    models = in_order(column(share(models, "Cached"), "Saved", unit=words.USD), "Model", "All input", "Cached", "Saved")
    return [
        coloured(over_time, words.TOKEN_COLOURS),
        coloured(composition, words.TOKEN_COLOURS),
        only(cached, "time", "Cached"),
        saved,
        _led(models, "model", "Model"),
    ]


def _unit_costs():
    over_time = only(_per_thousand_tokens(series(
        "Cost per 1,000 tokens",
        "Spend over tokens of every type. A rise without a change of models: less is cached, or more is written than "
        "read.",
        usage_over_time([number("cost_usd", "Spend"), number("total_tokens", "Tokens")]),
        unit=words.USD, calcs=("min", "max"),
    )), "time", "Per 1,000 tokens")  # fmt: skip
    per_request = only(_per_request(series(
        "Cost per request",
        "Spend over all requests. A rise while the price of tokens is the same: requests or answers grow longer.",
        usage_over_time([number("cost_usd", "Spend"), number("requests", "Requests")]),
        unit=words.USD, calcs=("min", "max"),
    )), "time", "Per request")  # fmt: skip
    models = table(
        "What one costs, by model",
        "Spend of each model over its requests and its tokens, of every type. Where some are unpriced, what one costs "
        "is more than it says here. Models of which nothing has a price are not shown.",
        usage(
            "summary",
            "rows",
            [
                text("group.model", "Model"), number("cost_usd", "Spend"), number("requests", "Requests"),
                number("total_tokens", "Tokens"), number("unpriced_requests", "Unpriced"),
            ],
            by="model",
        ),
        empty="No request had a price.",
    )  # fmt: skip
    models = ordered(_per_thousand_tokens(_per_request(models)), "Per 1,000 tokens", descending=True)
    return [over_time, per_request, _led(_money(_counts(models)), "model", "Model"), _dearest()]


def _dearest():
    shown = table(
        "The twenty dearest",
        "The requests of this range that cost most, as the ledger has them; a click shows one in full. Requests without "
        "a price are not among them.",
        requests(
            [
                moment("started_at", "Started"), text("served_model", "Model"), text("key", "Key"),
                number("cost_usd", "Spend"), number("total_tokens", "Tokens"), number("reasoning_tokens", "Reasoning"),
                text("usage_source", "Source"), text("channel", "Channel"), text("id", "Request"),
            ],
            order="dearest", limit="20",
        ),
        empty="No request had a price.",
    )  # fmt: skip
    shown = column(known(shown, "Spend"), "Request", links=[links.of_field(words.REQUEST, "This request in full", "id", "Request")])
    return _money(_counts(column(shown, "Started", unit=words.MOMENT)))


def _provenance():
    counts = [
        number("requests", "all"), number("partial_requests", "partial"), number("estimated_requests", "estimated"),
        number("missing_usage_requests", "missing"),
    ]  # fmt: skip
    meaning = (
        "`reported`: by the provider, with those that have nothing to report. `partial`: cut off, some counted by "
        "Tollgate. `estimated`: counted by Tollgate. `missing`: unknown, in no sum."
    )
    over_time = series(
        "Requests by where their usage comes from",
        f"By when they started. {meaning}",
        usage_over_time(counts),
        unit=words.COUNT, stacked=True, bars=True, calcs=("sum",),
    )  # fmt: skip
    shares = pie(
        "Where usage comes from",
        f"All requests of this range. {meaning}",
        usage("summary", "total", counts),
        unit=words.COUNT,
    )  # fmt: skip
    tokens = series(
        "Tokens by where they come from",
        "Share of all tokens, by Prometheus' rates. What is not `reported` is Tollgate's count: good to a few percent.",
        metric(
            f"sum by (source) (rate(tollgate_tokens_total{{{TRAFFIC}}}[$__rate_interval]))"
            f" / on () group_left () sum(rate(tollgate_tokens_total{{{TRAFFIC}}}[$__rate_interval]))",
            "{{source}}",
        ),
        unit=words.RATIO, width=6, stacked=True, most=1, calcs=("mean",),
    )  # fmt: skip
    doubted = table(
        "Numbers to doubt, by model",
        "Models of which some requests have no price, no usage, or a usage that Tollgate counted. *By own count* is "
        "what the missing ones would cost by Tollgate's count; it is no part of any spend. Coloured cells say what to "
        "mend.",
        usage(
            "summary",
            "rows",
            [
                text("group.model", "Model"), number("requests", "Requests"), number("unpriced_requests", "Unpriced"),
                number("missing_usage_requests", "Missing"), number("partial_requests", "Partial"),
                number("estimated_requests", "Estimated"), number("estimated_cost_usd", "By own count"),
            ],
            by="model",
        ),
        empty="None. Every number is the provider's own and has its price.",
    )  # fmt: skip
    doubted = with_some(doubted, "Unpriced", "Missing", "Partial", "Estimated")
    doubted = column(doubted, "By own count", unit=words.USD)
    doubted = _led(_counts(doubted), "model", "Model")
    reasons = series(
        "Why usage is missing",
        "Requests a minute whose usage should be known and is not, by API and reason, by Prometheus' rates. The "
        "channel does not matter here: this is of all of them.",
        metric(
            "60 * sum by (api, reason) (rate("
            f'tollgate_usage_missing_total{{{INSTANCE}, api=~"$api"}}[$__rate_interval]))',
            "{{api}}: {{reason}}",
        ),
        unit=words.PER_MINUTE, width=6, stacked=True, empty="None. That is good.",
    )  # fmt: skip
    spend = series(
        "Spend by where its tokens come from",
        "USD an hour, by Prometheus' rates.",
        metric(f"sum by (source) {pace.USD_PER_HOUR}", "{{source}}"),
        unit=words.USD_PER_HOUR, width=6, stacked=True, calcs=("mean",),
    )  # fmt: skip
    return [
        coloured(_reported(over_time, "time"), words.SOURCE_COLOURS),
        coloured(_reported(shares), words.SOURCE_COLOURS),
        coloured(tokens, words.SOURCE_COLOURS),
        doubted,
        reasons,
        coloured(spend, words.SOURCE_COLOURS),
    ]


def _reported(panel, *beside: str):
    """What is neither partial, estimated nor missing. Counts of requests are always known."""
    panel = calculated(panel, "not partial", "all", "-", "partial")
    panel = calculated(panel, "not counted", "not partial", "-", "estimated")
    panel = calculated(panel, "reported", "not counted", "-", "missing")
    return only(panel, *beside, "reported", "partial", "estimated", "missing")


def _units():
    units = [number(name, title) for name, title in UNITS.items()]
    shown = table(
        "Units by model",
        "What providers bill besides tokens. *Other tools* have no price here: requests with some are unpriced.",
        usage("summary", "rows", [text("group.model", "Model"), *units, number("cost_usd", "Spend")], by="model"),
        empty="Nothing was billed but tokens.",
    )  # fmt: skip
    shown = with_some(shown, *UNITS.values())
    over_time = series(
        "Units over time",
        "By when the requests started. Audio is a length of time; the others are counts.",
        usage_over_time(units),
        unit=words.COUNT, bars=True, calcs=("sum",), empty="Nothing was billed but tokens.",
    )  # fmt: skip
    shown = column(shown, "Audio", unit=words.MILLISECONDS)
    over_time = column(over_time, "Audio", unit=words.MILLISECONDS)
    return [over_time, _led(_money(shown), "model", "Model")]


def _per_request(panel):
    return calculated(known(panel, "Spend"), "Per request", "Spend", "/", "Requests")


def _per_thousand_tokens(panel):
    panel = calculated(known(panel, "Spend", "Tokens"), "Thousands", "Tokens", "/", "1000")
    return without(calculated(panel, "Per 1,000 tokens", "Spend", "/", "Thousands"), "Thousands")


def _with_cached(panel):
    """The share of the input that was cached, where that was said at all."""
    panel = summed(known(panel, "input_cached"), "All input", *INPUT)
    return calculated(panel, "Cached", "input_cached", "/", "All input")


def _money(panel):
    for name in ("Spend", "Before", "Per request", "Per 1,000 tokens"):
        panel = column(panel, name, unit=words.USD)
    return panel


def _counts(panel):
    for name in ("Requests", "Tokens", "Reasoning"):
        panel = column(panel, name, unit=words.COUNT)
    for name in ("Unpriced", "Missing"):
        panel = column(panel, name, thresholds=words.NONE_IS_GOOD, custom__cellOptions={"type": "color-text"})
    return panel


def _led(panel, by: str, name: str):
    """A column of names that leads to this dashboard for one of them, and to its requests."""
    chosen = links.of_field(words.COST, f"Only this {by}", by, name)
    requested = links.of_field(words.REQUESTS, "The requests", by, name)
    return column(panel, name, links=[chosen, requested], mappings=words.NAMELESS, custom__minWidth=110)
