"""The platform's table work as somebody would write it with polars and delta-rs: no Spark, no Dagster, no checks.

    python docs/benchmarks/polars_peer.py --landing FOLDER --lake FOLDER --key FILE --json FILE

`credit-risk benchmark --peer` runs it on the tapes that the platform has just read. It reads the landed tapes, tries
every rule of the contract, puts bad rows with their reasons aside, replaces customer ids by HMAC-SHA256, and writes the
platform's tables of the same names, columns and partitions: bronze/loan_tape and rejected_records, silver/loan_history
and loans, gold/portfolio_kpis, portfolio_cube, vintage_curves, roll_rates and rating_migration.

What a loan tape and a feature are comes from the platform's definitions, compiled to polars; only the engine differs.
Queries are lazy and stream where polars streams, and delta-rs commits (zstd, as the platform's files). It loads once:
no later run picks up where one ended, a crash leaves half a lake, and lines that cannot be split into columns fail.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from hashlib import file_digest
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

from credit_risk_assets.config import tables
from credit_risk_assets.config.tables import Table
from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.expressions import to_polars
from credit_risk_assets.credit.features import DERIVED, feature_layers
from credit_risk_assets.credit.migration import tape_pairs
from credit_risk_assets.credit.portfolio import KPI_SUMS, MEASURES, SEGMENTS, shift_months, snapshot_dates
from credit_risk_assets.credit.profile import STATE_CODE_SQL, month_number
from credit_risk_assets.credit.roll_rates import WINDOW_MONTHS, months_with_tape, roll_rates, window
from credit_risk_assets.credit.vintage import EVENTS, LAST_AGE, vintage_curves
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES
from credit_risk_assets.tape.pseudonym import badly_marked, pseudonymise
from credit_risk_assets.tape.rows import BADLY_MARKED, parse_value, reason, rejected_frame, row_rules

ROW = "_row_number"
BATCH_ROWS = 262_144
WRITER = WriterProperties(compression="ZSTD", compression_level=1)
PROFILE = "payment_history_profile"
ON_BOOK = pl.col("loan_status").is_in(ON_BOOK_STATUSES)
AT_RISK = ON_BOOK & (pl.col("current_dpd") < 90)
OWN_NAMES = {feature.name for feature in DERIVED} | {"tape_kind", "as_of_month", "observation_date", "default_12m"}


class Peer:
    """One load of a landing folder into a lake."""

    def __init__(self, landing: Path, lake: Path, key: bytes) -> None:
        self.landing = landing
        self.lake = lake
        self.key = key
        self.today = datetime.now(UTC).date()
        self.run_id = f"{time.time_ns():x}"
        self.rows = 0
        self.stages: dict[str, dict[str, float]] = {}
        self.change_files: list[str] = []

    def stage(self, name: str, work: Callable[[], None]) -> None:
        """Do the work and note when it began and ended."""
        began = time.time()
        work()
        self.stages[name] = {"began": began, "ended": time.time()}

    def path(self, table: Table) -> str:
        """Where a table lies."""
        return str(self.lake / table.path)

    def scan(self, table: Table) -> pl.LazyFrame:
        """A table, lazily."""
        return pl.scan_delta(self.path(table))

    def write(self, table: Table, frame: pl.LazyFrame | pl.DataFrame) -> None:
        """Add a frame to a table in one commit, streamed."""
        frame.lazy().sink_delta(
            self.path(table),
            mode="append",
            delta_write_options={"partition_by": list(table.partition_by) or None, "writer_properties": WRITER},
        )

    # bronze

    def bronze(self) -> None:
        """Every landed file: rows that keep the contract, and the others with their reasons."""
        seen: set[str] = set()
        for kind, folder in (("full", self.landing), ("changes", self.landing / "changes")):
            files = [f for f in sorted(folder.iterdir()) if f.suffix in (".csv", ".parquet") and f.is_file()]
            for file in files:
                with file.open("rb") as stream:
                    content = file_digest(stream, "sha256").hexdigest()
                if content not in seen:
                    seen.add(content)
                    if kind == "changes":
                        self.change_files.append(content)
                    self._load(file, file.name if kind == "full" else f"changes/{file.name}", content)

    def _load(self, file: Path, name: str, content: str) -> None:
        texts, extra = tape_texts(file)
        missing = [column for column in contract.NAMES if column not in texts.collect_schema().names()]
        texts = texts.with_columns(
            [pl.lit(None, pl.String).alias(column) for column in missing]
            + [badly_marked(pl.col("customer_id")).alias(BADLY_MARKED)]
        ).with_columns(
            pl.col("customer_id").map_batches(
                lambda ids: pseudonymise(ids, self.key), return_dtype=pl.String, is_elementwise=True
            )
        )
        schema = texts.collect_schema()
        parsed = texts.select(
            [_typed(column, schema[column.name]) for column in contract.COLUMNS]
            + [pl.col(column).alias(f"{column}:text") for column in contract.NAMES]
            + [pl.col(column) for column in (*extra, BADLY_MARKED, ROW)]
        )
        rules = row_rules(self.today)
        bad = pl.any_horizontal([rule.broken.fill_null(value=False) for rule in rules])
        provenance = [
            pl.lit(name).alias("_source_file"),
            pl.lit(content).alias("_source_sha256"),
            pl.lit(datetime.now(UTC)).alias("_ingested_at"),
            pl.lit(self.run_id).alias("_run_id"),
        ]
        rows = parsed.with_columns(bad.alias("bad")).select(*contract.NAMES, *extra, ROW, *provenance, "bad")
        rejected: list[int] = []

        def accepted() -> Iterator[pa.RecordBatch]:
            for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"):
                self.rows += batch.height
                rejected.extend(batch.filter("bad")[ROW])
                yield from batch.filter(~pl.col("bad")).drop("bad").to_arrow(compat_level=OLDEST).to_batches()

        arrow = rows.drop("bad").collect_schema().to_frame().to_arrow(compat_level=OLDEST).schema
        write_deltalake(
            self.path(tables.LOAN_TAPE),
            pa.RecordBatchReader.from_batches(arrow, accepted()),
            mode="append",
            partition_by=list(tables.LOAN_TAPE.partition_by),
            schema_mode="merge",
            writer_properties=WRITER,
        )
        self._reject(texts, parsed, missing, rejected, provenance)

    def _reject(
        self, texts: pl.LazyFrame, parsed: pl.LazyFrame, missing: list[str], numbers: list[int], stamps: list[pl.Expr]
    ) -> None:
        """The rejected rows, read once more where there are any: their reasons, and their values as text."""
        found = []
        if numbers:
            rules = row_rules(self.today)
            chosen = pl.col(ROW).is_in(numbers)
            flags = [rule.broken.fill_null(value=False).alias(str(place)) for place, rule in enumerate(rules)]
            broken = parsed.filter(chosen).select(ROW, *flags).collect(engine="streaming").sort(ROW).drop(ROW)
            shown = [column for column in texts.collect_schema().names() if column not in missing]
            values = texts.filter(chosen).select(shown).drop(BADLY_MARKED).collect(engine="streaming").sort(ROW)
            values = values.with_columns([_text(values[column]) for column in values.columns if column != ROW])
            for row, flagged in zip(values.iter_rows(named=True), broken.iter_rows(), strict=True):
                number = row.pop(ROW)
                reasons = [reason(rules[place], row) for place, flag in enumerate(flagged) if flag]
                found.append((row["loan_id"], reasons, json.dumps(row, ensure_ascii=False), number))
        self.write(tables.REJECTED_RECORDS, rejected_frame(found).with_columns(stamps))

    # silver

    def silver(self) -> None:
        """The state of every loan, then and now."""
        self.loan_history()
        self.loans()

    def loan_history(self) -> None:
        """One row per loan and as-of date with every feature; of two, the one that came last."""
        tape = self.scan(tables.LOAN_TAPE)
        known = tape.collect_schema().names()
        extras = [name for name in known if name not in contract.BY_NAME and not name.startswith("_")]
        newest = ["_ingested_at", "_source_sha256", ROW]
        several = tape.group_by("loan_id", "as_of_date").len().filter(pl.col("len") > 1).drop("len")
        repeated = several.collect(engine="streaming")
        if repeated.height:
            rows = tape.select("loan_id", "as_of_date", *newest)
            rows = rows.join(repeated.lazy(), on=["loan_id", "as_of_date"], how="semi")
            older = rows.collect(engine="streaming").sort(newest, descending=True)
            older = older.filter(~pl.struct("loan_id", "as_of_date").is_first_distinct())
            tape = tape.join(older.lazy().select("_source_sha256", ROW), on=["_source_sha256", ROW], how="anti")
        states = tape.with_columns(installment()).select(
            *contract.NAMES,
            *[pl.col(name).alias(f"tape_{name}" if name in OWN_NAMES else name) for name in extras],
            "_source_sha256",
            ROW,
            "_ingested_at",
            pl.when(pl.col("_source_sha256").is_in(self.change_files))
            .then(pl.lit("changes"))
            .otherwise(pl.lit("full"))
            .alias("tape_kind"),
            pl.col("as_of_date").dt.strftime("%Y-%m").alias("as_of_month"),
        )
        for layer in feature_layers():
            states = states.with_columns([to_polars(sql).alias(name) for name, sql in layer.items()])
        self.write(tables.LOAN_HISTORY, states)

    def loans(self) -> None:
        """The latest state of each loan."""
        history = self.scan(tables.LOAN_HISTORY)
        latest = history.group_by("loan_id").agg(pl.col("as_of_date").max())
        self.write(tables.LOANS, history.join(latest, on=["loan_id", "as_of_date"], how="semi"))

    # gold

    def gold(self) -> None:
        """The figures of the portfolio."""
        self.portfolio()
        self.delinquency()

    def portfolio(self) -> None:
        """Counts and sums per segment and snapshot; key figures and cube come from them."""
        loans, history = self.scan(tables.LOANS), self.scan(tables.LOAN_HISTORY)
        newest = loans.select(pl.col("as_of_date").max()).collect().item()
        dates = snapshot_dates(self.full_tapes, newest)
        starts = {day: shift_months(day, -12) for day in dates if shift_months(day, -12) in self.full_tapes}
        parts = [segment_sums(loans, history, day, starts.get(day), current=day == newest) for day in dates]
        segments = pl.concat(parts)
        cube = segments.with_columns(pl.col("as_of_date").dt.strftime("%Y-%m").alias("as_of_month"))
        cube = cube.filter(pl.col("as_of_date") == pl.col("as_of_date").max().over("as_of_month"))
        self.write(tables.PORTFOLIO_CUBE, cube.select("as_of_month", "as_of_date", *SEGMENTS, *MEASURES))
        self.write(tables.PORTFOLIO_KPIS, key_figures(segments, newest))

    def delinquency(self) -> None:
        """Vintage curves, roll rates and the migration of the risk category."""
        loans, history = self.scan(tables.LOANS), self.scan(tables.LOAN_HISTORY)
        tapes = self.full_tapes or [loans.select(pl.col("as_of_date").max()).collect().item()]
        events = first_events(loans, max(tapes))
        curves = pl.DataFrame(vintage_curves(events.to_arrow(), min(tapes), max(tapes)))
        self.write(tables.VINTAGE_CURVES, curves)
        pairs = bucket_pairs(loans, history, tapes)
        self.write(tables.ROLL_RATES, pl.DataFrame(roll_rates(pairs.to_arrow(), tapes)))
        moves = [migration(history, start, end) for start, end in tape_pairs(tapes)]
        self.write(tables.RATING_MIGRATION, pl.concat(moves) if moves else MIGRATION.to_frame())

    @property
    def full_tapes(self) -> list[date]:
        """The as-of dates of full tapes."""
        full = self.scan(tables.LOAN_HISTORY).filter(pl.col("tape_kind") == "full")
        return sorted(full.select(pl.col("as_of_date").unique()).collect(engine="streaming").to_series())

    def run(self) -> None:
        """All tables in order."""
        self.lake.mkdir(parents=True)
        self.stage("bronze", self.bronze)
        self.stage("silver", self.silver)
        self.stage("gold", self.gold)


OLDEST = pl.CompatLevel.oldest()
MIGRATION = pl.Schema(
    {
        "from_date": pl.Date,
        "to_date": pl.Date,
        "loan_purpose": pl.String,
        "from_state": pl.String,
        "to_state": pl.String,
        "loans": pl.Int64,
        "from_balance": pl.Float64,
        "to_balance": pl.Float64,
    }
)


def tape_texts(file: Path) -> tuple[pl.LazyFrame, list[str]]:
    """A tape with its row numbers, blanks as null: text from CSV, the file's types from Parquet; and extra columns."""
    if file.suffix == ".csv":
        frame = pl.scan_csv(file, infer_schema=False, row_index_name=ROW, row_index_offset=1)
    else:
        frame = pl.scan_parquet(file, row_index_name=ROW, row_index_offset=1)
    schema = frame.collect_schema()
    names = {name: name.strip().lower() for name in schema.names() if name != ROW}
    cleaned = []
    for name, own in names.items():
        value = pl.col(name)
        if schema[name] == pl.String:
            value = value.str.strip_chars()
            value = pl.when(value != "").then(value)
        elif schema[name].is_float():
            value = pl.when(value.is_not_nan()).then(value)
        cleaned.append(value.alias(own))
    extra = [own for own in names.values() if own not in contract.BY_NAME]
    return frame.select(*cleaned, pl.col(ROW).cast(pl.Int64)), extra


