"""Budgets and alerts: how full, how fast, until when; what fires, what was done about it, and who was told."""

from . import links, words
from .board import Board
from .panels import (
    NOT_SCRAPED,
    NOTHING,
    bars,
    column,
    hidden,
    merged,
    series,
    stat,
    states,
    table,
    widths,
    words_for,
    wrapped,
)
from .queries import (
    INSTANCE,
    NONE_OF_IT,
    RANGE,
    as_text,
    budget,
    budget_share,
    flag,
    ledger,
    metric,
    metric_now,
    metric_table,
    moment,
    number,
    text,
)

RATE = "[$__rate_interval]"
NO_BUDGETS = "No rule has a budget: docs/rules.md has some."
NO_RULES = "No rules are set: docs/rules.md has some to start from."
NO_FORECAST = "No forecast yet, or no budget."
# What tells one budget from another.
EACH = "rule, scope, unit"
NOBODY = "No receivers are set, or nothing was told."

SEVERITIES = words_for({"critical": ("critical", words.RED), "warning": ("warning", words.AMBER)})
ALERTS = words_for({
    "firing": ("firing", words.RED), "pending": ("pending", words.AMBER), "inactive": ("inactive", words.GREEN),
})  # fmt: skip
FATES = words_for({
    "sent": ("sent", words.GREEN), "merged": ("merged", words.GREEN), "replaced": ("replaced", words.GREEN),
    "open": ("open", words.AMBER), "dead": ("dead", words.RED),
})  # fmt: skip
DONE = words_for({"true": ("yes", words.GREEN), "false": ("no", words.AMBER)})
HEALTH = words_for({"true": ("well", words.GREEN), "false": ("cannot be judged", words.RED)})
FATE_COLOURS = {
    "sent": words.GREEN, "merged": "light-green", "replaced": "super-light-green", "dead": words.RED,
    "silenced": words.GREY, "inhibited": words.GREY, "muted": words.GREY,
}  # fmt: skip


def board() -> Board:
    about = "How full each budget is, how fast it fills and until when; what fires, what was done, and who was told."
    made = Board(words.BUDGETS, "Tollgate / Budgets and alerts", about).usual_choices()
    made.panels(*_numbers())
    made.row("Budgets", *_budgets())
    made.row("Alerts", *_alerts())
    made.row("Rules", *_rules())
    made.row("Who was told", *_notifications())
    return made.first_aid()


def _numbers():
    firing = f'sum(tollgate_alerts{{{INSTANCE}, state="firing"}}) or {NONE_OF_IT}'
    critical = f'sum(tollgate_alerts{{{INSTANCE}, state="firing", severity="critical"}}) or {NONE_OF_IT}'
    return [
        stat("Firing", "Alerts of Tollgate's own rules that fire now, at either limit.", metric_now(firing, "firing"),
             width=4, thresholds=words.NONE_IS_GOOD, empty=NOT_SCRAPED),
        stat("Critical", "Alerts that fire at their critical limit now: what a rule says is then done.",
             metric_now(critical, "critical"), width=4, thresholds=words.steps(0.5, 1), empty=NOT_SCRAPED),
        stat(
            "Fullest budget", "Of all budgets the one that has used most of its limit. At 100 % an enforced one refuses.",
            metric_now(f"max({budget_share('used', EACH)})", "used"),
            unit=words.RATIO, width=4, thresholds=words.USED, empty=NO_BUDGETS,
        ),
        stat(
            "Refused now", "Requests a minute that rules refuse, those that they would refuse in shadow mode not counted.",
            metric(f'sum(rate(tollgate_rule_blocked_requests_total{{{INSTANCE}, mode="enforce"}}{RATE})) * 60', "refused"),
            unit=words.PER_MINUTE, width=4, thresholds=words.NONE_IS_GOOD, empty="No rule refuses requests.",
            links=[links.to(words.REQUESTS, "These requests", outcome="blocked")],
        ),
        stat("Waiting to be told", "Notifications that wait to be sent: within a receiver's limits, or because it fails.",
             metric_now(f"sum(tollgate_notification_queue{{{INSTANCE}}})", "waiting"), width=4,
             thresholds=words.steps(10, 100), empty=NOT_SCRAPED),
        stat("Given up", "Notifications of this range that could not be told before their deadline, 1,000 at most. "
             "They went to the fallback of their receiver, where it has one; *What was given up* says why.",
             ledger("notifications", "notifications", [text("id", "Given up")], result="dead", limit="1000", **RANGE),
             width=4, thresholds=words.NONE_IS_GOOD, calc="count", field="Given up", empty=NOTHING),
    ]  # fmt: skip


