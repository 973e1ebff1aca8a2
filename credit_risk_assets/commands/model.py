"""`credit-risk model`: the versions of the default model, and who decides which of them scores loans."""

from __future__ import annotations

import getpass
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from credit_risk_assets.commands.console import console, current_settings, fail
from credit_risk_assets.commands.model_oracle import oracle

app = typer.Typer(help="Versions of the default model: list, promote, roll back, document.", no_args_is_help=True)
app.command()(oracle)


@app.command("list")
def list_versions() -> None:
    """Show every version with its role, its figures out of time and the last decision on it."""
    from credit_risk_assets.resources.lake_log import LakeLog
    from credit_risk_assets.resources.registry import overview

    current_settings()
    rows = overview(LakeLog.of(current_settings()))
    if not rows:
        console.print("no version yet: `credit-risk refresh` trains one on tapes that are twelve months apart")
        return
    for row in rows:
        figures = [f"{name.upper()} {row[name]:.4f}" for name in ("auc", "ece") if name in row]
        if "mean_pd" in row:
            figures.append(f"mean PD {row['mean_pd']:.2%} where {row['observed_rate']:.2%} defaulted")
        head = (
            f"version {row['version']:4}{row['role']:12}trained {row['trained']:%Y-%m-%d %H:%M}  {', '.join(figures)}"
        )
        console.print(head, markup=False)
        if row["decision"]:
            console.print(
                f"{'':12}{row['decision']} by {row['by']}: {row['reasons'] or 'no reason given'}", markup=False
            )


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version that is to score loans.")],
    reason: Annotated[str, typer.Option(help="Why; it stands in the register of decisions.")] = "",
    override: Annotated[bool, typer.Option(help="Promote although the gate objects; needs a reason.")] = False,
) -> None:
    """Make a version the champion, where the gate has nothing against it or a person overrules it."""
    from credit_risk_assets.resources.lake_log import LakeLog
    from credit_risk_assets.resources.platform import Platform
    from credit_risk_assets.resources.registry import RegistryError, champion_of, decisions, judged
    from credit_risk_assets.resources.registry import promote as make_champion
    from credit_risk_assets.resources.writer_lock import LakeBusyError

    chosen = current_settings()
    lake = LakeLog.of(chosen)
    try:
        if champion_of(decisions(lake)) == version:
            raise fail(f"version {version}: it is the champion already")
        _, against = judged(lake, chosen.model, version)
        if against and not override:
            raise fail(
                f"version {version}: the gate objects ({'; '.join(against)}); overrule it with --override --reason TEXT"
            )
        if override and not reason.strip():
            raise fail(f"version {version}: --override needs --reason TEXT, which stands in the register of decisions")
        said = reason.strip() or "promoted by hand"
        if against:
            said = f"{said} (overruled: {'; '.join(against)})"
        with closing(Platform(chosen)) as platform:
            make_champion(platform.lakehouse, chosen, version, by=getpass.getuser(), reasons=said)
    except (RegistryError, LakeBusyError) as error:
        raise fail(str(error)) from None
    console.print(f"version {version} is the champion", markup=False)
    console.print("next: `credit-risk refresh` scores every loan with it", markup=False)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; it stands in the register of decisions.")],
) -> None:
    """Put the champion before the present one in force again."""
    from credit_risk_assets.resources.platform import Platform
    from credit_risk_assets.resources.registry import RegistryError
    from credit_risk_assets.resources.registry import rollback as put_back
    from credit_risk_assets.resources.writer_lock import LakeBusyError

    chosen = current_settings()
    try:
        with closing(Platform(chosen)) as platform:
            version = put_back(platform.lakehouse, chosen, by=getpass.getuser(), reasons=reason)
    except (RegistryError, LakeBusyError) as error:
        raise fail(str(error)) from None
    console.print(f"version {version} is the champion again", markup=False)
    console.print("next: `credit-risk refresh` scores every loan with it", markup=False)


@app.command()
def document(
    version: Annotated[
        str | None, typer.Argument(help="The version; by default the champion, else the newest.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the page, its Markdown and its plots.")] = Path(
        "model_document"
    ),
    log: Annotated[bool, typer.Option(help="Put it into the version's MLflow run too.")] = False,
) -> None:
    """Write the model document of a version from its figures, with the decisions taken until now."""
    from credit_risk_assets.resources.lake_log import LakeLog
    from credit_risk_assets.resources.model_document import log_document, write_document
    from credit_risk_assets.resources.registry import RegistryError, champion_of, decisions, newest_version

    chosen = current_settings()
    lake = LakeLog.of(chosen)
    wanted = version or champion_of(decisions(lake)) or newest_version(lake)
    if wanted is None:
        raise fail("no version yet: `credit-risk refresh` trains one on tapes that are twelve months apart")
    try:
        files = write_document(chosen, lake, wanted, out)
        if log:
            run_id = log_document(chosen, lake, wanted)
            console.print(f"logged to MLflow run {run_id}", markup=False)
    except RegistryError as error:
        raise fail(str(error)) from None
    except OSError as error:
        raise fail(f"{error.filename or out}: cannot be written ({error.strerror or error})") from None
    console.print(f"version {wanted}: {files[0]}, {files[1].name} and {len(files) - 2} plots", markup=False)
