"""The model document: what a validator needs of a version in one text, generated from its figures alone."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.credit.features import BY_NAME, FEATURES
from credit_risk_assets.modelling import document_appendices as appendices
from credit_risk_assets.modelling import document_tables as tables
from credit_risk_assets.modelling.document_plots import Plot
from credit_risk_assets.modelling.document_text import change, in_words, number, plain, table, with_interval
from credit_risk_assets.modelling.explain import MAX_REASONS, MIN_CONTRIBUTION
from credit_risk_assets.modelling.fairness import MINIMUM_GROUP_LOANS
from credit_risk_assets.modelling.gate import Evidence, judge, objections
from credit_risk_assets.modelling.weaknesses import weaknesses

if TYPE_CHECKING:
    from jinja2 import Environment

PLOTS_FOLDER = "plots"
MARKDOWN_TEMPLATE, PAGE_TEMPLATE = "model_document.md.j2", "model_document.html.j2"


@dataclass(frozen=True)
class Ruling:
    """One decision on the version; `champion` reigned after it."""

    at: dt.datetime
    action: str
    by: str
    reasons: str
    champion: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is known of a version beside its figures: names, dates, decisions, parameters and what it ran on."""

    version: str
    model: str
    owner: str
    role: str
    written_at: dt.datetime
    trained_at: dt.datetime | None = None
    test_date: str = ""
    run_id: str = ""
    rulings: Sequence[Ruling] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("credit_risk_assets.modelling"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown; foreign text goes through `plain`, and the page escapes what it shows
    )
    environment.filters.update(plain=plain, words=in_words)
    return environment


def model_document(
    evidence: Evidence, facts: Facts, settings: ModelSettings, plots: Mapping[str, Plot] | None = None
) -> str:
    """The document as Markdown; the gate is judged by `settings`, pictures are named `plots/NAME.svg`.

    Every number in a table is a figure of `evidence`; what was not measured is said to be missing, and what fails is
    marked.
    """
    criteria = judge(evidence, settings)
    reigns = evidence.champion is not None
    used = tables.used_features(evidence)
    context: dict[str, Any] = {
        "e": evidence,
        "facts": facts,
        "settings": settings,
        "t": tables,
        "a": appendices,
        "table": table,
        "number": number,
        "with_interval": with_interval,
        "change": change,
        "criteria": criteria,
        "failed": [criterion for criterion in criteria if not criterion.passed],
        "objections": objections(criteria, champion_reigns=reigns),
        "reigns": reigns,
        "used": used,
        "directed": sum(1 for name in used if name in BY_NAME and BY_NAME[name].direction),
        "protected": [feature.name for feature in FEATURES if feature.protected],
        "weaknesses": weaknesses(evidence, criteria, settings),
        "intake": {figure.metric: figure.value for figure in evidence.of("sample", "intake")},
        "picture": lambda name: _picture(name, plots or {}),
        "max_reasons": MAX_REASONS,
        "min_contribution": MIN_CONTRIBUTION,
        "minimum_group": MINIMUM_GROUP_LOANS,
    }
    text = _templates().get_template(MARKDOWN_TEMPLATE).render(context)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip() + "\n"


def _picture(name: str, plots: Mapping[str, Plot]) -> str:
    return f"![{plots[name].caption}]({PLOTS_FOLDER}/{name}.svg)" if name in plots else ""


def to_html(markdown: str, plots: Mapping[str, Plot]) -> str:
    """The document as one page that loads nothing: pictures stand in it as SVG, styles too."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(_self: Any, tokens: Sequence[Any], place: int, *_: Any) -> str:
        source = str(tokens[place].attrs["src"])
        plot = plots.get(source.removeprefix(f"{PLOTS_FOLDER}/").removesuffix(".svg"))
        if plot is None:  # nothing that the page would have to fetch
            return ""
        caption = html.escape(plot.caption)
        return (
            f'<span class="figure"><span role="img" aria-label="{caption}">{plot.svg}</span><em>{caption}</em></span>'
        )

    headings: list[tuple[str, str]] = []

    def heading_open(_self: Any, tokens: Sequence[Any], place: int, *_: Any) -> str:
        level, text = tokens[place].tag, tokens[place + 1].content
        if level != "h2":
            return f"<{level}>"
        headings.append((f"section-{len(headings) + 1}", text))
        return f'<h2 id="{headings[-1][0]}">'

    def table_open(*_: Any) -> str:
        return '<div class="table"><table>'

    def table_close(*_: Any) -> str:
        return "</table></div>"

    for name, rule in (
        ("image", image), ("heading_open", heading_open), ("table_open", table_open), ("table_close", table_close)
    ):  # fmt: skip
        parser.add_render_rule(name, rule)
    body = parser.render(markdown)
    title = markdown.split("\n", 1)[0].removeprefix("# ")
    contents = [(anchor, html.escape(text)) for anchor, text in headings]
    page = _templates().get_template(PAGE_TEMPLATE)
    return page.render(title=html.escape(title), body=body, contents=contents)
