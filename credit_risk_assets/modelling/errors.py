"""What can be wrong with data or a request to the model; each message is one line."""

from __future__ import annotations


class ModelDataError(ValueError):
    """The data cannot train, test or feed the model; the message says what was found and what is expected."""
