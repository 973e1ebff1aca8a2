"""How an asset's step meets trouble: what passes by itself is tried again, what does not fails in one line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import dagster as dg

from credit_risk_assets.resources.transient import is_transient, one_line

RETRIES = dg.RetryPolicy(max_retries=3, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""About 5, 15 and 35 seconds apart: longer than a held lock or a restarting server, shorter than a schedule."""

Step = TypeVar("Step", bound=Callable[..., Any])


@contextmanager
def _only_transient() -> Iterator[None]:
    try:
        yield
    except dg.Failure:
        raise
    except Exception as error:
        if is_transient(error):
            raise
        text = one_line(f"{type(error).__name__}: {error}")
        raise dg.Failure(description=text, allow_retries=False) from error


def retried(step: Step) -> Step:
    """Let only transient errors of a step reach its retry policy; any other ends it at once.

    Raises `dagster.Failure` without retries, from the error itself, so that the UI shows both.
    """
    if inspect.isgeneratorfunction(step):

        @functools.wraps(step)
        def generating(*arguments: Any, **named: Any) -> Iterator[Any]:
            with _only_transient():
                yield from step(*arguments, **named)

        return generating  # type: ignore[return-value]

    @functools.wraps(step)
    def returning(*arguments: Any, **named: Any) -> Any:
        with _only_transient():
            return step(*arguments, **named)

    return returning  # type: ignore[return-value]