TYPES = {"string": pl.String, "date": pl.Date, "double": pl.Float64, "int": pl.Int32}


def _typed(column: contract.Column, found: pl.DataType) -> pl.Expr:
    """The column in the contract's type: parsed where the file holds text."""
    if found == TYPES[column.type] and column.type != "string":
        return pl.col(column.name)
    return parse_value(column.name, column).alias(column.name)


def _text(values: pl.Series) -> pl.Series:
    """A rejected row's value as the tape's text."""
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        return (
            pl.select(
                pl.when(values == whole.cast(pl.Float64)).then(whole.cast(pl.String)).otherwise(values.cast(pl.String))
            )
            .to_series()
            .alias(values.name)
        )
    return values.cast(pl.String)


def installment() -> pl.Expr:
    """The monthly payment of an annuity where the tape has none."""
    amount, term, rate = pl.col("loan_amount"), pl.col("term_months"), pl.col("interest_rate") / 1200
    payment = pl.when(rate == 0).then(amount / term).otherwise(amount * rate / (1 - (1 + rate) ** -term))
    return pl.coalesce("installment", payment.round(2, mode="half_away_from_zero")).alias("installment")


def observed_profile() -> pl.Expr:
    """The codes of the months since origination, newest first; the present one alone without a profile."""
    given = pl.when(pl.col(PROFILE) != "").then(pl.col(PROFILE))
    return pl.coalesce(given, to_polars(STATE_CODE_SQL)).str.head(pl.col("months_on_book") + 1)