def _budgets():
    share, forecast = budget_share("used", EACH), budget_share("forecast", EACH)
    to_cost = links.to(words.COST, "What it was spent on")
    all_of_it = table(
        "All budgets",
        "Each budget and what it is of: its limit, what is used, what is held for requests on their way, what is left, "
        "and what it comes to at its window's end at the present rate. The fullest first; of several instances the "
        "worst figure of each.",
        metric_table(f"sort_desc({share})", "A"),
        metric_table(budget("limit", EACH), "B"),
        metric_table(budget("used", EACH), "C"),
        metric_table(budget("reserved", EACH), "D"),
        metric_table(budget("remaining", EACH), "E"),
        metric_table(budget("forecast", EACH), "F"),
        width=24, height=9, empty=NO_BUDGETS, sort="Used of it", links=[to_cost],
    )  # fmt: skip
    all_of_it = merged(all_of_it, {
        "rule": "Rule", "scope": "Of", "unit": "Unit", "Value #A": "Used of it", "Value #B": "Limit", "Value #C": "Used",
        "Value #D": "Held", "Value #E": "Left", "Value #F": "At the end",
    })  # fmt: skip
    all_of_it = column(all_of_it, "Used of it", unit=words.RATIO, thresholds=words.USED, min=0, max=1,
                       custom__cellOptions={"type": "gauge", "mode": "basic"})  # fmt: skip
    for name in ("Limit", "Used", "Held", "Left", "At the end"):
        all_of_it = column(all_of_it, name, unit=words.COUNT, decimals=2)
    return [
        bars(
            "Used of each limit", "The twenty fullest. Amber from 80 %, red from 95 %.",
            metric_now(f"topk(20, {share})", "{{rule}} {{scope}}"),
            unit=words.RATIO, height=9, thresholds=words.USED, most=1, empty=NO_BUDGETS, links=[to_cost],
        ),
        bars(
            "Forecast of each limit",
            "What each budget comes to at the end of its window at the present rate, as a share of its limit. Over 100 % "
            "it will not last.",
            metric_now(f"topk(20, {forecast})", "{{rule}} {{scope}}"),
            unit=words.RATIO, height=9, thresholds=words.USED, empty=NO_FORECAST,
            links=[to_cost],
        ),
        all_of_it,
        series(
            "Used over time", "The ten fullest budgets. One of a calendar's window falls to nothing where a new one begins.",
            metric(f"topk(10, {share})", "{{rule}} {{scope}}"),
            unit=words.RATIO, thresholds=words.USED, empty=NO_BUDGETS, calcs=("lastNotNull", "max"), links=[to_cost],
        ),
        series(
            "Forecast over time",
            "What the ten that will be fullest come to at the end of their windows, as a share of their limits, at the "
            "rate of each moment. A step up is where spending began to run away; early in a window it means little.",
            metric(f"topk(10, {forecast})", "{{rule}} {{scope}}"),
            unit=words.RATIO, thresholds=words.USED, empty=NO_FORECAST, calcs=("lastNotNull", "max"), links=[to_cost],
        ),
        series(
            "Burn: how long the rest lasts",
            "At the rate of the last half hour, in how long the rest of a budget is used up; of those that are used at "
            "all. Shorter than what is left of its window: it will not last. 0: it is used up.",
            metric(
                f"bottomk(10, min by (rule, scope) (clamp_min(tollgate_budget_remaining{{{INSTANCE}}}, 0) / "
                f"(deriv(tollgate_budget_used{{{INSTANCE}}}[30m]) > 0)))",
                "{{rule}} {{scope}}",
            ),
            unit=words.SECONDS, empty="Nothing is being used up.", calcs=("lastNotNull", "min"), links=[to_cost],
        ),
        series(
            "May be passed by",
            "By how much an enforced budget may be passed with what is on its way: nothing, where every request's worst "
            "case is known and held.",
            metric(f"max by (rule, unit) (tollgate_budget_overshoot_bound{{{INSTANCE}}})", "{{rule}} ({{unit}})"),
            unit=words.COUNT, empty="No budget is enforced.",
        ),
    ]  # fmt: skip


