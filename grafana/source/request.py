"""One request: everything that is known of it, and what passed, where its bytes were kept."""

from . import links, panels, requests, variables, words
from .board import Board
from .dialects import Api, Listed
from .panels import bars, column, in_order, known, note, pie, stacked_bar, stat, table, upright, words_for
from .queries import Column, as_text, flag, ledger, moment, number, text

_API = Api()
_KEPT = ["datasource", "ledger", "instance"]
_UNKNOWN = "No such request: type its id at the top. It may have expired, or not have ended yet."
_NOT_KEPT = (
    "Nothing was kept of this request, or it has expired. `payloads.capture` of the settings says of which requests "
    "the bytes are kept; it is `off` by itself."
)
_NO_ANSWER = f"No upstream answered: Tollgate did itself. Or: {_NOT_KEPT[0].lower()}{_NOT_KEPT[1:]}"

# What each phase is, in the order they come in. The first six follow each other; the last three are measured from the
# header on, or over all.
_IN_TURN = {
    "read_request": ("1 Read request", "blue"),
    "admit": ("2 Admit", "purple"),
    "connect": ("3 Connect", "yellow"),
    "wait": ("4 Wait", "orange"),
    "first_byte": ("5 First byte", "light-orange"),
    "stream": ("6 Stream", "green"),
}
_OVERALL = {"first_token": "7 First token", "total": "8 Total", "overhead": "9 Overhead"}

_PHASES = """
| phase | what it is | long? then |
|---|---|---|
| 1 Read request | the client's body, as far as it was read before an upstream was chosen | the client sends slowly |
| 2 Admit | choosing a channel and checking rules | it waited for a place: `routing.queue`, limits |
| 3 Connect | until a connection to the upstream was there | network, TLS, a busy upstream |
| 4 Wait | from the request sent to the answer's headers | the provider thinks, or queues |
| 5 First byte | from the headers to the first byte of the body | the provider thinks |
| 6 Stream | from the first to the last byte of the body | a long answer, or a slow reader |
| 7 First token | from the start to the first content; streams only | all of the above together |
| 8 Total | from the request's header to the end of the answer | |
| 9 Overhead | the total less every wait for the client or the upstream: Tollgate's own | Tollgate's machine |

What was tried before the attempt that answered is in the total and in no phase of its own: see *Each attempt*.
"""


def board() -> Board:
    about = "One request in full: how it ended, where its time went, its attempts, tokens, cost, and what passed."
    made = Board(words.REQUEST, "Tollgate / Request", about, refresh="").choices(
        variables.prometheus(), variables.ledger(), variables.instance(),
        variables.box("id", "Request id", "What `x-tollgate-request-id` said, and the log's column *Id*."),
    )  # fmt: skip
    made.leads(links.alone(words.REQUESTS, "The request log", *_KEPT))
    made.panels(*_numbers())
    made.row("What it was", _identity(), _provenance(), _error())
    made.row("Where the time went", _waterfall(), _durations(), _meanings())
    made.row("Attempts", _attempts())
    made.row("Tokens and cost", _composition(), _counts(), _repricings())
    made.row("What passed", *_passed())
    return made.first_aid()


def _of_it(columns: list[Column], root: str = "", path: str = ""):
    """A question about the request: one row, or one for each element of the list at `root`."""
    return ledger("requests/${id}" + path, root, columns)


def _numbers():
    outcomes = {outcome: (outcome, colour) for outcome, colour in words.OUTCOME_COLOURS.items()}
    channel_log = links.alone(words.REQUESTS, "The request log", *_KEPT)
    return [
        stat(
            "Outcome",
            "How it ended. `ok`; `client_closed`: the client left. The provider's limits: `rate_limited`, "
            "`quota_exhausted`. Failures: `upstream_error`, `timeout`, `connect_error`. Turned away by Tollgate: "
            "`blocked` by a rule, `refused` for its key, size or path, `no_channel` for it. `interrupted`: Tollgate was "
            "stopped. `internal`: a fault of Tollgate's.",
            _of_it([text("outcome", "Outcome")]),
            unit=words.TEXT, field="Outcome", empty=_UNKNOWN, links=[channel_log],
        ).mappings([words_for(outcomes)]),
        stat(
            "Status", "The HTTP status the client got. None: it was gone before, or Tollgate was stopped.",
            _of_it([number("status", "Status")]),
            unit=words.NO_UNIT, thresholds=words.STATUS, empty="none was sent",
        ),
        stat(
            "Total", "From the request's header to the end of the answer.",
            _of_it([number("total_us", "Total")]),
            unit=words.MICROSECONDS, thresholds=words.DURATION_US, empty="not measured",
        ),
        stat(
            "First token", "From the start to the first content. Only streams have one.",
            _of_it([number("first_token_us", "First token")]),
            unit=words.MICROSECONDS, thresholds=words.FIRST_TOKEN_US, empty="no first token",
        ),
        stat(
            "Cost", "What it cost, by the prices told below. None: nothing to price, or no price for it.",
            _of_it([number("cost_usd", "Cost")]),
            unit=words.USD, decimals=6, empty="no cost known",
        ),
        stat(
            "Tokens", "The provider's own total where it states one, else the sum of the types below.",
            _of_it([number("total_tokens", "Tokens")]),
            unit=words.EXACT_COUNT, empty="none stated",
        ),
        stat(
            "Attempts", "How many tries at an upstream: more than one means that others were tried first.",
            _of_it([number("attempts", "Attempts")]),
            thresholds=words.ATTEMPTS, empty="not recorded",
        ),
        stat(
            "Overhead", "Tollgate's own time in it: the total less every wait for the client or the upstream.",
            _of_it([number("overhead_us", "Overhead")]),
            unit=words.MICROSECONDS, thresholds=words.OVERHEAD_US, empty="not measured",
        ),
    ]  # fmt: skip


