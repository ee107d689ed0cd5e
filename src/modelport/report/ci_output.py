"""What compare.json says, in the forms that continuous integration reads: GitHub's commands and table, JUnit's XML."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from modelport.core.artifacts import hold_target, write_artifact, writing
from modelport.core.text import plain
from modelport.report.markdown import foreign, number, table

# GitHub shows no more than ten annotations of a kind for a step; the table has all rows.
MOST_COMMANDS = 10


def github_commands(value: Mapping[str, Any]) -> str:
    """Return a line for each row that is worse (error beyond the tolerance, else warning), better or not told (notice).

    As actions/toolkit's ``command.ts`` writes them: ``::error title=…::message``.
    """
    lines: dict[str, list[str]] = {"error": [], "warning": [], "notice": []}
    for row in value["rows"]:
        if row["verdict"] != "same":
            level = level_of(row, value)
            title = f"{row['metric']}: {word_of(row)}"
            lines[level].append(f"::{level} title={_property(title)}::{_data(sentence(row, value))}")
    return "".join(f"{line}\n" for found in lines.values() for line in found[:MOST_COMMANDS])


def level_of(row: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    """Return error for what makes the whole worse, warning for what is worse for certain, else notice."""
    last = row["of"] == len(value["results"]) - 1
    if last and row["tolerance"] is not None and row["tolerance"]["verdict"] == "worse":
        return "error"
    return "warning" if row["verdict"] == "worse" else "notice"


def word_of(row: Mapping[str, Any]) -> str:
    """Return a row's verdict, and beside it what its tolerance says."""
    held = row["tolerance"]
    if held is None or held["verdict"] == row["verdict"]:
        return str(row["verdict"])
    beyond = {"worse": "beyond the tolerance", "not worse": "within the tolerance"}.get(
        held["verdict"], "within the tolerance or not: cannot tell"
    )
    return f"{row['verdict']}, {beyond}"


def sentence(row: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    """Return a row in words."""
    names = [value["results"][place]["name"] for place in (0, row["of"])]
    digits = digits_of(row)
    figures = " and ".join(f"{number(one, digits)} ({name})" for one, name in zip(row["values"], names, strict=True))
    return f"{row['metric']} {figures} {row['unit']}; change {change_of(row)}: {word_of(row)}. {row['why']}"


def digits_of(row: Mapping[str, Any]) -> int:
    """Return how many decimals a row's figures have."""
    return 4 if row["unit"] == "fraction" else 2


def change_of(row: Mapping[str, Any]) -> str:
    """Return the change with its sign, and its interval where there is one."""
    if row["change"] is None:
        return "–"
    digits = digits_of(row)
    told = f"{row['change']:+.{digits}f}"
    if row["interval"] is not None:
        low, high = row["interval"]
        told += f" [{low:+.{digits}f}, {high:+.{digits}f}]"
    return told


def append_summary(path: Path, value: Mapping[str, Any]) -> None:
    """Append the rows as a Markdown table to the file of a step's summary. Raises OutputError."""
    names = [result["name"] for result in value["results"]]
    rows = [
        [
            foreign(row["metric"]),
            foreign(names[row["of"]]),
            *(number(one, digits_of(row)) for one in row["values"]),
            change_of(row),
            word_of(row),
            foreign(row["why"]),
        ]
        for row in value["rows"]
    ]
    head = f"## modelport compare: {value['verdict']}\n\nBaseline: {foreign(names[0])}\n\n"
    text = head + table(["figure", "of", "baseline", "this", "change", "verdict", "why"], rows)
    text += "".join(f"\n\n> {foreign(note)}" for note in value["notes"]) + "\n\n"
    hold_target(path)
    with writing(path), path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def write_junit(path: Path, value: Mapping[str, Any]) -> None:
    """Write a test case for each row, aside and moved into place.

    Worse is a failure, unless the tolerance is shown to hold; what cannot be told is skipped. Raises OutputError.
    """
    suite = ElementTree.Element("testsuite", name="modelport compare")
    counts = {"failure": 0, "skipped": 0}
    names = [result["name"] for result in value["results"]]
    for row in value["rows"]:
        case = ElementTree.SubElement(suite, "testcase", classname=plain(names[row["of"]]), name=plain(row["metric"]))
        kind = junit_kind(row)
        if kind is not None:
            counts[kind] += 1
            inner = ElementTree.SubElement(case, kind, message=plain(word_of(row)))
            inner.text = plain(sentence(row, value))
    suite.set("tests", str(len(value["rows"])))
    suite.set("failures", str(counts["failure"]))
    suite.set("skipped", str(counts["skipped"]))
    suite.set("errors", "0")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    stream = io.BytesIO()
    ElementTree.ElementTree(root).write(stream, encoding="utf-8", xml_declaration=True)
    write_artifact(path, "junit", stream.getvalue())


def junit_kind(row: Mapping[str, Any]) -> str | None:
    """Return failure, skipped, or None for a row that passes."""
    held = row["tolerance"] and row["tolerance"]["verdict"]
    if held == "not worse":
        return None
    words = {row["verdict"], held}
    return "failure" if "worse" in words else "skipped" if "cannot tell" in words else None


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
