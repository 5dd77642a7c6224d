"""Tables of who used most: their share of the whole, and where they were in the period before."""

from . import links, words
from .panels import column, share, table, widths
from .queries import number, text, usage

# What a ranking goes by, as the API calls it: the column that says so, and its unit.
MEASURES = {
    "cost": ("Spend", words.USD),
    "tokens": ("Tokens", words.COUNT),
    "requests": ("Requests", words.COUNT),
}


def ranking(by: str, title: str, order: str = "cost", measure: str = "spend", width: int = 8, height: int = 8,
            limit: int = 10, tokens: bool = False, leads: bool = True, more: str = ""):  # fmt: skip
    """The groups of `by` with the most of `order`, which may be a variable; `measure` is how a title says it. `leads`
    where dashboards have a variable of that name. `more` is a sentence of its description."""
    name = title[:-1]
    columns = [text("name", name), number("cost_usd", "Spend"), number("share", "Share")]
    if tokens:
        columns.append(number("total_tokens", "Tokens"))
    columns.append(number("requests", "Requests"))
    if has_failed := not tokens or width >= 12:
        columns.append(number("error_ratio", "Failed"))
    columns.append(number("previous_rank", "Rank was"))
    shown = table(
        f"{title} by {measure}",
        f"The {limit} {title.lower()} with most {measure} in this range, their share of all of it, and their rank in "
        f"the period before (none of what was not there, or where the ledger does not know of all of it). {more}".rstrip(),
        usage("top", "rows", columns, by=by, order=order, limit=str(limit)),
        width=width, height=height,
    )  # fmt: skip
    if leads:
        made_of = links.of_field(words.COST, "What it is made of", by, name)
        requests = links.of_field(words.REQUESTS, "The requests", by, name)
        shown = column(shown, name, links=[made_of, requests], mappings=words.NAMELESS)
    else:
        shown = column(shown, name, mappings=words.NAMELESS)
    for measured, unit in MEASURES.values():
        shown = column(shown, measured, unit=unit)
    shown = share(column(shown, name, custom__minWidth=95), "Share")
    # A third of a dashboard has room for a name and five of these.
    shown = widths(shown, Spend=78, Share=88, Requests=76, Rank_was=76)
    shown = column(shown, "Rank was", mappings=words.NO_RANK)
    if tokens:
        shown = widths(shown, Tokens=70)
    if not has_failed:
        return shown
    shown = widths(shown, Failed=58)
    failed = {"unit": words.RATIO, "thresholds": words.ERRORS, "custom__cellOptions": {"type": "color-text"}}
    return column(shown, "Failed", **failed)
