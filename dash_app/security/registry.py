"""The permission of every page, callback and route; what has none cannot be reached, and stops the start.

A page's module states `PERMISSION`, and every callback that its `register(app)` adds is given it. A callback that
asks for more than its page stands inside `with registry.granting(app, Permission.X):`. A route is added by
`registry.add_route`. `check` names whatever was forgotten.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from dash import Dash
from flask import Flask

from dash_app.security.roles import Permission

DASH_ROUTES: Mapping[str, Permission] = {
    "_dash-component-suites/<string:package_name>/<path:fingerprinted_path>": Permission.SIGNED_IN,
    "_dash-layout": Permission.SIGNED_IN,
    "_dash-dependencies": Permission.SIGNED_IN,
    "_dash-update-component": Permission.SIGNED_IN,  # and the callback's own, looked up by its output
    "_reload-hash": Permission.SIGNED_IN,
    "_favicon.ico": Permission.PUBLIC,
    "": Permission.SIGNED_IN,
    "<path:path>": Permission.SIGNED_IN,  # and the page's own, looked up by its path
}
"""What Dash serves itself, below its prefix."""
ASSETS = "_dash_assets.static"
PAGE_CALLBACKS: Mapping[str, Permission] = {
    ".._pages_content.children..._pages_store.data..": Permission.SIGNED_IN,
    "_pages_dummy.children": Permission.SIGNED_IN,
}
"""Dash's router: it lays a page out, and each layout asks for its page's permission."""


class MissingPermissionError(RuntimeError):
    """A page, callback or route states no permission; the message is one line that names it."""


@dataclass
class Registry:
    """The permissions of one app."""

    callbacks: dict[str, Permission] = field(default_factory=lambda: dict(PAGE_CALLBACKS))
    endpoints: dict[str, Permission] = field(default_factory=dict)
    pages: dict[str, Permission] = field(default_factory=dict)

    def add_page(self, module: ModuleType) -> Permission:
        """Note the permission that a page's module states. Raises `MissingPermissionError` where it states none."""
        permission = getattr(module, "PERMISSION", None)
        if not isinstance(permission, Permission):
            raise MissingPermissionError(
                f"page {module.__name__}: states no permission; add PERMISSION = Permission.… to the module"
            )
        path = getattr(module, "PATH", None) or module.PATH_TEMPLATE
        self.pages[str(path)] = permission
        return permission

    def add_route(
        self,
        server: Flask,
        rule: str,
        endpoint: str,
        view: Callable[..., Any],
        permission: Permission,
        methods: tuple[str, ...] = ("GET",),
    ) -> None:
        """Add a route together with its permission."""
        server.add_url_rule(rule, endpoint, view, methods=list(methods))
        self.endpoints[endpoint] = permission

    def add_dash_routes(self, app: Dash) -> None:
        """Note the permissions of what Dash serves itself."""
        prefix = app.config.routes_pathname_prefix
        self.endpoints |= {f"{prefix}{name}": permission for name, permission in DASH_ROUTES.items()}
        self.endpoints[ASSETS] = Permission.PUBLIC

    @contextmanager
    def granting(self, app: Dash, permission: Permission) -> Iterator[None]:
        """Every callback added inside gets the permission, but for those that were given one further inside."""
        before = set(app.callback_map)
        yield
        for output in set(app.callback_map) - before:
            self.callbacks.setdefault(output, permission)

    def page(self, path: str) -> Permission | None:
        """The permission of the page at a path; None where there is no such page."""
        template = self.template(path)
        return self.pages.get(template) if template else None

    def template(self, path: str) -> str | None:
        """The page's path with its variables' names instead of their values, such as `/loan/<loan_id>`."""
        if path in self.pages:
            return path
        return next((known for known in self.pages if "<" in known and _pattern(known).fullmatch(path)), None)

    def check(self, app: Dash) -> None:
        """Raise `MissingPermissionError` for the first callback or route without a permission."""
        from dash._callback import GLOBAL_CALLBACK_MAP

        for output in [*app.callback_map, *GLOBAL_CALLBACK_MAP]:
            if output not in self.callbacks:
                raise MissingPermissionError(
                    f"callback {short_name(output)}: states no permission; add it by app.callback inside its page's "
                    "register(app), or inside registry.granting(app, Permission.…)"
                )
        for rule in app.server.url_map.iter_rules():
            if rule.endpoint not in self.endpoints:
                raise MissingPermissionError(
                    f"route {rule.rule}: states no permission; add it by registry.add_route(…, Permission.…)"
                )


def short_name(output: str) -> str:
    """A callback's first output, which is enough to tell it from the others."""
    return output.strip(".").split("...")[0].split("@")[0][:80]


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"<[^>]+>", template)
    return re.compile("[^/]+".join(re.escape(part) for part in parts))
