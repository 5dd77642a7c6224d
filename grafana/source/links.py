"""Ways from one dashboard to another. The range and all variables go along."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from . import words

_KEEP = "${__url_time_range}&${__all_variables}"
# The variables that nearly every dashboard has.
_USUAL = ["datasource", "ledger", "instance", "channel", "model", "api", "key"]


def between_dashboards() -> build.DashboardLink:
    """The list of all of them, at the top of each."""
    link = build.DashboardLink("Tollgate").type(model.DashboardLinkType.DASHBOARDS).tags([words.TAG])
    return link.as_dropdown(True).include_vars(True).keep_time(True).tooltip("Tollgate's dashboards")


def to(uid: str, title: str, **variables: str) -> build.DashboardLink:
    """Another dashboard, with what is chosen here, but for `variables`: `outcome="failed"`.

    What is set is not carried along as well: a variable that an address names twice, first with "All", is "All".
    """
    if not variables:
        return around(uid, title, _KEEP)
    return alone(uid, title, *[name for name in _USUAL if name not in variables], **variables)


def of_field(uid: str, title: str, variable: str, field: str) -> build.DashboardLink:
    """Another dashboard for what the row's `field` names."""
    return to(uid, title, **{variable: value_of(field)})


def of_span(uid: str, title: str, since: str, until: str) -> build.DashboardLink:
    """Another dashboard for the time between two fields of the row."""
    span = f"from=${{__data.fields.{since}.numeric}}&to=${{__data.fields.{until}.numeric}}"
    return around(uid, title, f"{span}&${{__all_variables}}")


def of_series(uid: str, title: str, variable: str, label: str) -> build.DashboardLink:
    """Another dashboard for what the series' `label` names."""
    value = f"${{__field.labels.{label}:percentencode}}"
    return to(uid, title, **{variable: value})


def alone(uid: str, title: str, *kept: str, **variables: str) -> build.DashboardLink:
    """Another dashboard with nothing but the range, the variables `kept` and those given."""
    chosen = "".join(f"&${{{name}:queryparam}}" for name in kept)
    return around(uid, title, "${__url_time_range}" + chosen, **variables)


def around(uid: str, title: str, query: str, **variables: str) -> build.DashboardLink:
    """Another dashboard with a range of its own, which `query` tells."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(f"/d/{uid}?{query}{chosen}")


def value_of(field: str) -> str:
    """The value of the row's `field`, for a link."""
    return f"${{__data.fields[{field}]:percentencode}}"
