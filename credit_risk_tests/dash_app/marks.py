"""A chart's marks as a browser shows them: waiting for them, reading them, clicking them."""

from __future__ import annotations

from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")


def plot(graph: str) -> str:
    return f"document.querySelector('#{graph} .js-plotly-plot')"


def drawn(page: Any, *graphs: str) -> None:
    """Wait until the graphs have marks."""
    for graph in graphs:
        page.wait_for_function(f"() => {plot(graph)}?.data?.length > 0")


def marks(page: Any, graph: str, expression: str) -> Any:
    """Something of a chart's first trace, as plotly holds it once it is drawn."""
    drawn(page, graph)
    return page.evaluate(f"{plot(graph)}.data[0]{expression}")


def click_mark(page: Any, selector: str, part: tuple[float, float] = (0.5, 0.5)) -> None:
    """A click where the mark is: plotly's own layer lies over it and finds the mark by its place."""
    mark = page.locator(selector).first
    label = page.locator(".hoverlayer .hovertext").first
    for _ in range(10):  # a chart that is drawn anew forgets where the mouse is
        page.wait_for_function("() => !document.querySelector('[data-dash-is-loading]')")
        page.mouse.move(2, 2)
        mark.evaluate("mark => mark.scrollIntoView({block: 'center'})")  # not under the filters
        box = mark.bounding_box()
        x, y = (box[at] + box[size] * share for at, size, share in zip("xy", ("width", "height"), part, strict=True))
        page.mouse.move(x, y, steps=3)
        try:
            label.wait_for(state="attached", timeout=3_000)
        except playwright.TimeoutError:
            continue
        if mark.bounding_box() == box:
            break
    page.mouse.click(x, y)
    page.mouse.move(2, 2)