def _lines(title: str, description: str, columns: list[Column], **how):
    """Texts of the request, one line each."""
    made = table(title, description, _of_it(columns), empty=_UNKNOWN, **how)
    return upright(in_order(made, *[column.text for column in columns]))


def _identity():
    """A row, not lines: its links name its fields."""
    row = [
        Listed("Time", "started_at", "timestamp", look={"unit": words.EXACT_MOMENT, "custom__width": 200}),
        Listed("Channel", "channel"), Listed("Model", "served_model"), Listed("Asked for", "requested_model"),
        Listed("Key", "key"), Listed("Session", "session"), Listed("End user", "end_user"),
    ]  # fmt: skip
    made = table(
        "Where, when and whose",
        "The time leads to all requests of the ten minutes around it; channel, model, key and session to the requests "
        "that share them.",
        _of_it([Column(listed.selector, listed.title, listed.type) for listed in row]),
        width=24, height=4, empty=_UNKNOWN,
    )  # fmt: skip
    minutes = "time=${__value.time}&time.window=600000" + _carried()
    around = links.around(words.REQUESTS, "Ten minutes around it", minutes)
    made = requests.shown(made, row, _API)
    made = column(made, "Time", links=[around])
    channels = links.alone(words.CHANNELS, "The channel", *_KEPT, channel=links.value_of("Channel"))
    made = column(made, "Channel", links=[channels, _sharing("channel", "Channel")], mappings=words.NAMELESS)
    made = column(made, "Model", links=[_sharing("model", "Model")])
    for name, title in (("key", "Key"), ("session", "Session")):
        made = column(made, title, links=[_sharing(name, title)], mappings=words.NAMELESS)
    return made


def _carried() -> str:
    return "".join(f"&${{{name}:queryparam}}" for name in _KEPT)


def _sharing(variable: str, title: str):
    about = f"Requests of the same {title.lower()}"
    return links.alone(words.REQUESTS, about, *_KEPT, **{variable: links.value_of(title)})


def _provenance():
    return _lines(
        "What was asked, and where the numbers come from",
        "*Tokens from*: the provider (`reported`), Tollgate's own count, or nowhere (`missing`). *Priced by*: the version "
        "of the price table, the row and the rule that matched. Estimates are in no sum.",
        [
            text("id", "Id"), text("method", "Method"), text("path", "Path"), text("api", "API"),
            text("stream", "Stream"),
            text("service_tier", "Service tier"), as_text("tags", "Tags"), text("source", "Recorded by"),
            text("upstream_request_id", "The provider's request id"), text("response_id", "The provider's response id"),
            text("usage_source", "Tokens from"), text("price_version", "Priced by"), text("priced_at", "Priced as of"),
            text("deferral", "Usage told later"), text("estimated_input_tokens", "Input, estimated"),
            text("estimated_output_tokens", "Output, estimated"), text("estimated_cost_usd", "Cost, estimated (USD)"),
            text("delivered_output_tokens", "Output the client received, estimated"),
            text("request_bytes", "Request (bytes)"), text("response_bytes", "Answer (bytes)"),
            text("upstream_bytes", "Taken from the upstream (bytes)"),
        ],
        width=14, height=23,
    )  # fmt: skip


def _error():
    return _lines(
        "What went wrong",
        "Whose fault a failure was (the client's, Tollgate's, the upstream's), the error's code and its words. Dashes: "
        "nothing did.",
        [text("error_source", "Whose fault"), text("error_code", "Code"), text("error_message", "Message")],
        width=10, height=23,
    )


def _waterfall():
    phases = [number(f"{phase}_us", title) for phase, (title, _) in _IN_TURN.items()]
    made = stacked_bar(
        "Phases, one after the other",
        "How long each phase of the request took, in the order they follow each other.",
        _of_it([text("api", "Request"), *phases]),
        unit=words.MICROSECONDS, names="Request", empty=_UNKNOWN, height=5,
        links=[links.alone(words.LATENCY, "Is that usual?", *_KEPT)],
    )  # fmt: skip
    made = panels.coloured(made, {title: colour for title, colour in _IN_TURN.values()})
    return in_order(made, "Request", *[title for title, _ in _IN_TURN.values()])