def segment_sums(
    loans: pl.LazyFrame, history: pl.LazyFrame, day: date, start: date | None, *, current: bool
) -> pl.DataFrame:
    """Counts and sums per segment at one snapshot, with what became of the loans at risk a year before."""
    known = [pl.col(name).fill_null("unknown") for name in SEGMENTS]
    numbers = ["current_dpd", "outstanding_balance", "loan_amount", "interest_rate", "expected_loss_proxy"]

    def of_tape(tape: date) -> pl.LazyFrame:
        return history.filter(
            pl.col("as_of_month") == f"{tape:%Y-%m}", pl.col("as_of_date") == tape, pl.col("tape_kind") == "full"
        )

    defaulted = pl.col(PROFILE).fill_null("").str.head(12).str.contains(f"[{contract.DEFAULT_CODES}]")
    rows = (loans if current else of_tape(day)).select("loan_id", *known, *numbers, defaulted.alias("defaulted"))
    present = rows.with_columns(pl.lit(value=True).alias("present"))
    if start is None:
        joined = present.with_columns(pl.lit(value=False).alias("at_risk"))
    else:
        begun = of_tape(start).filter(AT_RISK).select(
            "loan_id", *[pl.col(name).fill_null("unknown").alias(f"start_{name}") for name in SEGMENTS],
            pl.lit(value=True).alias("at_risk"),
        )  # fmt: skip
        joined = present.join(begun, on="loan_id", how="full", coalesce=True).with_columns(
            *[pl.coalesce(name, f"start_{name}").alias(name) for name in SEGMENTS],
            pl.col("present", "at_risk").fill_null(value=False),
            pl.col("defaulted").fill_null(value=False),
        )
    here, late = pl.col("present"), pl.col("current_dpd")
    balance = pl.col("outstanding_balance")

    def count(condition: pl.Expr) -> pl.Expr:
        return condition.fill_null(value=False).sum().cast(pl.Int64)

    def total(value: pl.Expr, condition: pl.Expr = here) -> pl.Expr:
        return value.filter(condition.fill_null(value=False)).cast(pl.Float64).sum()

    sums = joined.group_by(SEGMENTS).agg(
        loans=count(here),
        balance=total(balance),
        loan_amount=total(pl.col("loan_amount")),
        dpd_days=total(late),
        expected_loss=total(pl.col("expected_loss_proxy")),
        interest_balance=total(pl.col("interest_rate") * balance),
        high_risk_loans=count(here & pl.col("risk_category").is_in(["High", "Very High"])),
        observed_start_loans=count(pl.col("at_risk")),
        observed_defaults=count(pl.col("at_risk") & pl.col("defaulted")),
        default_balance=total(balance, here & (late >= 90)),
        loans_30_dpd=count(here & (late >= 30)),
        loans_90_dpd=count(here & (late >= 90)),
    )
    return sums.select(pl.lit(day).alias("as_of_date"), *SEGMENTS, *MEASURES).collect(engine="streaming")


