"""The plots of docs/simulator.md, drawn from a report and the latest tape.

`python -m credit_risk_assets.tape.simulation.plots docs/simulator.md [LOANS]` measures a portfolio, draws the plots
beside the page and puts the measured table between the page's two markers.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from credit_risk_assets.tape.simulation import measure
from credit_risk_assets.tape.simulation.report import ORDER, Report, report

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
# Okabe-Ito: told apart by colour-blind readers; markers and line styles carry the same information.
COLOURS = ("#0072B2", "#009E73", "#E69F00", "#D55E00")
STYLES = ("-", "--", "-.", ":")
CODE_LABELS = ("0-29", "30-59", "60-89", "90-119", "120-149", "150-179")


def _axes(columns: int, height: float = 3.2) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, axes = plt.subplots(1, columns, figsize=(8, height), layout="constrained")
    return figure, axes


def _save(figure: Any, file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80, metadata={"Software": None})
    return file


def vintages(made: Report, file: Path) -> Path:
    """Share of loans that ever reached 90+ DPD: by months on book, and by risk category at a tape."""
    figure, (left, right) = _axes(2)
    left.plot(made.vintage * 100, color=COLOURS[0])
    left.set(xlabel="months on book", ylabel="ever 90+ DPD, %", title="every loan, from origination")
    for name, colour, style in zip(ORDER, COLOURS, STYLES, strict=True):
        if name in made.by_category:
            right.plot(made.by_category[name] * 100, color=colour, linestyle=style, label=name)
    right.set(xlabel="months after the tape", title="performing loans, by risk category")
    if made.by_category:
        right.set_ylim(top=95)
        right.legend(frameon=False, ncols=2, loc="upper left")
    return _save(figure, file)


def rolls(made: Report, file: Path) -> Path:
    """Monthly roll rates of the latest year as a table of shares."""
    figure, axes = _axes(1)
    shares = made.rolls[:6]
    axes.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        if share > 0:
            colour = "white" if share > 0.5 else "black"
            axes.text(column, row, f"{share:.1%}", ha="center", va="center", color=colour)
    axes.set_xticks(range(9), [*CODE_LABELS, "180+", "charged off", "closed"])
    axes.set_yticks(range(6), CODE_LABELS)
    axes.set(xlabel="days past due a month later", ylabel="days past due")
    return _save(figure, file)


def calibration(made: Report, file: Path) -> Path:
    """Observed default rate against the true and the observable PD, by tenth, on logarithmic axes."""
    figure, axes = _axes(2)
    label = made.sample[measure.LABEL].to_numpy()
    for place, (name, title) in enumerate((("pd_12m", "true PD"), ("pd_12m_observable", "observable PD"))):
        score = made.sample[name].to_numpy()
        groups = np.array_split(np.argsort(score), 20)
        expected = [score[group].mean() for group in groups]
        seen = [label[group].mean() for group in groups]
        axes[place].loglog(expected, seen, "o", color=COLOURS[place])
        axes[place].loglog([1e-3, 1], [1e-3, 1], color="grey", linewidth=0.8)
        axes[place].set(xlabel=f"mean {title}", title=f"{title}, twentieths")
    axes[0].set(ylabel="observed default rate")
    return _save(figure, file)


def portfolio(made: Report, file: Path) -> Path:
    """How score, rate and default hang together on the tape of the newest outcome."""
    figure, axes = _axes(3)
    tape = made.sample
    axes[0].hist(tape["credit_score"].to_numpy(), bins=40, color=COLOURS[0])
    axes[0].set(xlabel="credit score", ylabel="loans")
    axes[1].hexbin(
        tape["credit_score"].to_numpy(), tape["interest_rate"].to_numpy(), gridsize=30, cmap="Blues", bins="log"
    )
    axes[1].set(xlabel="credit score", ylabel="interest rate, %")
    bands = tape.with_columns((pl.col("credit_score") // 40 * 40).alias("band"))
    rates = bands.group_by("band").agg(pl.col(measure.LABEL).mean(), pl.len()).filter(pl.col("len") > 50).sort("band")
    axes[2].plot(rates["band"] + 20, rates[measure.LABEL] * 100, "o-", color=COLOURS[3])
    axes[2].set(xlabel="credit score", ylabel="12-month default rate, %")
    return _save(figure, file)


def document(page: Path, made: Report) -> list[Path]:
    """Draw every plot beside the page and replace its measured table; returns the files written."""
    folder = page.parent / "images" / "simulator"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page}: expected the lines {BEGIN} and {END}, between which the table goes")
    table = "\n".join([f"{made.loans:,} loans, seed {made.seed}.", "", *made.lines()])
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")
    return [
        page,
        vintages(made, folder / "vintages.png"),
        rolls(made, folder / "rolls.png"),
        calibration(made, folder / "calibration.png"),
        portfolio(made, folder / "portfolio.png"),
    ]


if __name__ == "__main__":
    _loans = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
    for _file in document(Path(sys.argv[1]), report(_loans)):
        sys.stdout.write(f"{_file}\n")
