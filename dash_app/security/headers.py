"""Response headers that keep the page to itself: nothing is loaded from, or sent to, another host."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flask import Flask, Response, request

_STATIC = ("/_dash-component-suites/", "/assets/")


def content_security_policy(script_hashes: Sequence[str]) -> str:
    """The policy; inline scripts are allowed by hash only, `eval` not at all."""
    return "; ".join(
        [
            "default-src 'self'",
            " ".join(["script-src 'self'", *script_hashes]),
            "style-src 'self' 'unsafe-inline'",  # Mantine and plotly set styles on elements
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


def protect(server: Flask, script_hashes: Callable[[], Sequence[str]], *, https: bool = False) -> None:
    """Put the headers on every response; what depends on the data is never kept by a cache.

    Dash adds its last inline script with the first request, so the hashes are asked for with the first page.
    """
    policies: list[str] = []

    @server.after_request
    def add(response: Response) -> Response:
        if not policies and response.mimetype == "text/html":
            policies.append(content_security_policy(script_hashes()))
        response.headers["Content-Security-Policy"] = policies[0] if policies else content_security_policy(())
        if https:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
        if not request.path.startswith(_STATIC):
            response.headers["Cache-Control"] = "no-store"
        return response