def _alerts():
    now = table(
        "Firing and pending",
        "What passed which limit, since when, until when its window lasts, and what was done about it. Where an action "
        "was not done, *What was done* says why, or what the rule's mode kept it from.",
        ledger("alerts", "alerts", [
            text("severity", "Severity"), text("state", "State"), text("alert", "Alert"), number("value", "Measured"),
            number("limit", "Limit"), text("unit", "Unit"), moment("active_since", "Since"),
            moment("window_end", "Window ends"), text("mode", "Mode"), text("actions.0.action", "Action"),
            flag("actions.0.done", "Done"), text("actions.0.detail", "What was done"), text("actions.1.detail", "And"),
            text("annotations.summary", "Summary"),
            text("silenced_by.0", "Silence"),
        ]),
        width=24, height=9, empty=NOTHING, links=[links.to(words.REQUESTS, "The requests")],
    )  # fmt: skip
    past = table(
        "What alerts did",
        "Each change of an alert in this range, the newest first.",
        ledger("alert-events", "events", [
            moment("at", "When"), text("alert", "Alert"), text("state", "It became"), text("severity", "Severity"),
            number("value", "Measured"), number("limit", "Limit"), text("unit", "Unit"),
            text("actions.0.action", "Action"), flag("actions.0.done", "Done"),
            text("actions.0.detail", "What was done"),
        ], limit="100", **RANGE),
        width=18, height=9, empty="No alert changed in this range.",
    )  # fmt: skip
    now = column(now, "State", mappings=[ALERTS.to_json()], custom__cellOptions={"type": "color-text"})
    past = column(past, "It became", mappings=[ALERTS.to_json()], custom__cellOptions={"type": "color-text"})
    for name in ("Since", "Window ends"):
        now = column(now, name, unit=words.MOMENT)
    now = widths(now, State=75, Since=115, Window_ends=115, Mode=75, Silence=80)
    past = widths(column(past, "When", unit=words.POINT), When=165, It_became=80)
    now, past = _told(now), _told(past)
    return [
        wrapped(now, "And", "Summary"),
        past,
        series(
            "Firing over time", "Alerts that fire, by rule and the limit that is passed.",
            metric(f'sum by (rule, severity) (tollgate_alerts{{{INSTANCE}, state="firing"}})', "{{rule}}: {{severity}}"),
            unit=words.COUNT, width=6, height=9, stacked=True, calcs=("max",), empty=NOTHING,
        ),
    ]  # fmt: skip


def _told(shown):
    """The columns that alerts have now and had then."""
    shown = column(shown, "Severity", mappings=[SEVERITIES.to_json()], custom__cellOptions={"type": "color-text"})
    shown = column(shown, "Done", mappings=[DONE.to_json()], custom__cellOptions={"type": "color-text"})
    shown = widths(shown, Alert=230, Severity=72, Measured=80, Limit=75, Unit=75, Action=80, Done=60)
    return wrapped(shown, "What was done")


def _rules():
    silences = table(
        "Silences",
        "For which alerts nobody is told, until when, and who said so. `tollgate silences` shows and ends them.",
        ledger("silences", "silences", [
            as_text("matchers", "Of"), moment("ends_at", "Until"), text("created_by", "By"), text("comment", "Why"),
            text("id", "Id"),
        ]),
        width=8, empty="No silence is in force.",
    )  # fmt: skip
    rules = table(
        "Rules",
        "What each rule may do, whether it can be judged and if not why, how many requests it refused since Tollgate "
        "started, and how many it would have refused. *Folded*: requests with more combinations of labels than "
        "`max_series`, which share one alert.",
        ledger("rules", "rules", [
            text("name", "Rule"), text("mode", "Mode"), text("metric", "Metric"), text("stat", "Stat"),
            text("window", "Window"), number("warning", "Warning"), number("critical", "Critical"),
            text("unit", "Unit"), flag("healthy", "Health"), text("unhealthy_reason", "Why not"),
            number("blocked", "Refused"), number("would_block", "Would refuse"), number("folded", "Folded"), text("place", "Where it stands"),
        ]),
        width=24, empty=NO_RULES,
    )  # fmt: skip
    rules = column(rules, "Health", mappings=[HEALTH.to_json()], custom__cellOptions={"type": "color-text"})
    refused = links.to(words.REQUESTS, "These requests", outcome="blocked")
    rules = column(rules, "Refused", links=[refused], unit=words.EXACT_COUNT)
    for name in ("Would refuse", "Folded"):
        rules = column(rules, name, unit=words.EXACT_COUNT)
    rules = widths(rules, Mode=75, Metric=110, Stat=60, Window=80, Warning=80, Critical=80, Unit=75, Health=120)
    rules = wrapped(widths(rules, Refused=75, Would_refuse=100, Folded=70), "Why not", "Where it stands")
    return [
        rules,
        states(
            "Health of rules",
            "Whether each rule can be judged. One that cannot neither fires nor resolves: the log and `tollgate rules list` "
            "say why.",
            metric(f"min by (rule) (tollgate_rule_health{{{INSTANCE}}})", "{{rule}}"), width=8, height=8,
            mappings=[words_for({"0": ("cannot be judged", words.RED), "1": ("well", words.GREEN)})],
            empty=NO_RULES,
        ),
        series(
            "Requests that rules refuse",
            "By rule: refused, and those that it would have refused in shadow mode.",
            metric(
                f"sum by (rule, mode) (rate(tollgate_rule_blocked_requests_total{{{INSTANCE}}}{RATE})) * 60",
                "{{rule}}: {{mode}}",
            ),
            unit=words.PER_MINUTE, width=8, empty="No rule refuses requests.",
            links=[links.to(words.REQUESTS, "These requests", outcome="blocked")],
        ),
        hidden(wrapped(widths(column(silences, "Until", unit=words.MOMENT), Until=110, By=90), "Of", "Why"), "Id"),
    ]  # fmt: skip