def _durations():
    named = {phase: title for phase, (title, _) in _IN_TURN.items()} | _OVERALL
    made = bars(
        "Phases, each",
        "Each phase's time, and what is measured over all. What a phase is, is told beside it.",
        _of_it([number(f"{phase}_us", title) for phase, title in named.items()]),
        unit=words.MICROSECONDS, width=10, height=11, empty="not reached",
    )  # fmt: skip
    return in_order(made, *named.values())


def _meanings():
    return note("What the phases are", "What each phase is, and what makes it long.", _PHASES, width=14, height=11)


def _attempts():
    columns = [tried for tried in requests.TRIES if tried.selector != "n"]
    asked = _of_it([Column(tried.selector, tried.title, tried.type) for tried in columns], root="attempt_details")
    return requests.attempts(asked, columns, _API)


_TOKENS = {
    "input_tokens": "Input", "input_cached_tokens": "Input, cached", "input_cache_write_tokens": "Input, cache write",
    "output_tokens": "Output", "reasoning_tokens": "Reasoning", "input_audio_tokens": "Audio in",
    "output_audio_tokens": "Audio out", "input_image_tokens": "Images in", "output_image_tokens": "Images out",
}  # fmt: skip
_UNITS = {
    "web_searches": "Web searches", "file_searches": "File searches", "images": "Images made", "audio_ms": "Audio, ms",
    "characters": "Characters spoken", "cache_write_1h_tokens": "Cache written for 1 h", "other_tools": "Other tools",
}  # fmt: skip


def _composition():
    made = pie(
        "Tokens by type",
        "What its tokens were. No token is counted in two types.",
        _of_it([number(selector, title) for selector, title in _TOKENS.items()]),
        unit=words.COUNT, width=8, height=8, empty="not stated",
    )  # fmt: skip
    return in_order(made, *_TOKENS.values())


def _counts():
    return _lines(
        "Counted",
        "Tokens by type, and what is billed besides. A dash: the provider stated none of that type.",
        [text(selector, title) for selector, title in (_TOKENS | _UNITS).items()],
        width=6, height=8,
    )


def _repricings():
    columns = [
        moment("at", "When"), text("who", "Who asked"),
        number("old_cost_usd", "Before"), number("new_cost_usd", "After"),
        text("old_price_version", "Priced by, before"), text("new_price_version", "Priced by, after"),
    ]  # fmt: skip
    made = table(
        "Priced anew",
        "What later prices changed of its cost, the earliest first (`tollgate prices reprice`).",
        _of_it(columns, root="repricings"),
        width=10, height=8, empty="Its cost was never changed.",
    )
    made = column(made, "When", unit=words.EXACT_MOMENT)
    for name in ("Before", "After"):
        made = column(made, name, unit=words.USD, decimals=6)
    return in_order(made, *[c.text for c in columns])


def _passed():
    return [
        _headers("Request: headers", "As the client sent them, credentials replaced.", "request", _NOT_KEPT),
        _headers("Answer: headers", "As the client got them, credentials replaced.", "answer", _NO_ANSWER),
        _body("Request: body", "As it went to the upstream", "request", _NOT_KEPT),
        _body("Answer: body", "As it went to the client", "answer", _NO_ANSWER),
    ]


def _headers(title: str, description: str, part: str, empty: str):
    columns = [text("name", "Name"), text("value", "Content")]
    made = table(title, description, _of_it(columns, f"{part}.headers", "/payload"), height=9, empty=empty)
    made = column(made, "Name", custom__width=220)
    return in_order(column(made, "Content", custom__wrapText=True), "Name", "Content")


def _body(title: str, description: str, part: str, empty: str):
    columns = [
        text(f"{part}.body.text", "Text"), text(f"{part}.body.base64", "Not text: base64"),
        number(f"{part}.body.bytes", "Bytes"), flag(f"{part}.body.truncated", "Cut"),
    ]  # fmt: skip
    made = table(
        title,
        f"{description}: decoded, with `[redacted]` where the settings say so. *Cut*: only its beginning was kept "
        "(`payloads.max_bytes`); *Bytes* is its size as it passed. Without a row: the headers above say why.",
        _of_it(columns, path="/payload"),
        height=12, empty=empty,
    )  # fmt: skip
    # What was not kept is there all the same, as a row of unknowns.
    made = known(made, "Bytes")
    made = column(made, "Text", custom__wrapText=True, custom__inspect=True)
    made = column(made, "Not text: base64", custom__inspect=True, custom__width=130)
    made = column(made, "Bytes", unit=words.BYTES, custom__width=80)
    cut = {"true": ("cut", words.AMBER), "false": ("whole", words.GREY)}
    made = column(made, "Cut", mappings=[words_for(cut).to_json()], custom__width=70)
    return in_order(made, *[c.text for c in columns])

