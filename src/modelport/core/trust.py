"""Whether a user's module may be imported: importing is running, and recipes come along with data.

Only the user says so: by ``--trust-code`` on the line that is typed, or in a configuration of one's own.
"""

from __future__ import annotations

from modelport.core.errors import UsageError
from modelport.core.user_config import config_path, trusted_modules

_ANY = "*"
_granted: set[str] = set()


def trust_code(module: str | None = None) -> None:
    """Let recipes import ``module`` in this process; None: any module that they name."""
    _granted.add(module or _ANY)


def trust_nothing() -> None:
    """Take back what this process was granted; the user's configuration stays."""
    _granted.clear()


def check_trusted(module: str, architecture: str) -> None:
    """Raise UsageError unless the user trusts the module, or a package that it lies in."""
    within = {module[: at or None] for at in (0, *(i for i, letter in enumerate(module) if letter == "."))}
    if not within & {*_granted, *trusted_modules()} and _ANY not in _granted:
        raise UsageError(
            f"architecture = \"{architecture}\" imports the module '{module}', and importing runs its code",
            f'if you trust it: --trust-code, or trust_code = ["{module}"] in {config_path()}',
        )
