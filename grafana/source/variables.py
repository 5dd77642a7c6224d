"""What a reader chooses at the top of a dashboard."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from . import words
from .queries import INSTANCE, LEDGER, PROMETHEUS, RANGE, Ledger, text

# What stands for "all": a regular expression to Prometheus, and understood by the API.
EVERYTHING = ".*"
ALL = model.VariableOption(selected=True, text="All", value="$__all")


def prometheus() -> build.DatasourceVariable:
    variable = build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return variable.description("The Prometheus that scrapes Tollgate's admin port.")


def ledger(kind: str = "yesoreyeram-infinity-datasource") -> build.DatasourceVariable:
    variable = build.DatasourceVariable("ledger").label("Ledger").type(kind)
    # Infinity is a plugin for any JSON: of several such sources the one of Tollgate is meant.
    variable = variable.regex("/tollgate/i")
    return variable.description("Whose name contains `tollgate`: the ledger of the Tollgate to look at.")


def _labels(name: str, label: str, source: str, description: str) -> build.QueryVariable:
    variable = build.QueryVariable(name).label(label).datasource(PROMETHEUS)
    variable = variable.query({"query": f"label_values({source}, {name})", "refId": f"variable-{name}"})
    variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable = variable.sort(model.VariableSort.ALPHABETICAL_ASC).description(description)
    return variable.multi(True).include_all(True).all_value(EVERYTHING).current(ALL)


def instance() -> build.QueryVariable:
    source = "tollgate_build_info"
    about = "Which Tollgate, where Prometheus scrapes several. What the ledger says is of one Tollgate all the same."
    return _labels("instance", "Instance", source, about)


def channel() -> build.QueryVariable:
    source = f"tollgate_channel_open{{{INSTANCE}}}"
    return _labels("channel", "Channel", source, "The upstream.")


def model_() -> build.QueryVariable:
    """Without `other`, under which Prometheus counts names of which the ledger knows each.

    It would empty every panel of the ledger.
    """
    source = f"tollgate_requests_total{{{INSTANCE}}}"
    about = (
        "The model that answered. What Prometheus counts as `other` (names beyond `metrics.max_models`, and those that "
        "nobody answers to) is not listed: type its name. Only panels of the ledger know it."
    )
    return _labels("model", "Model", source, about).regex("/^(?!other$).*/")


def some_of(name: str, label: str, values: list[str], description: str, everything: str = EVERYTHING):
    """Any of a closed vocabulary. `everything` is what stands for all of it."""
    variable = build.CustomVariable(name).label(label).values(",".join(values)).multi(True)
    variable = variable.include_all(True).all_value(everything).current(ALL)
    return variable.description(description)


def api(everything: str = EVERYTHING) -> build.CustomVariable:
    return some_of("api", "API", words.APIS, "Which of the provider's APIs was called.", everything)


def outcome(everything: str = EVERYTHING) -> build.CustomVariable:
    about = "How the request ended. `failed` is every outcome but `ok` and `client_closed`."
    return some_of("outcome", "Outcome", ["failed", *words.OUTCOMES], about, everything)


def usage_source(everything: str = EVERYTHING) -> build.CustomVariable:
    about = "Where the token counts come from: the provider (`reported`), Tollgate's own count, or nowhere (`missing`)."
    return some_of("usage_source", "Tokens from", words.USAGE_SOURCES, about, everything)


def box(name: str, label: str, description: str) -> build.TextBoxVariable:
    """What a reader types; empty at first."""
    return build.TextBoxVariable(name).label(label).default_value("").description(description)


def key() -> build.QueryVariable:
    """Keys are in no label of a metric, so only the ledger knows them."""
    query = Ledger("usage/summary", RANGE | {"by": "key"}, "rows", [text("group.key", "key")])
    infinity = {"queryType": "infinity", "infinityQuery": query, "refId": "variable-key"}
    variable = build.QueryVariable("key").label("Key").datasource(LEDGER).query(infinity)
    variable = variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    variable = variable.sort(model.VariableSort.ALPHABETICAL_ASC).multi(True).include_all(True)
    return variable.all_value(EVERYTHING).current(ALL).description("The client's key, by its name.")


def choice(name: str, label: str, values: dict[str, str], current: str, description: str) -> build.CustomVariable:
    """One of a few: what is shown, and what it stands for."""
    listed = ", ".join(f"{shown} : {value}" for shown, value in values.items())
    shown = next(shown for shown, value in values.items() if value == current)
    option = model.VariableOption(selected=True, text=shown, value=current)
    variable = build.CustomVariable(name).label(label).values(listed).current(option)
    return variable.description(description)
