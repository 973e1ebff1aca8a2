"""Accessibility attributes, whose hyphens no Python name can carry."""

from __future__ import annotations

from typing import Any


def aria(**attributes: str) -> dict[str, Any]:
    """`aria(label="Filters")` as the keyword arguments {'aria-label': 'Filters'}."""
    return {f"aria-{name}": value for name, value in attributes.items()}
