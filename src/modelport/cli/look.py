"""``doctor``, ``list``, ``show``: look, change nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from modelport.cli.console import TALK, cell
from modelport.core.errors import UsageError
from modelport.core.guard import write_out
from modelport.core.text import plain

# Characters of a value that `show` prints without --full.
SHOWN = 400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(doctor)
    app.command("list")(list_recipes)
    app.command()(show)


def doctor() -> None:
    """Say which engines are usable here, or why not; their precisions, devices and versions; the machine's cores."""
    from modelport.engines.registry import availabilities
    from modelport.report.result import environment

    here = availabilities()
    value = {
        "schema": "modelport.doctor/1",
        "engines": {name: _told(entry) for name, entry in here.items()},
        "environment": environment(),
    }

    def draw(console: Any) -> None:
        from rich.table import Table

        table = Table("engine", "usable", "version", "devices", "precisions", "notes")
        for name, entry in here.items():
            said = (*entry.refused, *entry.accuracy_only)
            notes = "; ".join(f"{word}: {why}" for word, why in said) if entry.usable else entry.reason
            notes += f"\ninstall: {entry.install}" if not entry.usable else ""
            usable = cell("yes", "green") if entry.usable else cell("no", "red")
            rest = (entry.version, ", ".join(entry.devices), ", ".join(entry.precisions), notes)
            table.add_row(name, usable, *map(cell, rest))
        console.print(table)
        machine: Any = value["environment"]
        console.print(f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}")

    TALK.give(value, draw)


def list_recipes() -> None:
    """List the recipes, a line each."""
    from modelport.recipes.load import load_recipe, recipe_names

    recipes = [load_recipe(name) for name in recipe_names()]
    rows = [{"name": recipe.name, "task": recipe.task, "title": recipe.title} for recipe in recipes]

    def draw(console: Any) -> None:
        for row in rows:
            console.print(f"{row['name']:<14} {row['title']}", markup=False)

    TALK.give({"schema": "modelport.recipes/1", "recipes": rows}, draw)


def show(
    what: str = typer.Argument(
        help="A recipe, by name or path, or an .onnx file, or a weights file (.pth, .safetensors …).",
        metavar="RECIPE|FILE",
    ),
    full: bool = typer.Option(False, "--full", help="Long values whole."),
    toml: bool = typer.Option(False, "--toml", help="A recipe as TOML that `run` takes."),
) -> None:
    """Show a recipe whole, the structure of a graph, or what a weights file holds."""
    if toml:
        from modelport.recipes.load import load_recipe
        from modelport.recipes.toml import toml_text

        if TALK.json:
            raise UsageError("--toml and --json ask for two forms", "give one of them")
        write_out(toml_text(load_recipe(what).to_json()))
        return
    if what.lower().endswith(".onnx"):
        from modelport.model.graph.file import describe, read_graph

        value = describe(read_graph(Path(what)))
    elif what.lower().endswith((".pth", ".pt", ".tar", ".safetensors", ".ckpt", ".bin")):
        from modelport.model.weights.content import describe_checkpoint

        value = describe_checkpoint(Path(what))
    else:
        from modelport.recipes.load import load_recipe

        value = load_recipe(what).to_json()
    TALK.give(value, lambda console: _draw_tree(console, what, value, None if full else SHOWN))


def _draw_tree(console: Any, title: str, value: Any, limit: int | None) -> None:
    from rich.text import Text
    from rich.tree import Tree

    def grow(tree: Any, node: Any) -> None:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(child, dict) or (
                isinstance(child, list) and any(isinstance(item, dict | list) for item in child)
            ):
                grow(tree.add(Text(plain(key), style="bold")), child)
            else:
                shown = ", ".join(map(str, child)) if isinstance(child, list) else str(child)
                tree.add(Text.assemble((f"{plain(key)}: ", "bold"), plain(shown, limit)))

    root = Tree(Text(plain(title), style="bold"))
    grow(root, value)
    console.print(root)


def _told(entry: Any) -> dict[str, Any]:
    """Return what an engine says of itself as JSON values."""
    from dataclasses import asdict

    pairs = {"refused": dict(entry.refused), "accuracy_only": dict(entry.accuracy_only)}
    return asdict(entry) | pairs
