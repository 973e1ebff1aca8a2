"""What a process and everything it starts take of the machine, sampled from outside while it runs."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import psutil

PERIOD_SECONDS = 0.1


@dataclass(frozen=True)
class Sample:
    """Resident bytes of the process tree at a moment (seconds since 1970), and its processor seconds so far.

    `own_bytes` leaves out the pages of mapped files, which the system can take back; `java_bytes` is the JVM's part,
    `python_bytes` that of the process that was started.
    """

    at: float
    resident_bytes: int
    own_bytes: int
    java_bytes: int
    python_bytes: int
    processor_seconds: float


@dataclass(frozen=True)
class Peaks:
    """The highest of each within a stretch of time, and the processor seconds spent in it."""

    peak_bytes: int
    peak_own_bytes: int
    peak_java_bytes: int
    peak_python_bytes: int
    processor_seconds: float


class ProcessSampler:
    """Samples a process tree in a thread of its own until it is stopped."""

    def __init__(self, pid: int, period_seconds: float = PERIOD_SECONDS) -> None:
        self._root = psutil.Process(pid)
        self._period = period_seconds
        self._samples: list[Sample] = []
        self._ended: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> ProcessSampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def samples(self) -> list[Sample]:
        """What was seen so far, oldest first."""
        return list(self._samples)

    def _watch(self) -> None:
        while True:
            try:
                self._samples.append(self._look())
            except psutil.Error:
                return
            if self._stop.wait(self._period):
                return

    def _look(self) -> Sample:
        resident = own = java = python = 0
        for process in [self._root, *self._root.children(recursive=True)]:
            try:
                with process.oneshot():
                    memory, spent = process.memory_info(), process.cpu_times()
                    name = process.name()
            except psutil.Error:
                if process == self._root:
                    raise
                continue
            resident += memory.rss
            own += memory.rss - memory.shared
            java += memory.rss if name == "java" else 0
            python += memory.rss if process == self._root else 0
            # A child that has ended keeps what it spent; its parent's counter would count it a second time.
            self._ended[process.pid] = spent.user + spent.system
        return Sample(time.time(), resident, own, java, python, sum(self._ended.values()))


def peaks(samples: list[Sample], began: float, ended: float) -> Peaks:
    """What was highest between two moments; with no sample between them, what the nearest one before them saw."""
    before = [sample for sample in samples if sample.at <= began]
    within = [sample for sample in samples if began < sample.at <= ended] or before[-1:]
    if not within:
        return Peaks(0, 0, 0, 0, 0.0)
    start = before[-1].processor_seconds if before else 0.0
    return Peaks(
        max(sample.resident_bytes for sample in within),
        max(sample.own_bytes for sample in within),
        max(sample.java_bytes for sample in within),
        max(sample.python_bytes for sample in within),
        max(0.0, within[-1].processor_seconds - start),
    )