def key_figures(segments: pl.DataFrame, newest: date) -> pl.DataFrame:
    """The key figures per snapshot, over the loans on book."""
    every = [pl.col(measure).sum().alias(f"{name}_") for name, measure in KPI_SUMS.items()]
    sums = segments.group_by("as_of_date").agg(*every, *[pl.col(name).filter(ON_BOOK).sum() for name in MEASURES])

    def over(part: str, whole: str) -> pl.Expr:
        base = pl.col(whole)
        return pl.col(part).cast(pl.Float64) / pl.when(base != 0).then(base)

    return sums.select(
        "as_of_date",
        loans=pl.col("all_loans_").cast(pl.Int64),
        active_loans=pl.col("loans").cast(pl.Int64),
        portfolio_value=pl.col("balance"),
        default_rate=over("defaulted_", "started_"),
        npl_ratio=over("default_balance", "balance"),
        average_dpd=over("dpd_days", "loans"),
        high_risk_loans=pl.col("high_risk_loans").cast(pl.Int64),
        expected_loss=pl.col("expected_loss"),
        delinquent_30_share=over("loans_30_dpd", "loans"),
        delinquent_90_share=over("loans_90_dpd", "loans"),
        is_current_state=pl.col("as_of_date") == newest,
    )


def month_numbers(column: str) -> pl.Expr:
    """Calendar months since year 0."""
    return pl.col(column).dt.year() * 12 + pl.col(column).dt.month().cast(pl.Int32) - 1


