"""Panels as every dashboard has them. A panel has a title, a description, a unit, and words for when it has no data."""

from grafana_foundation_sdk.builders import (
    barchart,
    bargauge,
    common,
    dashboard as build,
    gauge as gauge_build,
    heatmap as heatmap_build,
    piechart,
    stat as stat_build,
    statetimeline,
    table as table_build,
    text as text_build,
    timeseries as timeseries_build,
)
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import piechart as piechart_model
from grafana_foundation_sdk.models import text as text_model

from . import words
from .queries import Ledger

# Why a panel is empty, by what it reads. The first guess comes first; the row at a dashboard's end has the rest.
# Prometheus knows nothing of a Tollgate that it does not scrape, so what it does not show may be there all the same.
OR_NOT_SCRAPED = "Or not scraped: see the last row."
NOT_SCRAPED = "This Prometheus does not scrape Tollgate: see the last row."
NO_TRAFFIC = "No requests in this range and for this choice."
NOTHING = "None. That is good."
# How finely time is cut. Grafana would ask for a point each pixel: more than eyes can use, and percentiles of many
# series cost Prometheus in proportion. Those of each channel or model are the dearest: they get as few as bars.
MOST_POINTS = 180
MOST_BARS = 100
# Why a number at a dashboard's top is not known: short, or it is too small to be read.
NO_PRICE = "Nothing priced."
NO_TOKENS = "No tokens known."
NO_REQUESTS = "No requests."
NO_STREAMS = "No streams."
# A cell without a value: unknown, or not there.
UNKNOWN = "–"
NOT_SAID = "Nothing has said so yet."
# How a column looks that is not shown. The first is for Grafana before 12.2.
HIDDEN = {"custom__hidden": True, "custom__hideFrom": {"viz": True, "legend": False, "tooltip": False}}


def _common(panel, title: str, description: str, unit: str, width: int, height: int, targets, empty: str):
    source = targets[0].build().datasource
    if source.type_val == "prometheus" and "scrape" not in empty:
        empty = f"{empty} {OR_NOT_SCRAPED}"
    panel = panel.title(title).description(description).unit(unit).span(width).height(height).no_value(empty)
    for target in targets:
        panel = panel.with_target(target)
    return panel.datasource(source)


def _last(calc: str = "lastNotNull", values: bool = False) -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs([calc]).values(values)


def stat(
    title: str,
    description: str,
    *targets,
    unit: str = words.COUNT,
    width: int = 3,
    height: int = 4,
    thresholds: build.ThresholdsConfig = words.PLAIN,
    empty: str = NO_TRAFFIC,
    decimals: int | None = None,
    change: str | None = None,
    links: list | None = None,
    spark: bool = False,
    field: str = "",
    calc: str = "",
):
    """A number. `change` shows it against the period before: `more_is_bad`, `more_is_good` or `neutral`."""
    panel = _common(stat_build.Panel(), title, description, unit, width, height, targets, empty)
    # Of two periods the last one is meant, also where nothing is known of it: not the one before in its place.
    reduce = _last(calc or ("last" if change else "lastNotNull"))
    if field:
        reduce = reduce.fields(field)
    panel = panel.reduce_options(reduce).thresholds(thresholds)
    mode = common_model.BigValueGraphMode.AREA if spark else common_model.BigValueGraphMode.NONE
    panel = panel.max_data_points(MOST_BARS).graph_mode(mode).color_mode(common_model.BigValueColorMode.VALUE)
    panel = panel.text_mode(common_model.BigValueTextMode.AUTO).wide_layout(False)
    if change:
        colours = {
            "more_is_bad": common_model.PercentChangeColorMode.INVERTED,
            "more_is_good": common_model.PercentChangeColorMode.STANDARD,
            "neutral": common_model.PercentChangeColorMode.SAME_AS_VALUE,
        }
        panel = panel.show_percent_change(True).percent_change_color_mode(colours[change])
        # What Prometheus does not know is not a number.
        unknown = model.DashboardSpecialValueMapOptions(
            match=model.SpecialValueMatch.NA_N, result=model.ValueMappingResult(text=empty, index=0)
        )
        panel = panel.mappings([model.SpecialValueMap(options=unknown)])
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.data_links(links or [])


