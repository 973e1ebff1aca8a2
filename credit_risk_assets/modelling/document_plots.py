"""The pictures of the model document, drawn from the figures of a version's validation as SVG text."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.modelling.document_text import BENCHMARK_NAMES, GROUPINGS, by_item, in_words
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.gate import Evidence

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#767676"
"""Okabe and Ito's colours; each is told apart by its mark too."""
WIDTH = 7.2
STRONGEST = 15
_REFERENCE = re.compile(r"(?:url\(|href=\")#([\w.-]+)")
TITLE_WIDTH = 26
"""Characters."""
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "model document",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


@dataclass(frozen=True)
class Plot:
    """A picture with the sentence under it."""

    caption: str
    svg: str


def plots(evidence: Evidence) -> dict[str, Plot]:
    """Every picture that the version's figures allow, by name, in the order of the document."""
    import matplotlib

    drawn: dict[str, Plot] = {}
    with matplotlib.rc_context(_STYLE):
        for draw in _DRAWN:
            plot = draw(evidence)
            if plot is not None:
                name = draw.__name__.removeprefix("_")
                drawn[name] = Plot(plot.caption, _own_ids(plot.svg, name))
    return drawn


def _figure(rows: int, columns: int, height: float, **space: float) -> tuple[Any, Any]:
    # without pyplot: no window, no state shared with whoever else draws in this process
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(WIDTH, height))
    axes = canvas.subplots(rows, columns)
    canvas.subplots_adjust(**{"left": 0.08, "right": 0.985, "top": 0.93, "bottom": 0.16, **space})
    return canvas, axes


def _svg(canvas: Any) -> str:
    """The drawing as one element that a page may hold beside others, without an id that no part of it refers to."""
    out = io.StringIO()
    canvas.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", out.getvalue()[out.getvalue().index("<svg") :], flags=re.DOTALL)
    used = set(_REFERENCE.findall(text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found.group(0) if found.group(1) in used else "", text)
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _own_ids(svg: str, name: str) -> str:
    """Two drawings may give one id to different shapes: each gets the drawing's name in front."""
    return _REFERENCE.sub(lambda found: found.group(0).replace("#", f"#{name}-"), svg).replace(' id="', f' id="{name}-')


def _line(axes: Axes, figures: Iterable[Figure], colour: str, label: str = "", **style: Any) -> None:
    points = [(figure.position or 0.0, figure.value) for figure in figures]
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=label, **style)


def _intervals(
    axes: Axes, figures: Sequence[Figure], colour: str, label: str, offset: float = 0.0, marker: str = "o"
) -> None:
    """Points with their 95 % intervals from left to right, the first one at the top."""
    places = [len(figures) - 1 - place + offset for place in range(len(figures))]
    reach = [
        [figure.value - (figure.value if figure.lower is None else figure.lower) for figure in figures],
        [(figure.value if figure.upper is None else figure.upper) - figure.value for figure in figures],
    ]
    values = [figure.value for figure in figures]
    axes.errorbar(values, places, xerr=reach, fmt=marker, color=colour, label=label, markersize=4, elinewidth=1)


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _discrimination(evidence: Evidence) -> Plot | None:
    roc, ks = evidence.of("curve", "roc"), evidence.of("curve", "ks")
    recall, gain = evidence.of("curve", "precision_recall"), evidence.of("curve", "gain")
    if not roc or not gain:
        return None
    canvas, ((first, second), (third, fourth)) = _figure(2, 2, 5.6, hspace=0.42, wspace=0.25, top=0.95, bottom=0.08)
    _line(first, roc, BLUE)
    first.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    auc = evidence.tested["auc"].value
    first.set(title=f"ROC: AUC {auc:.4f}", xlabel="share of good loans declined", ylabel="share of defaults declined")
    _line(second, [figure for figure in ks if figure.item == "bad"], ORANGE, "defaults", linestyle="--")
    _line(second, [figure for figure in ks if figure.item == "good"], BLUE, "good loans")
    second.set(title=f"KS: {evidence.tested['ks'].value:.4f}", xlabel="score points", ylabel="cumulative share")
    second.legend()
    _line(third, recall, BLUE)
    rate = evidence.tested["observed_rate"].value
    third.axhline(rate, color=GREY, linestyle=":")
    area = evidence.tested["pr_auc"].value
    third.set(title=f"Precision and recall: area {area:.4f}", xlabel="recall", ylabel="precision", ylim=(0, 1.02))
    _line(fourth, gain, BLUE, marker="o", markersize=3)
    fourth.plot([0, 1], [0, 1], color=GREY, linestyle=":")
    fourth.set(title="Defaults found", xlabel="riskiest share of loans", ylabel="share of defaults")
    return Plot("How the version ranks the test loans; dotted: a model that knows nothing.", _svg(canvas))


