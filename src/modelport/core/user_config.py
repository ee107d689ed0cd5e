"""The user's own configuration: what no recipe may say of itself."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

from modelport.core.errors import UsageError, unknown
from modelport.core.files import read_regular_text

MAX_BYTES = 64 * 1024
KEYS = ("trust_code",)


def config_path() -> Path:
    """Return where the configuration lies: ``modelport/config.toml`` in ``$XDG_CONFIG_HOME``, else ``~/.config``."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "modelport" / "config.toml"


def trusted_modules() -> tuple[str, ...]:
    """Return the modules of ``trust_code``, none where there is no configuration.

    Raises UsageError for a file that is no such configuration.
    """
    path = config_path()
    if not path.exists():
        return ()
    content = _content(path)
    for key in content:
        if key not in KEYS:
            raise UsageError(f"{path}: {key}: unknown key", unknown("keys", key, KEYS))
    listed = content.get("trust_code", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) and name for name in listed):
        raise UsageError(f"{path}: trust_code is no list of modules", 'write trust_code = ["pkg.module"]')
    return tuple(listed)


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_regular_text(path, MAX_BYTES, UsageError, "mend the file, or move it away"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: no valid TOML: {error}", "mend the file, or move it away") from error
