"""Where everything comes from: command, digests, versions, recipe, notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelport.core.text import plain, plain_lines
from modelport.report.page.found import Found
from modelport.report.page.parts import Cell, Section, Table
from modelport.report.page.reading import at, rows_at
from modelport.report.result_folder import RECIPE

# Characters of a value, of a command and of a recipe that are shown; rows and notes. The files hold all.
VALUE, COMMAND, WHOLE, ROWS = 400, 4000, 64 * 1024, 60


def provenance_section(material: Sequence[Found]) -> Section | None:
    """Return, of each file that was found, how to make it anew and from what it was made."""
    entries = [_entry(one) for one in material]
    return Section("provenance", "Where it comes from", {"entries": entries}) if entries else None


def _entry(one: Found) -> dict[str, Any]:
    value = one.value
    notes = _list(value, "notes")
    return {
        "name": one.name,
        "path": plain(one.path, VALUE),
        "command": Cell(plain(value["command"], COMMAND), "command") if value.get("command") else None,
        "tables": [
            table for table in (_facts(value), _machine(value), _digests(value), _artifacts(value)) if table.rows
        ],
        "notes": [Cell(plain(note, 2 * VALUE), f"notes.{index}") for index, note in enumerate(notes[:ROWS])],
        "more_notes": max(0, len(notes) - ROWS),
        "recipe": _recipe(one),
    }


def _facts(value: Mapping[str, Any]) -> Table:
    told = {"seed": "seed", "started": "started", "seconds": "seconds that it took", "recipe": "recipe"}
    rows = [[Cell(words), _cell(value[key], key)] for key, words in told.items() if value.get(key) is not None]
    return Table(("how", "value"), rows, "How it was made")


def _digests(value: Mapping[str, Any]) -> Table:
    source, data = _mapping(value, "source"), _mapping(value, "dataset")
    rows = [[Cell("recipe"), _cell(value["recipe_sha256"], "recipe_sha256")]] if "recipe_sha256" in value else []
    if source.get("sha256"):
        rows.append([Cell(f"source: {plain(source.get('path'), VALUE)}"), _cell(source["sha256"], "source.sha256")])
    if "fingerprint" in data:
        words = f"data: {plain(data.get('n'), 20)} samples of {plain(data.get('name'), 60)}"
        rows.append([Cell(words), _cell(data["fingerprint"], "dataset.fingerprint")])
    beside = _mapping(value, "companions")
    rows += [[Cell(plain(name, 60)), _cell(digest, f"companions.{plain(name, 60)}")] for name, digest in beside.items()]
    return Table(("of", "sha256"), rows[:ROWS], "Digests")


def _artifacts(value: Mapping[str, Any]) -> Table:
    files = rows_at(value, "artifacts")[:ROWS]
    rows = [
        [
            _cell(one.get("kind"), f"artifacts.{index}.kind"),
            _cell(one.get("path"), f"artifacts.{index}.path"),
            _cell(one.get("sha256"), f"artifacts.{index}.sha256"),
            Cell(
                ", ".join(plain(digest, 12) for digest in _list(one, "made_from")[:3]), f"artifacts.{index}.made_from"
            ),
        ]
        for index, one in enumerate(files)
    ]
    return Table(("artifact", "path", "sha256", "made from"), rows, "Files, each with what it was made from")


def _machine(value: Mapping[str, Any]) -> Table:
    where = _mapping(value, "environment")
    keys = ("processor", "cores", "platform", "python", "executable")
    rows = [[Cell(key), _cell(where[key], f"environment.{key}")] for key in keys if where.get(key) is not None]
    packages = _mapping(where, "packages")
    told = [(plain(name, 60), found) for name, found in packages.items() if found]
    rows += [[Cell(name), _cell(found, f"environment.packages.{name}")] for name, found in told]
    return Table(("what", "version"), rows[:ROWS], "Machine and versions")


def _recipe(one: Found) -> str | None:
    """Return recipe.toml as it lies in the folder; None where there is none."""
    if one.folder is None or not one.folder.has(RECIPE):
        return None
    text = plain_lines(one.folder.content(RECIPE).decode("utf-8", "backslashreplace"))
    return text if len(text) <= WHOLE else f"{text[:WHOLE]}\n… cut: {RECIPE} beside the result holds all of it"


def _cell(value: object, key: str) -> Cell:
    shown = f"{value:.1f}" if isinstance(value, float) else value
    return Cell(plain(shown, VALUE), key)


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = at(value, key)
    return found if isinstance(found, Mapping) else {}


def _list(value: Mapping[str, Any], key: str) -> Sequence[Any]:
    found = value.get(key)
    return found if isinstance(found, list | tuple) else ()
