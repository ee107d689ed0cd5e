"""A page from what was found: every section that has something to say, in one file without a request to anywhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

import modelport
from modelport.core.text import plain, plain_lines
from modelport.report.page.found import Found
from modelport.report.page.parts import Section
from modelport.report.page.table import SECTIONS

# Nothing may be loaded from anywhere: styles, script and pictures lie in the page itself. No script but the page's own
# runs, which its digest tells, so that markup that slipped through would do nothing.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
# What sections have of their own stands behind what all have.
STYLES = ("style.css", "charts.css", "cause.css", "gallery.css")
SCRIPTS = ("page.js", "gallery.js")

# Characters of the page's title that are shown.
TITLE = 200


def page(material: Sequence[Found], title: str) -> str:
    """Return the page as HTML. ``title`` is plain text."""
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        finalize=_shown,
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    sections = [section for one in SECTIONS if (section := one(material)) is not None]
    drawn = [(section, _drawn(environment, section)) for section in sections]
    script = "\n".join(map(_template, SCRIPTS))
    return environment.get_template("page.html.j2").render(
        title=plain(title, TITLE),
        policy=POLICY.format(b64encode(sha256(script.encode()).digest()).decode()),
        style=Markup("\n".join(map(_template, STYLES))),
        script=Markup(script),
        sections=drawn,
        version=modelport.__version__,
    )


def _drawn(environment: Environment, section: Section) -> Markup:
    return Markup(environment.get_template(section.file).render(section=section, **section.values))


def _shown(value: object) -> object:
    """Return what a template prints: text without characters that hide, turn or reorder their neighbours."""
    return plain_lines(value) if type(value) is str and not value.isprintable() else value


def _template(name: str) -> str:
    return (files("modelport.report.page") / "templates" / name).read_text(encoding="utf-8")
