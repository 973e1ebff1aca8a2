"""Times the default model: one loan, its reasons, the portfolio on Spark, a file, and training with its memory.

    python docs/bench_model.py --home HOME [--rows 1000000] [--only latency,batch,reasons,file,training]

HOME is a home that `credit-risk demo` or `credit-risk refresh` has filled; it is read alone. Its champion scores,
and the loans of its tape, repeated up to `--rows`, are what is scored and trained on. Each part prints a yardstick
measured in the same run beside it. Close other programs first: with others on the processor every figure is worse.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from credit_risk_assets.automation.scoring import score_file
from credit_risk_assets.config.settings import ModelSettings, Settings, read_settings
from credit_risk_assets.config.tables import LOANS
from credit_risk_assets.credit.features import model_features
from credit_risk_assets.modelling.explain import as_lists, overlap, reasons
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE
from credit_risk_assets.modelling.score import (
    SCORE_SCHEMA,
    dump_model,
    make_scorer,
    score_new_loans,
    scorer_columns,
)
from credit_risk_assets.resources.mlflow import LoadedModel, load_version
from credit_risk_assets.tape import contract

PARTS = ("latency", "batch", "reasons", "file", "training")
ROUNDS = 5
CALLS = 1_000
EXPLAINED = 2_000
REFERENCE = "the reference, 200 trees of depth 6, 2 cores: 478,000 rows/s"


def book(settings: Settings) -> pl.DataFrame:
    """The loans on book of the home's silver layer."""
    on_book = pl.col("loan_status").is_in(contract.ON_BOOK_STATUSES)
    return pl.scan_delta(str(settings.lake / LOANS.path)).filter(on_book).collect()


