"""Ways from one dashboard to another. The range and all variables go along."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from . import words

_KEEP = "${__url_time_range}&${__all_variables}"


def between_dashboards() -> build.DashboardLink:
    """The list of all of them, at the top of each."""
    link = build.DashboardLink("Tollgate").type(model.DashboardLinkType.DASHBOARDS).tags([words.TAG])
    return link.as_dropdown(True).include_vars(True).keep_time(True).tooltip("Tollgate's dashboards")


def to(uid: str, title: str, **variables: str) -> build.DashboardLink:
    """Another dashboard, with what is chosen here. `variables` are set on top of that: `outcome="failed"`."""
    chosen = "".join(f"&var-{name}={value}" for name, value in variables.items())
    return build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(f"/d/{uid}?{_KEEP}{chosen}")


def of_field(uid: str, title: str, variable: str, field: str) -> build.DashboardLink:
    """Another dashboard for what the row's `field` names."""
    value = f"${{__data.fields[{field}]:percentencode}}"
    return to(uid, title, **{variable: value})


def of_series(uid: str, title: str, variable: str, label: str) -> build.DashboardLink:
    """Another dashboard for what the series' `label` names."""
    value = f"${{__field.labels.{label}:percentencode}}"
    return to(uid, title, **{variable: value})