def _notifications():
    told = table(
        "Notifications",
        "Who was told what in this range, the newest first, and what became of it. `tollgate notify list` shows the same.",
        ledger("notifications", "notifications", [
            moment("at", "When"), text("receiver", "Receiver"), text("kind", "Kind"), text("reason", "Why"),
            text("title", "What it says"), text("result", "Fate"), number("attempts", "Tries"), text("error", "Error"),
        ], limit="100", **RANGE),
        width=24, height=9, empty=NOBODY,
    )  # fmt: skip
    told = column(told, "When", unit=words.POINT)
    told = column(told, "Fate", mappings=[FATES.to_json()], custom__cellOptions={"type": "color-text"})
    told = wrapped(widths(told, When=165, Receiver=120, Kind=90, Why=90, Fate=90, Tries=60), "What it says", "Error")
    dead = table(
        "What was given up",
        "What could not be told before its deadline, the newest first, and why. A receiver that is seen here more than "
        "once is wrong or gone: `tollgate notify test NAME` tries it.",
        ledger("notifications", "notifications", [
            moment("at", "When"), text("receiver", "Receiver"), text("title", "What it says"),
            number("attempts", "Tries"), text("error", "Error"),
        ], result="dead", limit="50", **RANGE),
        width=24, height=6, empty=NOTHING,
    )  # fmt: skip
    dead = column(dead, "When", unit=words.POINT)
    dead = wrapped(widths(dead, When=165, Receiver=120, Tries=60), "What it says", "Error")
    in_red = {"mode": "fixed", "fixedColor": words.RED}
    dead = column(dead, "Error", color=in_red, custom__cellOptions={"type": "color-text"})
    fates = series(
        "Fate of notifications",
        "Sent, merged into another message, replaced by a newer one, dead (not told before their deadline); silenced, "
        "inhibited and muted ones nobody was told.",
        metric(f"sum by (result) (rate(tollgate_notifications_total{{{INSTANCE}}}{RATE})) * 3600", "{{result}}"),
        unit=words.PER_HOUR, width=8, bars=True, stacked=True, empty=NOBODY,
    )  # fmt: skip
    for name, colour in FATE_COLOURS.items():
        fates = column(fates, name, color={"mode": "fixed", "fixedColor": colour})
    return [
        dead,
        told,
        fates,
        series(
            "Failed tries by receiver", "Tries to tell a receiver that failed, by reason. They are repeated until the deadline.",
            metric(
                f"topk(10, sum by (receiver, reason) "
                f"(rate(tollgate_notification_failures_total{{{INSTANCE}}}{RATE})) * 3600)",
                "{{receiver}}: {{reason}}",
            ),
            unit=words.PER_HOUR, width=8, bars=True, stacked=True, empty=NOTHING,
        ),
        series(
            "Waiting to be sent", "The queue of notifications.",
            metric(f"sum by (instance) (tollgate_notification_queue{{{INSTANCE}}})", "{{instance}}"),
            unit=words.COUNT, width=8, thresholds=words.steps(10, 100),
        ),
    ]  # fmt: skip