def repeated(loans: pl.DataFrame, rows: int) -> pl.DataFrame:
    """The loans over and over again, each copy a loan and a customer of its own."""
    copies = -(-rows // len(loans))
    frame = pl.concat([loans] * copies).head(rows).rechunk()
    number = pl.int_range(len(frame)).cast(pl.String).str.zfill(9)
    return frame.with_columns(loan_id=pl.lit("L") + number, customer_id=pl.lit("hmac_" + "0" * 55) + number)


def processor_seconds(action: Callable[[], Any]) -> float:
    """Processor time of one run, all threads of this process together: other programs do not lengthen it."""
    began = time.process_time()
    action()
    return time.process_time() - began


def fastest(action: Callable[[], Any], rounds: int = 3) -> float:
    """Seconds of the fastest of some runs."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        found.append(time.perf_counter() - began)
    return min(found)


def latency(champion: LoadedModel, loans: pl.DataFrame) -> None:
    """One loan at a time, contract and features included; each round has its own p99, the best and worst are shown."""
    model, encoders = champion.model, champion.encoders
    some = loans.sample(fraction=1.0, shuffle=True, seed=1)
    risky = some.filter(pl.Series(model.probability(encoders.transform(some)) >= model.rating_bounds[2]))
    for name, explain, chosen in (("one loan", False, some), ("one explained loan", True, risky)):
        tape = chosen.select(contract.NAMES).head(CALLS).to_pandas()
        singles = [tape.iloc[[place]] for place in range(len(tape))]
        for one in singles[:100]:
            score_new_loans(one, model, encoders, explain=explain)
        rounds = []
        for _ in range(ROUNDS):
            walls, processor = [], []
            for one in singles:
                began, used = time.perf_counter(), time.thread_time()
                score_new_loans(one, model, encoders, explain=explain)
                walls.append((time.perf_counter() - began) * 1e3)
                processor.append((time.thread_time() - used) * 1e3)
            rounds.append((np.percentile(walls, 99), np.median(walls), np.percentile(processor, 99)))
        p99, p50, busy = min(rounds)
        print(
            f"{name:26} p50 {p50:.2f} ms, p99 {p99:.2f} ms, p99 of processor time {busy:.2f} ms "
            f"(p99 of the worst of {ROUNDS} rounds {max(rounds)[0]:.2f} ms)"
        )
    matrix = encoders.transform(loans.head(1))
    bare = [fastest(lambda: model.booster.inplace_predict(matrix), 1) * 1e3 for _ in range(CALLS)]
    print(f"{'  bare booster, one row':26} p50 {np.median(bare):.2f} ms, p99 {np.percentile(bare, 99):.2f} ms")


def batch(settings: Settings, champion: LoadedModel, loans: pl.DataFrame, rows: int, folder: Path) -> None:
    """The portfolio through mapInArrow on the engine of the settings, against the booster alone on the same rows."""
    from credit_risk_assets.resources.spark import spark_session

    portfolio = repeated(loans, rows).select(scorer_columns(champion.model))
    file = folder / "portfolio.parquet"
    portfolio.write_parquet(file, row_group_size=100_000)
    matrix = champion.encoders.transform(portfolio)
    del portfolio
    session = spark_session(settings)
    content = dump_model(champion.model, champion.encoders)
    frame = session.read.parquet(str(file))

    def scored(explain: bool) -> None:
        scorer = make_scorer(content, dt.datetime.now(dt.UTC), explain=explain)
        frame.mapInArrow(scorer, SCORE_SCHEMA).selectExpr("sum(pd_12m)", "count(reason_1)").collect()

    scored(explain=False)
    bare, ours = [], []
    for _ in range(ROUNDS):  # in turn, so that both meet the same machine
        bare.append(fastest(lambda: champion.model.booster.inplace_predict(matrix), 1))
        ours.append(fastest(lambda: scored(explain=False), 1))
    told = fastest(lambda: scored(explain=True), 1)
    busy = min(processor_seconds(lambda: champion.model.booster.inplace_predict(matrix)) for _ in range(ROUNDS))
    busy_ours = min(processor_seconds(lambda: scored(explain=False)) for _ in range(ROUNDS))
    trees = champion.model.booster.num_boosted_rounds()
    ratios = sorted(b / o for b, o in zip(bare, ours, strict=True))
    print(f"batch of {rows:,} loans on {settings.spark.engine}, {trees} trees")
    print(f"{'  bare inplace_predict':26} {rows / min(bare):>10,.0f} rows/s ({REFERENCE})")
    print(f"{'  PDs on Spark':26} {rows / min(ours):>10,.0f} rows/s, {min(bare) / min(ours):.0%} of bare")
    print(f"{'  pair by pair':26} {ratios[0]:.0%} to {ratios[-1]:.0%}, median {ratios[len(ratios) // 2]:.0%}")
    print(f"{'  by processor time':26} {busy / busy_ours:.0%} ({busy:.2f} s bare, {busy_ours:.2f} s on Spark)")
    print(f"{'  PDs and reasons on Spark':26} {rows / told:>10,.0f} rows/s")


def agreement(champion: LoadedModel, loans: pl.DataFrame) -> None:
    """How often the portfolio's approximate reasons are the exact ones."""
    model, encoders = champion.model, champion.encoders
    performing = loans.filter(pl.col("loan_status").is_in(["current", "delinquent"]), pl.col("current_dpd") < 90)
    risky = performing.filter(pl.Series(model.probability(encoders.transform(performing)) >= model.rating_bounds[2]))
    chosen = risky.sample(min(EXPLAINED, len(risky)), seed=1)
    matrix = encoders.transform(chosen)
    told = {}
    for name, exact in (("approximate", False), ("exact", True)):
        began = time.perf_counter()
        told[name] = as_lists(reasons(model, matrix, chosen, exact=exact))
        print(f"reasons, {name:17} {len(chosen) / (time.perf_counter() - began):>10,.0f} loans/s")
    first, shared = overlap(told["approximate"], told["exact"])
    held = np.mean([bool(set(told["exact"][i][:1]) & set(texts)) for i, texts in enumerate(told["approximate"])])
    print(
        f"of {len(chosen):,} loans rated High or Very High: same first reason {first:.1%}, the exact first reason "
        f"among the approximate ones {held:.1%}, mean overlap of the sets {shared:.1%}"
    )


def file_scoring(settings: Settings, loans: pl.DataFrame, rows: int, folder: Path) -> None:
    """`credit-risk score` on a CSV, in a process of its own."""
    source = folder / "loans.csv"
    repeated(loans.select(contract.NAMES), rows).write_csv(source)
    found = in_a_process_of_its_own("file", source, settings.home)
    print(
        f"file of {rows:,} loans ({source.stat().st_size / 2**20:,.0f} MiB)  {found['seconds']:.0f} s, "
        f"{rows / found['seconds']:,.0f} rows/s with reasons, peak {found['peak_gib']:.2f} GiB"
    )


def in_a_process_of_its_own(what: str, file: Path, home: Path) -> dict[str, float]:
    """Run a part as `child` does and return what it measured."""
    command = [sys.executable, __file__, "--home", str(home), "--child", what, "--sample", str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_gib() -> float:
    """The most memory this process has held since it began (Linux); ru_maxrss would include its parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**20


def development_rows(champion: LoadedModel, loans: pl.DataFrame, rows: int) -> pl.DataFrame:
    """A development sample of any size: repeated loans, outcomes by the champion's PD, the last fifth the newest."""
    names = [feature.name for feature in model_features()]
    keys = ["loan_id", "customer_id"]
    needed = {*keys, *names, *scorer_columns(champion.model)} - {"as_of_date"}
    frame = repeated(loans.select(sorted(needed)), rows)
    blocks = (frame[place : place + 100_000] for place in range(0, rows, 100_000))
    odds = np.concatenate([champion.model.probability(champion.encoders.transform(block)) for block in blocks])
    rng = np.random.default_rng(7)
    newest = pl.int_range(len(frame)) >= int(0.8 * len(frame))
    outcome = pl.Series(LABEL, (rng.random(rows) < odds).astype(np.int32))
    frame = frame.select(*keys, *names).with_columns(outcome)
    dates = pl.when(newest).then(dt.date(2025, 12, 31)).otherwise(dt.date(2024, 12, 31))
    # copies of a loan must differ, or the trees would learn them by heart
    moved = [pl.col(n) * pl.Series(rng.uniform(0.97, 1.03, rows)) for n in names if frame.schema[n] == pl.Float64]
    return frame.with_columns(dates.alias(OBSERVATION_DATE), *moved)


def training(champion: LoadedModel, loans: pl.DataFrame, rows: int, folder: Path, home: Path) -> None:
    """The platform's training and the bare booster's, each in a process of its own."""
    file = folder / "sample.parquet"
    development_rows(champion, loans, rows).write_parquet(file)
    print(f"training on {rows:,} rows x {len(model_features())} features")
    for name in ("bare", "platform"):
        found = in_a_process_of_its_own(name, file, home)
        print(
            f"  {name:10} {found['seconds']:7.1f} s ({found['processor_seconds']:.0f} s of processor time), "
            f"{found['trees']} trees, peak {found['peak_gib']:.2f} GiB "
            f"({found['loaded_gib']:.2f} GiB with the sample read), AUC {found['auc']:.4f}"
        )


def child(what: str, file: Path, settings: Settings) -> dict[str, float]:
    """One training, or the scoring of a file: time and this process's peak memory; reading a sample is not timed."""
    if what == "file":
        began = time.perf_counter()
        score_file(settings, file, file.with_name("scores.csv"))
        return {"seconds": time.perf_counter() - began, "peak_gib": peak_gib()}
    sample = [pl.read_parquet(file)]  # handed over, not kept: each training may let go of it when it can
    loaded = peak_gib()
    began, used = time.perf_counter(), time.process_time()
    train = _platform if what == "platform" else _bare
    found = train(sample, settings.model)
    taken = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - used}
    return {**taken, "peak_gib": peak_gib(), "loaded_gib": loaded, **found}


def _platform(sample: list[pl.DataFrame], settings: ModelSettings) -> dict[str, float]:
    from credit_risk_assets.modelling.train import train_default_model

    result = train_default_model(sample.pop(), settings)
    return {"trees": result.model.booster.num_boosted_rounds(), "auc": result.test_metrics["auc"].value}


def _bare(sample: list[pl.DataFrame], settings: ModelSettings) -> dict[str, float]:
    """What a user would write: a matrix of the same columns, a fifth of the older rows to stop early."""
    import xgboost as xgb
    from sklearn.metrics import roc_auc_score

    features, frame = model_features(), sample.pop()
    columns = [
        pl.col(f.name).cast(pl.Categorical).to_physical() if f.type == "string" else pl.col(f.name) for f in features
    ]
    newest = (frame[OBSERVATION_DATE] == frame[OBSERVATION_DATE].max()).to_numpy()
    matrix = frame.select([column.cast(pl.Float32) for column in columns]).to_numpy()
    label = frame[LABEL].to_numpy()
    del frame
    stopping = np.random.default_rng(1).random(len(label)) < 0.2
    parts = (~newest & ~stopping, ~newest & stopping)
    bad = label[parts[0]].mean()
    parameters: dict[str, Any] = {
        "objective": "binary:logistic", "tree_method": "hist", "eval_metric": "auc", "seed": settings.seed,
        "max_depth": settings.max_depth, "learning_rate": settings.learning_rate, "gamma": settings.gamma,
        "min_child_weight": settings.min_child_weight, "reg_lambda": settings.reg_lambda,
        "subsample": settings.subsample, "colsample_bytree": settings.colsample_bytree,
        "nthread": settings.threads, "scale_pos_weight": (1 - bad) / bad,
    }  # fmt: skip
    train = xgb.QuantileDMatrix(matrix[parts[0]], label[parts[0]], nthread=settings.threads)
    check = xgb.QuantileDMatrix(matrix[parts[1]], label[parts[1]], ref=train, nthread=settings.threads)
    booster = xgb.train(
        parameters,
        train,
        settings.n_estimators,
        evals=[(check, "check")],
        early_stopping_rounds=settings.early_stopping_rounds,
        verbose_eval=False,
    )
    auc = roc_auc_score(label[newest], booster.inplace_predict(matrix[newest]))
    return {"trees": booster.num_boosted_rounds(), "auc": float(auc)}


def main() -> None:
    """Run the parts asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--child", choices=("bare", "platform", "file"), help=argparse.SUPPRESS)
    parser.add_argument("--sample", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    settings = read_settings(home=chosen.home.resolve()) if chosen.home else read_settings()
    if chosen.child:
        print(json.dumps(child(chosen.child, chosen.sample, settings)))
        return
    champion = load_version(settings)
    loans = book(settings)
    parts = chosen.only.split(",")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "latency" in parts:
            latency(champion, loans)
        if "batch" in parts:
            batch(settings, champion, loans, chosen.rows, folder)
        if "reasons" in parts:
            agreement(champion, loans)
        if "file" in parts:
            file_scoring(settings, loans, chosen.rows, folder)
        if "training" in parts:
            training(champion, loans, chosen.rows, folder, settings.home)


if __name__ == "__main__":
    main()
