"""Puts many users at once before a dashboard, and says how fast it answers and what its workers hold.

    python docs/load_dashboard.py --home HOME --users 20 --seconds 60 --export

Starts the dashboard of HOME without log-in on a free port of 127.0.0.1 and ends it again. Each user opens pages
and changes filters as the browser does (the same requests, without drawing), and waits `--think` seconds between,
at random around it. `docs/make_large_home.py` makes homes of any size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import psutil

ROOT = Path(__file__).resolve().parent.parent
CHOICES = {
    "risk": ("Low", "Medium", "High", "Very High"),
    "rating": ("Very Low", "Low", "Medium", "High", "Very High"),
    "purpose": ("home", "auto", "education", "personal", "business", "medical", "debt_consolidation", "other"),
    "status": ("current", "delinquent", "default"),
    "score": ("300-579", "580-619", "620-659", "660-699", "700-739", "740-799", "800-900"),
    "dpd": ("0", "1-29", "30-59", "60-89", "90-119"),
    "from": ("2021-Q1", "2022-Q1", "2023-Q3", "2024-Q2"),
}
SORTED_BY = ("outstanding_balance", "pd_12m", "loan_id", "risk_rating", "current_dpd")
START_SECONDS = 300


class Client:
    """One user's browser: cookies, and callbacks as Dash's renderer calls them."""

    def __init__(self, base: str) -> None:
        self.base, self.jar = base, CookieJar()
        self.opener: OpenerDirector = build_opener(HTTPCookieProcessor(self.jar))
        self.get("/")
        self.callbacks = {entry["output"]: entry for entry in json.loads(self.get("/_dash-dependencies"))}

    def get(self, path: str) -> bytes:
        """The body of a page; raises where it is no 200."""
        with self.opener.open(self.base + path, timeout=120) as answer:
            return bytes(answer.read())

    def call(self, output: str, **values: Any) -> Any:
        """The answer of the callback whose output begins so; `values` by component and property: `x__value`."""
        name = next(found for found in self.callbacks if found.lstrip(".").startswith(output))
        entry = self.callbacks[name]

        def filled(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
            return [{**part, "value": values.get(f"{part['id']}__{part['property']}")} for part in parts]

        names = [part.rsplit(".", 1) for part in name.strip(".").split("...")]
        outputs = [{"id": place, "property": what.split("@")[0]} for place, what in names]
        body = {
            "output": name,
            "outputs": outputs if name.startswith("..") else outputs[0],
            "inputs": filled(entry["inputs"]),
            "state": filled(entry["state"]),
            "changedPropIds": [],
        }
        token = next((cookie.value for cookie in self.jar if "csrf" in cookie.name), "") or ""
        headers = {"Content-Type": "application/json", "X-CSRFToken": token}
        request = Request(f"{self.base}/_dash-update-component", json.dumps(body).encode(), headers)
        with self.opener.open(request, timeout=120) as answer:
            return json.loads(answer.read() or b"null")

    def lay_out(self, path: str, query: str = "") -> None:
        """Dash's router lays a page out."""
        place = {"_pages_location__pathname": path, "_pages_location__search": f"?{query}" if query else ""}
        self.call("_pages_content.children", **place)

    def portfolio(self, query: str) -> None:
        """The numbers and charts of the portfolio page."""
        values = {"filter-state__data": query, "heat-measure__value": "balance"}
        self.call("portfolio-notice", **values)

    def loans(self, query: str, search: str = "", sort: str = "outstanding_balance", start: int = 0) -> list[str]:
        """The head and one block of the loan list; gives the loans' ids."""
        view = {"filter-state__data": query, "loan-search__value": search, "loan-only__value": ""}
        self.call("loans-notice", **view)
        asked = {
            "startRow": start,
            "endRow": start + 100,
            "filterModel": {},
            "sortModel": [{"colId": sort, "sort": "desc"}],
        }
        answer = self.call("loan-grid.getRowsResponse", **view, **{"loan-grid__getRowsRequest": asked})
        return [row["loan_id"] for row in answer["response"]["loan-grid"]["getRowsResponse"]["rowData"]]

    def loan(self, loan_id: str) -> None:
        """The page of one loan, with the explanation of its PD."""
        self.lay_out(f"/loan/{loan_id}")
        self.call("loan-notice", **{"loan-id__data": loan_id})
        self.call("loan-waterfall.figure", **{"loan-id__data": loan_id})