def series(
    title: str,
    description: str,
    *targets,
    unit: str,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    bars: bool = False,
    thresholds: build.ThresholdsConfig | None = None,
    empty: str = NO_TRAFFIC,
    links: list | None = None,
    calcs: tuple[str, ...] = ("mean", "max"),
    least: float | None = 0,
    most: float | None = None,
    legend: bool = True,
    coarse: bool = False,
):
    """Lines, areas or bars over time, `coarse` with fewer points. With thresholds the line at which amber and red
    begin is drawn."""
    panel = _common(timeseries_build.Panel(), title, description, unit, width, height, targets, empty)
    panel = panel.max_data_points(MOST_BARS if bars or coarse else MOST_POINTS)
    if bars:
        panel = panel.draw_style(common_model.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
    else:
        panel = panel.line_width(1).fill_opacity(25 if stacked else 8)
        panel = panel.line_interpolation(common_model.LineInterpolation.LINEAR)
        panel = panel.show_points(common_model.VisibilityMode.NEVER)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A"))
    if thresholds is not None:
        style = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(thresholds).thresholds_style(style)
    if least is not None:
        panel = panel.min(least)
    if most is not None:
        panel = panel.max(most)
    placement = common_model.LegendPlacement.BOTTOM
    shown = common.VizLegendOptions().show_legend(legend).placement(placement).calcs(list(calcs))
    mode = common_model.LegendDisplayMode.TABLE if calcs else common_model.LegendDisplayMode.LIST
    panel = panel.legend(shown.display_mode(mode).sort_by("Max" if "max" in calcs else "Total").sort_desc(True))
    tooltip = common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI)
    panel = panel.tooltip(tooltip.sort(common_model.SortOrder.DESCENDING))
    panel = panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
    return panel.data_links(links or [])


def table(
    title: str,
    description: str,
    *targets,
    width: int = 12,
    height: int = 8,
    empty: str = NO_TRAFFIC,
    links: list | None = None,
    sort: str | None = None,
    unit: str = words.NO_UNIT,
):
    """Rows, their columns in the order in which the ledger is asked for them; units are set with `column`."""
    panel = _common(table_build.Panel(), title, description, unit, width, height, targets, empty)
    panel = panel.show_header(True).cell_height(common_model.TableCellHeight.SM).filterable(False)
    # Narrower than Grafana's own 150 pixels, so that all columns are seen without scrolling.
    panel = panel.min_width(70)
    # Why a table is empty is no word for a cell without a value.
    panel = panel.override_by_regexp(".*", [model.DynamicConfigValue(id_val="noValue", value=UNKNOWN)])
    if sort:
        panel = panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    if isinstance(targets[0], Ledger):
        panel = in_order(panel, *[column.text for column in targets[0].columns])
    return panel.data_links(links or [])


def column(panel, name: str, title: str | None = None, **properties: object):
    """How a table shows one column. Properties are field config, `__` for a dot: `unit`, `links`, `custom__width`."""
    values = [model.DynamicConfigValue(id_val="displayName", value=title)] if title else []
    for key, value in properties.items():
        path = key.replace("__", ".")
        if key == "links":
            value = [{"title": link.build().title, "url": link.build().url} for link in value]
        elif key == "thresholds":
            value = value.build()
        values.append(model.DynamicConfigValue(id_val=path, value=value))
    return panel.override_by_name(name, values)


def widths(panel, **pixels: int):
    """How wide columns are, `_` for a blank in their names. All that is left goes to those that are not named."""
    for name, width in pixels.items():
        panel = column(panel, name.replace("_", " "), custom__width=width)
    return panel


