"""A report takes nothing that others wrote for Markdown, HTML or a terminal's commands."""

from __future__ import annotations

import pytest

from modelport.report.markdown import code, foreign, table


@pytest.mark.parametrize("name", ["a`b`", "[x](y)", "<b>", "*x*", "a\x1b[31m", "line\nfeed", "a\udcff"])
def test_a_foreign_name_stays_a_name(name: str) -> None:
    shown = foreign(name)
    assert "\x1b" not in shown and "<" not in shown and "\n" not in shown
    for active in "`*[":
        assert shown.count(active) == shown.count("\\" + active)
    shown.encode()


def test_a_pipe_or_line_feed_makes_no_cell() -> None:
    assert table(["a"], [["x|y\nz"]]).splitlines()[-1] == "| x\\|y z |"


def test_code_holds_backticks() -> None:
    assert code("a`b") == "`` a`b ``"
    assert code("plain") == "`plain`"
