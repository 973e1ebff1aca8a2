"""A second process of a run, for work that needs no engine and would keep the first one from its own."""

from __future__ import annotations

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)
LEAST_CORES = 2


class CompanionLostError(RuntimeError):
    """The second process ended before its work was done; its work has to be done here."""


def _serve(ours: Connection, garbage_thresholds: tuple[int, int, int]) -> NoReturn:
    """Do what is sent, one piece after the other, until the first process closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process is asked, and closes the pipe
    gc.set_threshold(*garbage_thresholds)
    while True:
        try:
            work, given, named = ours.recv()
        except EOFError:
            # Taking its libraries apart in order takes seconds, and the first process waits for the end.
            os._exit(0)
        try:
            answer: tuple[bool, Any] = (True, work(*given, **named))
        except Exception as error:
            answer = (False, error)
        ours.send(answer)


class Companion:
    """The second process: started once, does what it is given in order, ends with the first one."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # the engine's threads do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, gc.get_threshold()), daemon=True, name="credit-risk companion"
        )
        self._process.start()
        theirs.close()
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="companion")

    def submit(self, work: Callable[P, R], *given: P.args, **named: P.kwargs) -> Future[R]:
        """Have a function of a module called there; the result raises what it raised, or `CompanionLostError`."""
        return self._sender.submit(self._ask, work, given, named)

    def _ask(self, work: Callable[..., R], given: tuple[Any, ...], named: dict[str, Any]) -> R:
        try:
            self._pipe.send((work, given, named))
            done, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise CompanionLostError("the run's second process has ended") from error
        if not done:
            raise answer
        found: R = answer
        return found

    def close(self) -> None:
        """Let what was given come to its end, then end the process."""
        self._sender.shutdown(wait=True)
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.join(30)
        self._process.close()


def enough_cores() -> bool:
    """Whether a second process has a core of its own."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores >= LEAST_CORES