def first_events(loans: pl.LazyFrame, newest: date) -> pl.DataFrame:
    """Loans and cents by cohort, last observed age, event and the age at which it first came."""
    until, age = month_number(newest.year, newest.month), pl.col("months_on_book")
    known = pl.max_horizontal(age, until - month_numbers("origination_date"))
    codes = pl.col("codes")
    aged = loans.select(
        pl.col("origination_quarter").fill_null("unknown"),
        pl.col("loan_purpose").fill_null("unknown"),
        "loan_amount",
        pl.min_horizontal(pl.when(ON_BOOK).then(age).otherwise(known), pl.lit(LAST_AGE, pl.Int32)).alias("last_age"),
        "months_on_book",
        observed_profile().alias("codes"),
    )

    def first(wanted: str) -> pl.Expr:
        others = "".join(code for code in contract.PROFILE_CODES if code not in wanted)
        position = codes.str.strip_chars_end(others).str.len_bytes().cast(pl.Int32)
        return pl.when(position > 0).then(age + 1 - position)

    events = {
        "loan": pl.lit(0, pl.Int32),
        "unseen": pl.when(codes.str.len_bytes() < age).then(pl.lit(0, pl.Int32)),
        **{name: first(wanted) for name, wanted in EVENTS.items()},
    }
    keys = ["origination_quarter", "loan_purpose", "last_age"]
    counted = aged.select(*keys, "loan_amount", *[expr.alias(name) for name, expr in events.items()])
    # Loans alike are counted before they are made one row an event.
    alike = counted.group_by(*keys, *events).agg(pl.len().alias("loans"), pl.col("loan_amount").sum())
    long = alike.collect(engine="streaming").unpivot(
        on=list(events), index=[*keys, "loans", "loan_amount"], variable_name="event", value_name="age"
    )
    return (
        long.filter(pl.col("age") <= LAST_AGE)
        .group_by(*keys, "event", "age")
        .agg(
            pl.col("loans").sum().cast(pl.Int64),
            (pl.col("loan_amount").sum() * 100).round().cast(pl.Int64).alias("cents"),
        )
    )


