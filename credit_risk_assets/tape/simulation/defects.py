"""Defects on demand: put into written CSV tapes at stated rates, with a ledger of what was put where."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulation.defect_kinds import BROKEN_BYTE, KINDS, Row
from credit_risk_assets.tape.simulation.timeline import SimulationError

FILE_KINDS = ("drift", "late_tape", "resent_file")
LEDGER_COLUMNS = ("kind", "file", "row_number", "loan_id", "column", "found", "written")
CHUNK_ROWS = 65_536
LATEST_TAPE = re.compile(r"loan_portfolio_data(_part-\d+)?\.csv")


@dataclass(frozen=True)
class Defect:
    """One line of a specification: a kind, the share of rows it hits, the columns and the tapes it hits.

    `tapes` is `all`, `latest` or `older`; `factor` and `shift` move a drifting column.
    """

    kind: str
    rate: float = 1.0
    columns: tuple[str, ...] = ()
    tapes: str = "all"
    factor: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class DefectResult:
    """How many defects of each kind were put in, where the ledger lies, and the tapes as they are now."""

    counts: dict[str, int]
    ledger: Path
    files: tuple[Path, ...]


def read_defects(file: Path) -> tuple[int, list[Defect]]:
    """A specification's seed and defects; `SimulationError`, one line naming file and entry, where it is wrong."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SimulationError(f"defects {file}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SimulationError(f"defects {file}: no YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict) or not isinstance(content.get("defects"), list):
        raise SimulationError(f"defects {file}: expected a list under the key 'defects'")
    defects = [_read_one(file, number, entry) for number, entry in enumerate(content["defects"], 1)]
    by_row = sum(defect.rate for defect in defects if defect.kind in KINDS)
    if by_row > 1:
        raise SimulationError(f"defects {file}: rates add up to {by_row:g}; a row takes one defect, so expected <= 1")
    return int(content.get("seed", 1)), defects


def _read_one(file: Path, number: int, entry: Any) -> Defect:
    where = f"defects {file}, entry {number}"
    known = ", ".join([*KINDS, *FILE_KINDS])
    if not isinstance(entry, dict) or entry.get("kind") not in [*KINDS, *FILE_KINDS]:
        found = entry.get("kind") if isinstance(entry, dict) else entry
        raise SimulationError(f"{where}: found kind {found!r}, expected one of {known}")
    extra = set(entry) - {"kind", "rate", "columns", "tapes", "factor", "shift"}
    if extra:
        raise SimulationError(f"{where}: key {sorted(extra)[0]!r} is not known; expected kind, rate, columns, tapes")
    kind = entry["kind"]
    rate = entry.get("rate", None if kind in KINDS else 1.0)
    if not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise SimulationError(f"{where} ({kind}): found rate {rate!r}, expected a share from 0 to 1")
    columns = tuple(entry.get("columns") or (KINDS[kind].columns if kind in KINDS else ()))
    unknown = [name for name in columns if name not in contract.BY_NAME]
    if unknown:
        raise SimulationError(f"{where} ({kind}): column {unknown[0]!r} is not of the contract")
    if kind == "drift" and not columns:
        raise SimulationError(f"{where} (drift): expected columns, and a factor or a shift")
    tapes = entry.get("tapes", "latest" if kind in FILE_KINDS else "all")
    if tapes not in ("all", "latest", "older"):
        raise SimulationError(f"{where} ({kind}): found tapes {tapes!r}, expected all, latest or older")
    return Defect(kind, float(rate), columns, tapes, float(entry.get("factor", 1)), float(entry.get("shift", 0)))


def inject_defects(files: Sequence[Path], specification: Path, ledger: Path) -> DefectResult:
    """Spoil CSV tapes in place as a specification says and write the ledger; the rows hit are drawn at random.

    A row takes one defect at most, chosen without a look at its values, so that defects are independent of
    default. Row numbers in the ledger count the data rows of the spoilt file from 1. `late_tape` moves a file to
    the folder `late/` beside it, to be landed afterwards; `resent_file` adds a copy under another name.
    """
    seed, defects = read_defects(specification)
    tapes = [file for file in files if "sample" not in file.name]
    for file in tapes:
        if file.suffix != ".csv":
            raise SimulationError(f"{file.name}: defects are put into CSV tapes; simulate with the format csv")
    ledger.parent.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    current: list[Path] = []
    with ledger.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, LEDGER_COLUMNS, lineterminator="\n")
        writer.writeheader()
        for order, file in enumerate(tapes):
            latest = LATEST_TAPE.fullmatch(file.name) is not None
            mine = [d for d in defects if d.tapes == "all" or (d.tapes == "latest") == latest]
            spoiler = _Spoiler(file, mine, np.random.default_rng([seed, order]))
            for entry in spoiler.run():
                writer.writerow(entry)
                counts[entry["kind"]] += 1
            for entry, path in _files(file, mine):
                writer.writerow(entry)
                counts[entry["kind"]] += 1
                current.append(path)
            if file.exists():
                current.append(file)
    return DefectResult(dict(counts), ledger, tuple(current))