class User(threading.Thread):
    """Opens pages and changes filters until the time is over."""

    def __init__(
        self, base: str, until: float, think: float, seed: int, note: Callable[[str, float, str], None]
    ) -> None:
        super().__init__(daemon=True)
        self.client, self.until, self.think, self.note = Client(base), until, think, note
        self.luck = random.Random(seed)
        self.seen = ["L0000000000"]

    def run(self) -> None:
        """One action after another."""
        actions: dict[str, tuple[int, Callable[[], None]]] = {
            "page: portfolio": (3, self._open_portfolio),
            "page: loans": (2, self._open_loans),
            "page: one loan": (1, lambda: self.client.loan(self.luck.choice(self.seen))),
            "filter: portfolio": (8, lambda: self.client.portfolio(self._view())),
            "filter: loans": (4, self._filter_loans),
            "versions": (2, lambda: self._ask_versions()),
        }
        names, weights = list(actions), [weight for weight, _ in actions.values()]
        time.sleep(self.luck.random() * self.think)
        while time.monotonic() < self.until:
            name = self.luck.choices(names, weights)[0]
            began, problem = time.perf_counter(), ""
            try:
                actions[name][1]()
            except (HTTPError, URLError, OSError, KeyError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            self.note(name, time.perf_counter() - began, problem)
            time.sleep(self.think * (0.5 + self.luck.random()))

    def _view(self) -> str:
        keys = self.luck.sample(sorted(CHOICES), self.luck.randint(1, 3))
        return urlencode([(key, self.luck.choice(CHOICES[key])) for key in keys])

    def _open_portfolio(self) -> None:
        self.client.get("/")
        self.client.lay_out("/")
        self.client.portfolio("")

    def _open_loans(self) -> None:
        self.client.lay_out("/loans")
        self.seen = self.client.loans("") or self.seen

    def _filter_loans(self) -> None:
        search = self.luck.choice(["", "", "", f"L{self.luck.randint(0, 99):06d}", "auto"])
        self.seen = self.client.loans(self._view(), search, self.luck.choice(SORTED_BY)) or self.seen

    def _ask_versions(self) -> None:
        self.client.call("table-versions.data", **{"table-versions__data": "", "refresh-tick__n_intervals": 1})


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(home: Path, workers: int, port: int) -> subprocess.Popen[bytes]:
    """The dashboard of a home, without log-in."""
    environment = {
        **os.environ,
        "CREDIT_RISK_HOME": str(home),
        "CREDIT_RISK__DASHBOARD__PORT": str(port),
        "CREDIT_RISK__DASHBOARD__WORKERS": str(workers),
    }
    command = [sys.executable, "-m", "dash_app", "--no-auth"]
    return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait(base: str, server: subprocess.Popen[bytes], workers: int) -> None:
    """Until the server answers and its workers have read what the pages need."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            client = Client(base)
            break
        except (URLError, OSError):
            time.sleep(0.5)
    else:
        raise SystemExit(f"{base}: the dashboard does not answer")
    for _ in range(workers * 8):  # any worker may take a request
        client.portfolio("")
        client.loan(client.loans("")[0])  # the first one loads the model


def memory(server: subprocess.Popen[bytes]) -> list[dict[str, float]]:
    """Each worker's memory in MB: its own, with mapped files that are shared, and the most it ever had."""
    found = []
    for worker in psutil.Process(server.pid).children():
        status = Path(f"/proc/{worker.pid}/status").read_text()
        sizes = {
            line.split(":")[0]: int(line.split()[1]) / 1024 for line in status.splitlines() if line.endswith(" kB")
        }
        own = sizes["RssAnon"]
        found.append({"own": own, "resident": sizes["VmRSS"], "most": sizes["VmHWM"]})
    return found


def export(base: str, server: subprocess.Popen[bytes], kind: str) -> str:
    """Download every loan in view; how long, how much, and what the workers held meanwhile."""
    client, size, most, began = Client(base), 0, 0.0, time.perf_counter()
    before = max(worker["own"] for worker in memory(server))
    with client.opener.open(f"{base}/export/loans.{kind}?{EVERY}", timeout=600) as answer:
        while piece := answer.read(1 << 22):
            size += len(piece)
            most = max(most, *(worker["own"] for worker in memory(server)))
    seconds = time.perf_counter() - began
    return (
        f"export {kind}: {size / 1e6:,.0f} MB in {seconds:.0f} s; "
        f"a worker's own memory {before:,.0f} MB before, at most {most:,.0f} MB"
    )


EVERY = urlencode([("status", s) for s in ("current", "delinquent", "default", "charged_off", "paid_off")])


def percentile(values: list[float], part: float) -> float:
    """The value that `part` of the values do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(part * len(ranked)))]


def main() -> int:
    """Run the users, print the figures; 1 where a request failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="a filled home")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--think", type=float, default=4.0, help="mean seconds between two actions of a user")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--export", action="store_true", help="download all loans as CSV and Parquet afterwards")
    wanted = parser.parse_args()
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    times: dict[str, list[float]] = defaultdict(list)
    problems: list[str] = []

    def note(kind: str, seconds: float, problem: str) -> None:
        times[kind].append(seconds)
        if problem:
            problems.append(f"{kind}: {problem}")

    server = start(wanted.home.resolve(), wanted.workers, port)
    try:
        began = time.perf_counter()
        wait(base, server, wanted.workers)
        print(f"ready after {time.perf_counter() - began:.0f} s")
        until = time.monotonic() + wanted.seconds
        users = [User(base, until, wanted.think, seed, note) for seed in range(wanted.users)]
        for user in users:
            user.start()
        for user in users:
            user.join()
        print(f"{wanted.users} users, {wanted.seconds:.0f} s, {sum(map(len, times.values()))} actions")
        for kind, values in sorted(times.items()):
            figures = [percentile(values, part) * 1000 for part in (0.5, 0.95, 1)]
            print(
                f"  {kind:18s} {len(values):5d}  p50 {figures[0]:6.0f} ms  p95 {figures[1]:6.0f} ms  "
                f"max {figures[2]:6.0f} ms"
            )
        for worker in memory(server):
            print("  worker " + ", ".join(f"{name} {size:,.0f} MB" for name, size in worker.items()))
        print(f"  errors: {len(problems)}", *problems[:5], sep="\n    " if problems else "")
        if wanted.export:
            for kind in ("csv", "parquet"):
                print("  " + export(base, server, kind))
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