def bucket_pairs(loans: pl.LazyFrame, history: pl.LazyFrame, tapes: list[date]) -> pl.DataFrame:
    """Loans and balance by month, purpose and neighbouring bucket codes."""
    first, last = window(tapes)
    profile = observed_profile()
    for code, short in zip("GHJKBD", "LLLL--", strict=True):
        profile = profile.str.replace_all(code, short, literal=True)
    cut = loans.select(month_numbers("as_of_date").alias("newest"), "loan_purpose", profile.alias("codes"))
    # Equal profiles of the window are counted first; only the different ones are looked at month by month.
    alike = (
        cut.with_columns(pl.col("codes").str.head(WINDOW_MONTHS + 13))
        .group_by("newest", "loan_purpose", "codes")
        .agg(pl.len().cast(pl.Int64).alias("loans"))
        .collect(engine="streaming")
    )
    parts = []
    for place in range(WINDOW_MONTHS + 12):
        month = pl.col("newest") - place
        part = alike.filter(pl.col("codes").str.len_bytes() > place, month.is_between(first, last)).select(
            month.alias("month_number"),
            "loan_purpose",
            pl.col("codes").str.slice(place + 1, 1).alias("from_code"),
            pl.col("codes").str.slice(place, 1).alias("to_code"),
            "loans",
        )
        parts.append(part.group_by("month_number", "loan_purpose", "from_code", "to_code").agg(pl.col("loans").sum()))
    counts = pl.concat(parts).with_columns(pl.lit(None, pl.Float64).alias("balance"))
    for day in months_with_tape(tapes).values():
        taped = history.filter(pl.col("as_of_month") == f"{day:%Y-%m}", pl.col("as_of_date") == day)
        balances = (
            taped.select("loan_purpose", profile.str.head(2).alias("codes"), "outstanding_balance")
            .group_by("loan_purpose", "codes")
            .agg(pl.col("outstanding_balance").sum().alias("balance"))
            .collect(engine="streaming")
        )
        counts.vstack(
            balances.select(
                pl.lit(month_number(day.year, day.month), pl.Int32).alias("month_number"),
                "loan_purpose",
                pl.col("codes").str.slice(1, 1).alias("from_code"),
                pl.col("codes").str.slice(0, 1).alias("to_code"),
                pl.lit(0, pl.Int64).alias("loans"),
                "balance",
            ),
            in_place=True,
        )
    keys = ["month_number", "loan_purpose", "from_code", "to_code"]
    return counts.group_by(keys).agg(pl.col("loans").sum(), pl.col("balance").sum())


def migration(history: pl.LazyFrame, start: date, end: date) -> pl.DataFrame:
    """Loans and balance by category on one full tape and on the next."""
    state = (
        pl.when(ON_BOOK)
        .then(pl.when(to_polars(in_default_sql())).then(pl.lit("Default")).otherwise("risk_category"))
        .when(pl.col("loan_status") == "charged_off")
        .then(pl.lit("Charged off"))
        .otherwise(pl.lit("Paid off"))
    )

    def states(day: date, side: str) -> pl.LazyFrame:
        taped = history.filter(pl.col("as_of_month") == f"{day:%Y-%m}", pl.col("as_of_date") == day)
        return taped.select(
            "loan_id",
            pl.col("loan_purpose").alias(f"{side}_purpose"),
            state.alias(f"{side}_state"),
            pl.when(ON_BOOK).then("outstanding_balance").otherwise(0.0).alias(f"{side}_balance"),
        )

    joined = states(start, "from").join(states(end, "to"), on="loan_id", how="full", coalesce=True)
    sums = joined.group_by(
        pl.coalesce("to_purpose", "from_purpose").alias("loan_purpose"),
        pl.col("from_state").fill_null("New"),
        pl.col("to_state").fill_null("Lost"),
    ).agg(pl.len().cast(pl.Int64).alias("loans"), pl.col("from_balance").sum(), pl.col("to_balance").sum())
    closed = ["Paid off", "Charged off"]
    gone = pl.col("from_state").is_in(closed) & pl.col("to_state").is_in(["Lost", *closed])
    return (
        sums.filter(~gone)
        .select(pl.lit(start).alias("from_date"), pl.lit(end).alias("to_date"), *list(MIGRATION)[2:])
        .collect(engine="streaming")
    )


def main() -> None:
    """Load the landing folder and say how long each layer took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("landing", "lake", "key", "json"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    peer = Peer(given.landing, given.lake, given.key.read_bytes())
    peer.run()
    given.json.write_text(json.dumps({"rows": peer.rows, "stages": peer.stages}), encoding="utf-8")


if __name__ == "__main__":
    main()