def _files(file: Path, defects: list[Defect]) -> Iterator[tuple[dict[str, Any], Path]]:
    for defect in defects:
        entry = dict.fromkeys(LEDGER_COLUMNS, "") | {"kind": defect.kind, "file": file.name}
        if defect.kind == "resent_file":
            copy = file.with_name(f"{file.stem}_resent{file.suffix}")
            shutil.copyfile(file, copy)
            yield entry | {"written": copy.name}, copy
        if defect.kind == "late_tape":
            late = file.parent / "late" / file.name
            late.parent.mkdir(exist_ok=True)
            file.rename(late)
            yield entry | {"written": f"late/{late.name}"}, late


class _Spoiler:
    """Rewrites one CSV tape chunk by chunk, flat in memory."""

    def __init__(self, file: Path, defects: list[Defect], generator: np.random.Generator) -> None:
        self.file = file
        self.rows = [defect for defect in defects if defect.kind in KINDS]
        self.drifts = [defect for defect in defects if defect.kind == "drift"]
        self.generator = generator
        self.written = 0

    def run(self) -> Iterator[dict[str, Any]]:
        temporary = self.file.with_name(f".{self.file.name}.part")
        with self.file.open("rb") as source, temporary.open("wb") as target:
            header = source.readline()
            target.write(header)
            while lines := b"".join(islice(source, CHUNK_ROWS)):
                frame = pl.read_csv(io.BytesIO(header + lines), infer_schema=False)
                entries, frame = self._chunk(frame)
                yield from entries
                buffer = io.BytesIO()
                frame.write_csv(buffer, include_header=False)
                target.write(buffer.getvalue().replace(BROKEN_BYTE.encode(), b"\xe9"))
                self.written += frame.height
        temporary.replace(self.file)
        for defect in self.drifts:
            for name in defect.columns:
                change = f"x {defect.factor:g} + {defect.shift:g}"
                yield dict.fromkeys(LEDGER_COLUMNS, "") | {
                    "kind": "drift", "file": self.file.name, "column": name, "written": change,
                }  # fmt: skip

    def _chunk(self, frame: pl.DataFrame) -> tuple[list[dict[str, Any]], pl.DataFrame]:
        for defect in self.drifts:
            moved = [
                (pl.col(name).cast(pl.Float64) * defect.factor + defect.shift).round(4).cast(pl.String)
                for name in defect.columns
            ]
            frame = frame.with_columns(moved)
        order = self.generator.permutation(frame.height)
        texts: dict[int, list[Row]] = {}
        entries: list[tuple[int, dict[str, Any]]] = []
        begin = 0
        for defect in self.rows:
            wanted = frame.height * defect.rate
            count = int(wanted) + int(self.generator.random() < wanted - int(wanted))
            kind = KINDS[defect.kind]
            for place in order[begin : begin + count]:
                row: Row = frame.row(int(place), named=True)
                spoilt = dict(row)
                column = kind.spoil(spoilt, defect.columns, self.generator)
                if column is None:
                    continue
                texts[int(place)] = [row, spoilt] if kind.again else [spoilt]
                name = column.split("+", maxsplit=1)[0]
                entry = {
                    "kind": defect.kind, "file": self.file.name, "loan_id": row["loan_id"], "column": column,
                    "found": row.get(name), "written": (spoilt.get(name) or "").replace(BROKEN_BYTE, "\\xe9"),
                }  # fmt: skip
                entries.append((int(place), entry))
            begin += count
        return self._merge(frame, texts, entries)

    def _merge(
        self, frame: pl.DataFrame, texts: dict[int, list[Row]], entries: list[tuple[int, dict[str, Any]]]
    ) -> tuple[list[dict[str, Any]], pl.DataFrame]:
        places = sorted(texts)
        spoilt = pl.DataFrame(
            [row for place in places for row in texts[place]], schema=frame.schema, orient="row"
        ).with_columns(_place=pl.Series([p for p in places for _ in texts[p]], dtype=pl.UInt32))
        kept = frame.with_row_index("_place").filter(~pl.col("_place").is_in(pl.Series(places, dtype=pl.UInt32)))
        merged = pl.concat([kept, spoilt.select(kept.columns)]).sort("_place", maintain_order=True)
        extra = np.cumsum(np.bincount([p for p in places if len(texts[p]) == 2], minlength=frame.height or 1))
        numbered = [
            entry | {"row_number": self.written + place + 1 + int(extra[place])}
            for place, entry in sorted(entries, key=lambda item: item[0])
        ]
        return numbered, merged.drop("_place")