def wrapped(panel, *names: str, least: int = 120):
    """Columns of long texts: in as many lines as they need, `least` pixels wide."""
    for name in names:
        panel = column(panel, name, custom__wrapText=True, custom__minWidth=least)
    return panel


def share(panel, name: str):
    """A column of shares of a whole, as bars."""
    bar = {"type": "gauge", "mode": "basic"}
    return column(panel, name, unit=words.RATIO, thresholds=words.PLAIN, custom__cellOptions=bar, min=0, max=1)


def in_order(panel, *names: str):
    """Columns from left to right. Infinity sorts them by name, whatever the order they are asked in."""
    places = {name: place for place, name in enumerate(names)}
    options = {"indexByName": places, "excludeByName": {}, "includeByName": {}, "renameByName": {}}
    return panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=options))


def upright(panel):
    """One row of many columns becomes one line for each of them: its name and its value."""
    options = {"reducers": ["lastNotNull"], "mode": "seriesToRows", "includeTimeField": False, "labelsToFields": False}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="reduce", options=options))
    panel = column(panel, "Field", "What", custom__width=250)
    # The reduction makes NaN of what is unknown, and numbers of a column in which all is.
    unknown = {"type": "special", "options": {"match": "null+nan", "result": {"text": UNKNOWN, "index": 0}}}
    none = {"type": "value", "options": {"{}": {"text": UNKNOWN, "index": 1}}}
    return column(panel, "Last *", "Value", custom__wrapText=True, custom__align="left", mappings=[unknown, none])


def hidden(panel, *names: str):
    """Columns that links need and readers do not."""
    for name in names:
        panel = column(panel, name, **HIDDEN)
    return panel


def gauge(title: str, description: str, *targets, unit: str = words.RATIO, width: int = 6, height: int = 6,
          thresholds: build.ThresholdsConfig = words.USED, empty: str = NOT_SAID, most: float = 1, links: list | None = None):  # fmt: skip
    """A share of something."""
    panel = _common(gauge_build.Panel(), title, description, unit, width, height, targets, empty)
    panel = panel.reduce_options(_last()).thresholds(thresholds).min(0).max(most)
    return panel.show_threshold_markers(True).data_links(links or [])


def bars(title: str, description: str, *targets, unit: str, width: int = 12, height: int = 8,
         thresholds: build.ThresholdsConfig = words.PLAIN, empty: str = NO_TRAFFIC, most: float | None = None,
         links: list | None = None, rows: str = ""):  # fmt: skip
    """Horizontal bars, one for each series; with `rows` one for each row of a table, of that field."""
    panel = _common(bargauge.Panel(), title, description, unit, width, height, targets, empty)
    reduce = _last(values=bool(rows))
    if rows:
        reduce = reduce.fields(rows)
    panel = panel.reduce_options(reduce).thresholds(thresholds).min(0)
    panel = panel.orientation(common_model.VizOrientation.HORIZONTAL)
    panel = panel.display_mode(common_model.BarGaugeDisplayMode.BASIC).show_unfilled(True)
    if most is not None:
        panel = panel.max(most)
    return panel.data_links(links or [])


def stacked_bar(title: str, description: str, *targets, unit: str, names: str, width: int = 24, height: int = 6,
                empty: str = NO_TRAFFIC, links: list | None = None):  # fmt: skip
    """A bar for each row, named by its field `names`, of its numbers one after the other."""
    panel = _common(barchart.Panel(), title, description, unit, width, height, targets, empty)
    panel = panel.x_field(names).orientation(common_model.VizOrientation.HORIZONTAL).bar_width(0.8)
    panel = panel.stacking(common_model.StackingMode.NORMAL).fill_opacity(80).line_width(0)
    panel = panel.show_value(common_model.VisibilityMode.NEVER)
    panel = panel.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    legend = common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM)
    panel = panel.legend(legend.display_mode(common_model.LegendDisplayMode.LIST))
    return panel.data_links(links or [])


