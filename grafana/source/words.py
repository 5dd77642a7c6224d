"""What must mean the same on every dashboard: their uids, colours, thresholds, units and vocabularies."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

# Links of notifications lead to these, so they are never renamed.
OVERVIEW = "tollgate-overview"
COST = "tollgate-cost"
LATENCY = "tollgate-latency"
CHANNELS = "tollgate-channels"
BUDGETS = "tollgate-budgets"
REQUESTS = "tollgate-requests"
REQUESTS_SQLITE = "tollgate-requests-sqlite"
REQUESTS_POSTGRES = "tollgate-requests-postgres"
REQUEST = "tollgate-request"
CALENDAR = "tollgate-calendar"
SELF = "tollgate-self"

# The tag by which dashboards find each other.
TAG = "tollgate"

RUNBOOK = "https://github.com/tollgate-dev/tollgate/blob/main/docs/runbook.md"

# Grafana's names of units.
USD = "currencyUSD"
USD_PER_HOUR = "suffix: USD/h"
COUNT = "short"
EXACT_COUNT = "locale"
SECONDS = "s"
MICROSECONDS = "µs"
MILLISECONDS = "ms"
BYTES = "bytes"
RATIO = "percentunit"
PER_SECOND = "reqps"
PER_MINUTE = "reqpm"
PER_HOUR = "suffix: /h"
TOKENS_PER_SECOND = "tokens/s"
MOMENT = "dateTimeFromNow"
DAY = "time:ddd YYYY-MM-DD"
POINT = "dateTimeAsIso"
EXACT_MOMENT = "time:YYYY-MM-DD HH:mm:ss.SSS"
TEXT = "string"
NO_UNIT = "none"

# Green: as it should be. Amber: look today. Red: look now. Nothing else is drawn in these three.
GREEN, AMBER, RED = "green", "orange", "red"
NEUTRAL = "blue"
GREY = "#8e8e8e"


def steps(amber: float, red: float) -> build.ThresholdsConfig:
    """Green below `amber`, red from `red` on; the other way round where red is the smaller one."""
    if amber < red:
        marks = [(None, GREEN), (amber, AMBER), (red, RED)]
    else:
        marks = [(None, RED), (red, AMBER), (amber, GREEN)]
    thresholds = [model.Threshold(value=value, color=color) for value, color in marks]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds)


def one_colour(color: str) -> build.ThresholdsConfig:
    """A number that is neither good nor bad."""
    threshold = model.Threshold(value=None, color=color)
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps([threshold])


PLAIN = one_colour(NEUTRAL)
# Share of requests that failed.
ERRORS = steps(0.01, 0.05)
# Used of a budget, a plan's window, a rate limit, a disk: 1 is all of it.
USED = steps(0.8, 0.95)
# Seconds until the first token.
FIRST_TOKEN = steps(2, 5)
FIRST_TOKEN_US = steps(2_000_000, 5_000_000)
# Seconds until the end of an answer.
DURATION = steps(30, 120)
DURATION_US = steps(30_000_000, 120_000_000)
# Seconds of Tollgate's own in a request.
OVERHEAD = steps(0.005, 0.05)
OVERHEAD_US = steps(5_000, 50_000)
# Seconds that the ledger is behind.
LAG = steps(5, 60)
# Seconds until a certificate ends, as alerts.yaml has them: a fortnight, two days.
CERTIFICATE = steps(14 * 86_400, 2 * 86_400)
# HTTP statuses: what is the client's to mend or a limit, and what is not.
STATUS = steps(400, 500)
# Tries at an upstream: the second means that one failed.
ATTEMPTS = steps(2, 3)
# Of what must not happen at all: one is one too many.
NONE_IS_GOOD = steps(1, 10)
# 1 is well, 0 is not.
ONE_IS_GOOD = steps(1, 0.5)
# Share of the input that came from the provider's cache: more is better, little is no fault.
CACHED = one_colour(NEUTRAL)

# The closed vocabularies, in the order in which they are shown. A test holds what can be chosen of them against the
# program's own.
APIS = [
    "chat", "responses", "completions", "embeddings", "images", "audio", "realtime", "messages", "gemini",
    "moderations", "models", "batches", "files", "other",
]  # fmt: skip
OUTCOMES = [
    "ok", "client_closed", "rate_limited", "quota_exhausted", "upstream_error", "timeout", "connect_error", "blocked",
    "refused", "no_channel", "interrupted", "internal",
]  # fmt: skip
TOKEN_TYPES = [
    "input", "input_cached", "input_cache_write", "output", "reasoning", "input_audio", "output_audio", "input_image",
    "output_image",
]  # fmt: skip
USAGE_SOURCES = ["reported", "partial", "estimated", "missing", "none"]
ORDERS = ["newest", "slowest", "dearest"]
PHASES = ["read_request", "admit", "connect", "wait", "first_byte", "first_token", "stream", "total", "overhead"]

# How a request ended is drawn in one colour everywhere. What went well is green, what a client did is grey, what a
# limit did is amber, and failures are red, purple or brown.
OUTCOME_COLOURS = {
    "ok": GREEN,
    "client_closed": GREY,
    "rate_limited": "yellow",
    "quota_exhausted": AMBER,
    "upstream_error": RED,
    "timeout": "dark-red",
    "connect_error": "purple",
    "blocked": "light-orange",
    "refused": "dark-orange",
    "no_channel": "dark-purple",
    "interrupted": "light-purple",
    "internal": "dark-blue",
}

# A type of token is drawn in one colour everywhere: what goes in is blue, what the cache saves or costs is teal, what
# comes out is purple.
TOKEN_COLOURS = {
    "input": "blue",
    "input_cached": "#3aa6a0",
    "input_cache_write": "#1f6f6b",
    "output": "purple",
    "reasoning": "light-purple",
    "input_audio": "light-blue",
    "output_audio": "dark-purple",
    "input_image": "dark-blue",
    "output_image": "super-light-purple",
}

# Where a number of tokens comes from: what the provider said, what was counted here, and what nobody knows.
SOURCE_COLOURS = {"reported": NEUTRAL, "partial": "light-yellow", "estimated": "yellow", "missing": RED, "none": GREY}

# The phases that follow one another, as they are stacked, and what is left of the total beside them.
PHASES_IN_TURN = ["read_request", "admit", "connect", "wait", "first_byte", "stream"]
PHASE_COLOURS = {
    "read_request": "light-blue",
    "admit": "#3aa6a0",
    "connect": "dark-blue",
    "wait": "blue",
    "first_byte": "dark-purple",
    "stream": "purple",
    "between": GREY,
}

# Upper bounds of the buckets in which durations and first tokens are counted, in seconds, as `le` has them.
DURATION_LIMITS = ["0.64", "1.28", "2.56", "5.12", "10.24", "20.48", "40.96", "81.92", "163.84", "327.68"]
FIRST_TOKEN_LIMITS = ["0.25", "0.5", "0.75", "1", "2.5", "5", "7.5", "10", "20", "40"]

# What stands where requests have no key, tier, … of their own.
NAMELESS = [{"type": "special", "options": {"match": "null", "result": {"text": "(none)", "index": 0}}}]
NO_RANK = [{"type": "special", "options": {"match": "null", "result": {"text": "—", "index": 0}}}]
