"""``doctor``, ``list``, ``show``: look, change nothing."""

from __future__ import annotations

from typing import Any

import typer

from modelport.cli.console import TALK, cell, grid, word
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
    from modelport.jobs.doctor import doctor as run_doctor

    value = run_doctor()

    def draw(console: Any) -> None:
        table = grid(("engine", "usable", "version", "devices", "precisions", "notes"))
        for name, entry in value["engines"].items():
            said = (*entry["refused"].items(), *entry["accuracy_only"].items())
            notes = "; ".join(f"{word}: {why}" for word, why in said) if entry["usable"] else entry["reason"]
            notes += f"\ninstall: {entry['install']}" if not entry["usable"] else ""
            usable = word("yes" if entry["usable"] else "no")
            rest = (entry["version"], ", ".join(entry["devices"]), ", ".join(entry["precisions"]), notes)
            table.add_row(cell(name), usable, *map(cell, rest))
        console.print(table)
        machine = value["environment"]
        console.print(f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}")

    TALK.give(value, draw)


def list_recipes() -> None:
    """List the recipes, a line each."""
    from modelport.jobs.list import list_recipes as run_list

    value = run_list()
    width = max(len(row["name"]) for row in value["recipes"])

    def draw(console: Any) -> None:
        for row in value["recipes"]:
            console.print(f"{row['name']:<{width}}  {row['network'] or '':<11}  {row['title']}")

    TALK.give(value, draw)


def show(
    what: str = typer.Argument(
        help="A recipe, by name or path, a model file (.onnx, .pt2 …), or weights (.pth, .safetensors …).",
        metavar="RECIPE|FILE",
    ),
    full: bool = typer.Option(False, "--full", help="Long values whole."),
    toml: bool = typer.Option(False, "--toml", help="A recipe as TOML that `run` takes."),
) -> None:
    """Show a recipe whole, the structure of a graph, or what a weights file holds."""
    from modelport.jobs.show import recipe_text
    from modelport.jobs.show import show as run_show

    if toml:
        if TALK.json:
            raise UsageError("--toml and --json ask for two forms", "give one of them")
        write_out(recipe_text(what))
        return
    value = run_show(what)
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
