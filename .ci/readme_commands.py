"""Run the commands that a page shows with the modelport of this Python, in the current folder, in order."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)


def main(page: Path) -> int:
    """Return 0 where every command ends as the page says."""
    text = "\n".join(BLOCK.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ")
    for command in filter(None, map(str.strip, text.splitlines())):
        line, _, wanted = command.partition("# exit")
        words = shlex.split(line)
        words = [sys.executable, "-m", *words] if words[0] == "modelport" else [sys.executable, *words[1:]]
        ended = subprocess.run(words, capture_output=True, text=True, check=False)
        if ended.returncode not in [int(code) for code in (wanted or "0").split(" or ")]:
            print(f"{line}\nended with {ended.returncode}\n{ended.stdout}\n{ended.stderr}", file=sys.stderr)
            return 1
        print(f"ok  {line.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