def pie(title: str, description: str, *targets, unit: str, width: int = 6, height: int = 8, empty: str = NO_TRAFFIC,
        links: list | None = None, rows: str = ""):  # fmt: skip
    """Shares of a whole."""
    panel = _common(piechart.Panel(), title, description, unit, width, height, targets, empty)
    reduce = _last(values=bool(rows))
    if rows:
        reduce = reduce.fields(rows)
    legend = piechart.PieChartLegendOptions().show_legend(True).placement(common_model.LegendPlacement.RIGHT)
    values = [piechart_model.PieChartLegendValues.VALUE, piechart_model.PieChartLegendValues.PERCENT]
    legend = legend.display_mode(common_model.LegendDisplayMode.TABLE).values(values)
    panel = panel.pie_type(piechart_model.PieChartType.DONUT).reduce_options(reduce).legend(legend)
    return panel.data_links(links or [])


def heatmap(title: str, description: str, *targets, unit: str = words.SECONDS, width: int = 12, height: int = 9,
            empty: str = NO_TRAFFIC, links: list | None = None):  # fmt: skip
    """How often how long: a histogram over time."""
    panel = _common(heatmap_build.Panel(), title, description, unit, width, height, targets, empty)
    panel = panel.max_data_points(MOST_BARS)
    colours = heatmap_build.HeatmapColorOptions().mode(heatmap_model.HeatmapColorMode.SCHEME).scheme("Oranges")
    axis = heatmap_build.YAxisConfig().unit(unit).axis_placement(common_model.AxisPlacement.LEFT)
    panel = panel.color(colours.steps(64).exponent(0.5)).y_axis(axis).calculate(False)
    # The cells count; the unit is that of what is counted.
    panel = panel.cell_values(heatmap_build.CellValues().unit(words.COUNT))
    panel = panel.cell_gap(1).filter_values(heatmap_build.FilterValueRange().le(1e-9)).show_legend()
    panel = panel.mode(common_model.TooltipDisplayMode.SINGLE).show_y_histogram()
    return panel.data_links(links or [])


def states(title: str, description: str, *targets, width: int = 24, height: int = 6, mappings: list,
           empty: str = NOT_SAID, links: list | None = None):  # fmt: skip
    """What something was, over time."""
    panel = _common(statetimeline.Panel(), title, description, words.NO_UNIT, width, height, targets, empty)
    panel = panel.merge_values(True).row_height(0.85).show_value(common_model.VisibilityMode.AUTO)
    panel = panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS)).mappings(mappings)
    legend = common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM)
    panel = panel.legend(legend.display_mode(common_model.LegendDisplayMode.LIST))
    return panel.data_links(links or [])


def words_for(values: dict[str, tuple[str, str]]) -> model.ValueMapping:
    """Words and colours in place of numbers: `{"1": ("open", GREEN)}`."""
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=shown, color=colour, index=index)
            for index, (value, (shown, colour)) in enumerate(values.items())
        }
    )


def note(title: str, description: str, content: str, width: int = 24, height: int = 4):
    """Text."""
    panel = text_build.Panel().title(title).description(description).span(width).height(height)
    return panel.mode(text_model.TextMode.MARKDOWN).content(content)


def coloured(panel, colours: dict[str, str]):
    """Series of these names in these colours."""
    for name, colour in colours.items():
        value = {"mode": "fixed", "fixedColor": colour}
        panel = panel.override_by_name(name, [model.DynamicConfigValue(id_val="color", value=value)])
    return panel


def in_turn(panel):
    """The values of several questions, one each, become the rows of one column, in the order of the questions."""
    return _changed(panel, "reduce", {"reducers": ["last"], "mode": "seriesToRows", "labelsToFields": False})


