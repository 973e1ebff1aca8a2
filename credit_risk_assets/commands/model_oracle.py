"""`credit-risk model oracle`: the champion against the sealed truth of a simulated portfolio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from credit_risk_assets.commands.console import console, current_settings, fail

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import Settings
    from credit_risk_assets.modelling.oracle import OracleReport


def oracle(
    truth: Annotated[Path, typer.Option(help="Folder that `credit-risk simulate --truth` wrote for these tapes.")],
    json: Annotated[Path | None, typer.Option(help="Write the figures as JSON too.")] = None,
) -> None:
    """Compare the champion with the truth of a simulated portfolio; exit 1 where it knows more than could be known."""
    import json as writer

    from credit_risk_assets.modelling.errors import ModelDataError
    from credit_risk_assets.resources.mlflow import NoChampionError

    try:
        report = champion_against_truth(current_settings(), truth)
        if json is not None:
            json.write_text(writer.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    except (ModelDataError, NoChampionError, OSError) as error:
        raise fail(str(error)) from None
    for line in report.lines():
        console.print(line, markup=False)
    if report.leaks:
        raise typer.Exit(1)


def champion_against_truth(settings: Settings, folder: Path) -> OracleReport:
    """The champion's predictions of the loans that it was tested on, against their truth.

    Raises `NoChampionError`, and `ModelDataError` where the sample has moved on since the champion was tested.
    """
    import polars as pl

    from credit_risk_assets.config.tables import DEVELOPMENT_SAMPLE
    from credit_risk_assets.modelling.errors import ModelDataError
    from credit_risk_assets.modelling.oracle import SEGMENTS, compare_with_truth, read_truth
    from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE
    from credit_risk_assets.resources.lake_log import LakeLog
    from credit_risk_assets.resources.mlflow import load_version, version_tags

    known = read_truth(folder)
    champion = load_version(settings)
    tags = version_tags(settings)
    table = LakeLog.of(settings).newest(DEVELOPMENT_SAMPLE)
    held = [field.name for field in table.schema().fields]
    wanted = ["loan_id", OBSERVATION_DATE, LABEL, *champion.model.columns]
    columns = [*wanted, *(name for name in SEGMENTS if name in held and name not in wanted)]
    sample = pl.DataFrame(pl.from_arrow(table.to_pyarrow_table(columns=columns)))
    newest = sample[OBSERVATION_DATE].cast(pl.Date).max()
    if tags.get("test_set") != "out_of_time" or tags.get("test_date") != str(newest):
        raise ModelDataError(
            f"champion {champion.version}: tested {tags.get('test_set')} on {tags.get('test_date')}, but the newest "
            f"observation date of the development sample is {newest!s}; both must be one out-of-time date"
        )
    tested = sample.filter(pl.col(OBSERVATION_DATE).cast(pl.Date) == newest)
    predicted = champion.model.probability(champion.encoders.transform(tested))
    return compare_with_truth(
        tested,
        predicted,
        known,
        threshold=champion.model.threshold,
        bounds=champion.model.rating_bounds,
    )