def _calibration(evidence: Evidence) -> Plot | None:
    bins = evidence.of("curve", "calibration", "observed_rate")
    if not bins:
        return None
    canvas, axes = _figure(1, 1, 3.4, bottom=0.13)
    places = [figure.position or 0.0 for figure in bins]
    reach = [[f.value - (f.lower or 0.0) for f in bins], [(f.upper or 1.0) - f.value for f in bins]]
    axes.errorbar(places, [f.value for f in bins], yerr=reach, fmt="o", color=BLUE, markersize=4, elinewidth=1)
    end = max(*places, *(figure.value for figure in bins)) * 1.05
    axes.plot([0, end], [0, end], color=GREY, linestyle=":")
    axes.set(xlabel="mean PD of the bin", ylabel="observed default rate", title="Predicted and observed")
    return Plot("Observed default rate with its Jeffreys interval in bins of equal count; dotted: equal.", _svg(canvas))


def _ratings(evidence: Evidence) -> Plot | None:
    grades = by_item(evidence.of("rating", "master_scale"))
    grades = {name: found for name, found in grades.items() if name and "observed_rate" in found}
    if not grades:
        return None
    canvas, axes = _figure(1, 1, 2.6, left=0.12, bottom=0.19)
    _intervals(axes, [found["observed_rate"] for found in grades.values()], BLUE, "observed, 95 % interval")
    _intervals(axes, [found["mean_pd"] for found in grades.values()], ORANGE, "mean PD", marker="D")
    _names(axes, list(grades))
    axes.set(xscale="log", xlabel="default rate in twelve months (logarithmic)")
    axes.set_xticks([0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5], ["0.5%", "1%", "2%", "5%", "10%", "20%", "50%"])
    axes.set_xticks([], minor=True)
    axes.legend(loc="upper right")
    return Plot("Each rating's mean PD beside its observed default rate.", _svg(canvas))


def _segments(evidence: Evidence) -> Plot | None:
    shown: list[tuple[str, Figure]] = []
    for subject in GROUPINGS:
        for name, found in by_item(evidence.of("segment", subject)).items():
            if name and "pd_to_observed" in found and found["defaults"].value >= 10:
                shown.append((f"{in_words(subject)}: {in_words(name)}", found["pd_to_observed"]))
    if not shown:
        return None
    height = 0.9 + 0.17 * len(shown)
    canvas, axes = _figure(1, 1, height, left=0.31, top=1 - 0.15 / height, bottom=0.5 / height)
    _intervals(axes, [figure for _, figure in shown], BLUE, "")
    _names(axes, [name for name, _ in shown])
    axes.axvline(1, color=GREY, linestyle=":")
    axes.set(xscale="log", xlabel="mean PD over observed default rate (logarithmic)")
    axes.set_xticks([0.5, 0.7, 1, 1.4, 2], ["0.5", "0.7", "1", "1.4", "2"])
    axes.set_xticks([], minor=True)
    note = (
        "Calibration by segment with at least ten defaults: right of 1 the risk is overstated, left of it understated."
    )
    return Plot(note, _svg(canvas))


def _score_distribution(evidence: Evidence) -> Plot | None:
    before = evidence.of("stability", "score_points", "development_share")
    after = evidence.of("stability", "score_points", "test_share")
    if not before or len(before) != len(after):
        return None
    canvas, axes = _figure(1, 1, 2.4, bottom=0.27)
    places = range(len(before))
    axes.bar([place - 0.2 for place in places], [f.value for f in before], 0.4, color=BLUE, label="development")
    axes.bar(
        [place + 0.2 for place in places], [f.value for f in after], 0.4, color="white", edgecolor=ORANGE,
        hatch="////", label="test",
    )  # fmt: skip
    axes.set_xticks(list(places), [figure.item for figure in before], rotation=20, fontsize=7)
    axes.set(ylabel="share of loans", xlabel="score points")
    axes.set_ylim(0, 1.25 * max(figure.value for figure in (*before, *after)))
    axes.legend(ncols=2, loc="upper right")
    return Plot("The score's distribution over the deciles of development.", _svg(canvas))


def _importance(evidence: Evidence) -> Plot | None:
    shap = evidence.of("importance", metric="mean_absolute_shap")
    if not shap:
        return None
    shown = sorted(shap, key=lambda figure: figure.position or 0)[:STRONGEST]
    canvas, axes = _figure(1, 1, 3.2, left=0.37, bottom=0.14, top=0.97)
    axes.barh(range(len(shown)), [figure.value for figure in reversed(shown)], color=BLUE, height=0.7)
    _names(axes, [_label(figure.subject) for figure in shown])
    axes.tick_params(axis="y", labelsize=7)
    axes.set(xlabel="mean absolute SHAP value, log-odds")
    return Plot(f"The {len(shown)} features that move the PD most, over a sample of the test loans.", _svg(canvas))