def by_series(panel, values: str):
    """Rows with a column of names and one of `values` become a series for each name: a chart over time.

    Grafana calls a series by the column and the name; the name alone is enough, and what has none says so: requests
    that were blocked have no channel. (A template with the label would show itself where there is no name.)
    """
    # The rest of an answer is no name that another question could ask for: no link leads there.
    panel = panel.override_by_name("(other)", [model.DynamicConfigValue(id_val="links", value=[])])
    panel = _changed(panel, "prepareTimeSeries", {"format": "multi"})
    panel = _changed(panel, "renameByRegex", {"regex": f"^(?:{values})(?: null)?$", "renamePattern": "(none)"})
    return _changed(panel, "renameByRegex", {"regex": f"^(?:{values}) (.*)$", "renamePattern": "$1"})


# What becomes of an answer on its way into a panel. Grafana's arithmetic takes an unknown for 0: ask for what is
# `known` before anything is divided.


def _changed(panel, transformation: str, options: dict[str, object]):
    return panel.with_transformation(model.DataTransformerConfig(id_val=transformation, options=options))


def known(panel, *fields: str):
    """Only the rows in which each of these is known."""
    filters = [{"fieldName": field, "config": {"id": "isNotNull", "options": {}}} for field in fields]
    return _changed(panel, "filterByValue", {"type": "include", "match": "all", "filters": filters})


def with_some(panel, *fields: str):
    """Only the rows in which one of these is more than 0."""
    more = {"id": "greater", "options": {"value": 0}}
    filters = [{"fieldName": field, "config": more} for field in fields]
    return _changed(panel, "filterByValue", {"type": "include", "match": "any", "filters": filters})


def calculated(panel, name: str, left: str, operator: str, right: str):
    """A further column, of two others or of one and a number."""
    binary = {"left": left, "operator": operator, "right": right}
    options = {"mode": "binary", "alias": name, "binary": binary, "replaceFields": False}
    return _changed(panel, "calculateField", options)


def summed(panel, name: str, *fields: str):
    """A further column: the sum of those that are known."""
    reduce = {"reducer": "sum", "include": list(fields)}
    options = {"mode": "reduceRow", "alias": name, "reduce": reduce, "replaceFields": False}
    return _changed(panel, "calculateField", options)


def without(panel, *fields: str):
    """All columns but these."""
    return _changed(panel, "organize", {"excludeByName": {field: True for field in fields}})


def only(panel, *fields: str):
    """These columns and no others."""
    return _changed(panel, "filterFieldsByName", {"include": {"names": list(fields)}})


def ordered(panel, field: str, descending: bool = False):
    """Rows in the order of one column."""
    return _changed(panel, "sortBy", {"fields": {}, "sort": [{"field": field, "desc": descending}]})


def first_rows(panel, count: int):
    """The first rows and no others."""
    return _changed(panel, "limit", {"limitField": str(count)})


def merged(panel, names: dict[str, str]):
    """The answers of several questions, a row for each set of labels, and what their columns are called: by its `ref` a
    question's values are `Value #A`. Time is left out."""
    panel = _changed(panel, "merge", {})
    order = {name: index for index, name in enumerate(names)}
    options = {"excludeByName": {"Time": True}, "renameByName": names, "indexByName": order}
    return _changed(panel, "organize", options)


def dated(panel, field: str, form: str = "YYYY-MM-DD"):
    """A column of moments becomes one of dates, in the reader's time zone."""
    return _changed(panel, "formatTime", {"timeField": field, "outputFormat": form, "useTimezone": True})


def shaded(panel):
    """Cells of a table in shades of one scale, from the least to the most. Blue alone: much is neither good nor bad."""
    basic = common_model.TableCellBackgroundDisplayMode.BASIC
    background = common_model.TableColoredBackgroundCellOptions(mode=basic)
    panel = panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.CONTINUOUS_BLUES))
    return panel.cell_options(background).min(0).min_width(50)


def matrix(panel, rows: str, columns: str, value: str):
    """Rows become a table of two dimensions: one column down, one across, one in the cells."""
    options = {"rowField": rows, "columnField": columns, "valueField": value, "emptyValue": "null"}
    panel = _changed(panel, "groupingToMatrix", options)
    return ordered(panel, f"{rows}\\{columns}")
