"""The row of filters: one control per dimension, its state kept in the URL."""

from __future__ import annotations

from typing import Any

import dash_mantine_components as dmc
from dash import html

from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.data.cube import Cube
from dash_app.data.filters import DIMENSIONS, Dimension, Filters

HINTS = {
    "status": "None chosen: on book (current, delinquent, default).",
    "rating": "Ratings describe the newest tape; no loan of an earlier one has one.",
}


def filter_controls(cube: Cube | None, filters: Filters) -> list[Any]:
    """The controls with the values of the view; the choices are those of the data."""
    tapes = cube.tapes if cube else ()
    months = [{"value": t.month, "label": text.day(t.as_of)} for t in reversed(tapes)]
    if months:
        months[0] = {"value": "", "label": f"{months[0]['label']} · newest"}
    known = {month["value"] for month in months}
    since = [{"value": "", "label": "the first"}, *[m for m in months if m["value"]][::-1]]
    if months:
        since.append({"value": tapes[-1].month, "label": text.day(tapes[-1].as_of)})
    first = filters.as_of_from if filters.as_of_from in {t.month for t in tapes} else ""
    as_of = _month(ids.AS_OF, "As of", "As-of date", months, filters.as_of if filters.as_of in known else "", 268)
    as_of_from = _month(ids.AS_OF_FROM, "Tapes from", "First tape shown", since, first, 196)
    pills = [_choices(d, filters.values(d.key), _values(d, cube)) for d in DIMENSIONS]
    reset = html.Button("Reset", id=ids.RESET, className="reset idle", n_clicks=0, type="button")
    chips = html.Div(id=ids.CHIPS, className="chips none", role="group", **aria(label="Filters that are set"))
    row = html.Div([as_of, as_of_from, *pills, _origination(cube, filters), reset], className="filter-row")
    return [row, chips]


def _month(name: str, prefix: str, title: str, months: list[dict[str, str]], value: str, width: int) -> dmc.Select:
    return dmc.Select(
        id=name,
        data=months,
        value=value,
        allowDeselect=False,
        size="sm",
        w=width,
        leftSection=html.Span(prefix, className="select-prefix"),
        leftSectionWidth=len(prefix) * 7 + 18,
        className="as-of",
        comboboxProps={"shadow": "md"},
        **aria(label=title),
    )


def _values(dimension: Dimension, cube: Cube | None) -> tuple[str, ...]:
    return dimension.values or (cube.regions if cube else ())


def _pill(key: str, name: str, chosen: bool) -> html.Button:
    return html.Button(
        name,
        id=ids.pill(key),
        className="pill active" if chosen else "pill",
        type="button",
        **aria(haspopup="dialog"),
    )


def _popover(button: html.Button, content: list[Any], width: int = 230) -> dmc.Popover:
    return dmc.Popover(
        [dmc.PopoverTarget(button), dmc.PopoverDropdown(content, p="sm")],
        position="bottom-start",
        shadow="md",
        width=width,
        trapFocus=True,
        withRoles=False,  # they would go to a wrapper of the button
        keepMounted=True,
        withinPortal=True,
        transitionProps={"duration": 0},
    )


def _choices(dimension: Dimension, chosen: tuple[str, ...], values: tuple[str, ...]) -> dmc.Popover:
    boxes = dmc.Stack(
        [dmc.Checkbox(label=_choice_label(dimension, value), value=value, size="sm") for value in values],
        gap=8,
    )
    group = dmc.CheckboxGroup(
        dmc.ScrollAreaAutosize(boxes, mah=300, offsetScrollbars="y"),
        id=ids.control(dimension.key),
        value=list(chosen),
        label=dimension.label,
        description=HINTS.get(dimension.key),
        labelProps={"className": "choices-label"},
    )
    return _popover(_pill(dimension.key, dimension.label, bool(chosen)), [group])


def _choice_label(dimension: Dimension, value: str) -> str:
    if dimension.key == "dpd":
        return f"{value} days" + (" (on time)" if value == "0" else "")
    return text.label(value).replace("-", "–") if dimension.key == "score" else text.label(value)


def _origination(cube: Cube | None, filters: Filters) -> dmc.Popover:
    quarters = [{"value": q, "label": q.replace("-", " ")} for q in (cube.quarters if cube else ())]
    known = {q["value"] for q in quarters}

    def bound(name: str, title: str, value: str) -> dmc.Select:
        return dmc.Select(
            id=name,
            label=title,
            data=quarters,
            value=value if value in known else None,
            clearable=True,
            searchable=True,
            size="sm",
            placeholder="any",
            comboboxProps={"withinPortal": False},
            clearButtonProps={"aria-label": f"Clear {title.lower()}"},
        )

    fields = dmc.Group(
        [bound(ids.SINCE, "From quarter", filters.since), bound(ids.UNTIL, "To quarter", filters.until)],
        grow=True,
    )
    return _popover(_pill("originated", "Originated", bool(filters.since or filters.until)), [fields], 320)