def _importance_by_segment(evidence: Evidence) -> Plot | None:
    found = evidence.of("importance", metric="mean_absolute_contribution")
    if not found:
        return None
    columns = list(dict.fromkeys(figure.item for figure in found))
    places = {(figure.subject, figure.item): figure.value for figure in found}
    totals: dict[str, float] = {}
    for figure in found:
        totals[figure.subject] = totals.get(figure.subject, 0.0) + figure.value
    rows = sorted(totals, key=lambda name: -totals[name])[:STRONGEST]
    canvas, axes = _figure(1, 1, 4.6, left=0.37, bottom=0.31, top=0.98, right=0.98)
    cells = [[places.get((row, column), float("nan")) for column in columns] for row in rows]
    axes.pcolormesh(cells, cmap="Blues")  # drawn as areas: a picture of pixels would be one within the picture
    axes.invert_yaxis()
    peak = max(places.values())
    for y, row in enumerate(cells):
        for x, value in enumerate(row):
            if value == value:
                colour = "white" if value > 0.6 * peak else "black"
                axes.text(x + 0.5, y + 0.5, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_yticks([y + 0.5 for y in range(len(rows))], [_label(row) for row in rows], fontsize=7)
    names = [in_words(column.replace("risk_rating: ", "rated ").replace("loan_purpose: ", "")) for column in columns]
    axes.set_xticks([x + 0.5 for x in range(len(columns))], names, rotation=55, ha="right", rotation_mode="anchor")
    note = "Mean absolute contribution to the log-odds by rating and by purpose; empty: not among the segment's ten."
    return Plot(note, _svg(canvas))


def _dependence(evidence: Evidence) -> Plot | None:
    found = evidence.of("dependence", metric="mean_pd")
    if not found:
        return None
    features = list(dict.fromkeys(figure.subject for figure in found))
    columns = 3
    rows = -(-len(features) // columns)
    canvas, grid = _figure(rows, columns, 1.85 * rows + 0.2, hspace=0.85, wspace=0.28, top=0.95, bottom=0.09)
    every = list(grid.ravel()) if len(features) > 1 else [grid]
    top = max(figure.value for figure in found) * 1.08
    for axes, name in zip(every, features, strict=False):
        points = [figure for figure in found if figure.subject == name]
        if points[0].item:
            axes.bar(range(len(points)), [point.value for point in points], color=BLUE)
            axes.set_xticks(range(len(points)), [in_words(point.item)[:9] for point in points], rotation=35, fontsize=6)
        else:
            _line(axes, points, BLUE, marker="o", markersize=2.5)
        feature = BY_NAME.get(name)
        axes.set_title(textwrap.fill(_label(name), TITLE_WIDTH), fontsize=7.5)
        axes.set_xlabel(feature.unit if feature else "", fontsize=6.5, labelpad=1)
        axes.set_ylim(0, top)
        axes.tick_params(labelsize=6.5)
    for axes in every[len(features) :]:
        axes.set_axis_off()
    return Plot("Mean PD of sampled test loans where one feature alone is set to the place on the axis.", _svg(canvas))


def _benchmarks(evidence: Evidence) -> Plot | None:
    found = evidence.of("benchmark", metric="auc")
    if len(found) < 2:
        return None
    canvas, axes = _figure(1, 1, 0.8 + 0.26 * len(found), left=0.31, bottom=0.24, top=0.96)
    _intervals(axes, found, BLUE, "")
    _names(axes, [BENCHMARK_NAMES.get(figure.subject, figure.subject) for figure in found])
    axes.set(xlabel="AUC on the test loans, 95 % interval (DeLong)")
    note = (
        "Intervals are wide because the loans are few; on the same loans, differences are known more exactly (table)."
    )
    return Plot(note, _svg(canvas))


def _fairness(evidence: Evidence) -> Plot | None:
    ratios = evidence.of("fairness", metric="adverse_impact_ratio")
    gaps = {(f.subject, f.item): f for f in evidence.of("fairness", metric="equal_opportunity_difference")}
    shown = [figure for figure in ratios if (figure.subject, figure.item) in gaps]
    if not shown:
        return None
    height = 0.9 + 0.2 * len(shown)
    canvas, (left, right) = _figure(
        1, 2, height, left=0.24, wspace=0.08, top=1 - 0.3 / height, bottom=0.5 / height
    )  # fmt: skip
    names = [f"{in_words(figure.subject)}: {in_words(figure.item)}" for figure in shown]
    _intervals(left, shown, BLUE, "")
    _intervals(right, [gaps[figure.subject, figure.item] for figure in shown], ORANGE, "", marker="D")
    _names(left, names)
    _names(right, [""] * len(names))
    left.axvline(0.8, color=GREY, linestyle=":")
    right.axvline(0, color=GREY, linestyle=":")
    left.set(title="Impact ratio (dotted: four fifths)", xlabel="approval rate over that of the best group")
    right.set(title="Equal opportunity", xlabel="good loans approved, against the best group")
    right.xaxis.set_major_formatter(lambda value, _: f"{value:+.0%}")
    return Plot("Decisions at the version's threshold by protected group, 95 % intervals.", _svg(canvas))


def _label(name: str) -> str:
    feature = BY_NAME.get(name)
    return feature.label if feature else name


_DRAWN: tuple[Callable[[Evidence], Plot | None], ...] = (
    _discrimination,
    _benchmarks,
    _calibration,
    _ratings,
    _segments,
    _score_distribution,
    _importance,
    _importance_by_segment,
    _dependence,
    _fairness,
)
