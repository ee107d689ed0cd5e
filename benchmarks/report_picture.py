"""Makes docs/report.png, the picture in the README: the first screen of the page that `modelport demo` leaves.

Usage: python benchmarks/report_picture.py [--demo DIR] [--out docs/report.png]. Runs the demo (two minutes) where DIR
holds no page yet. Needs Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from verbs import verb

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT, SCALE = 1200, 800, 1.25
COLOURS = 128  # a page of few colours


def main() -> None:
    """Run, photograph, and keep it small."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "report.png")
    options = parser.parse_args()
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise SystemExit("no Chromium here: apt-get install chromium")
    page = options.demo / "report.html"
    if not page.is_file():
        verb("demo", "--out", options.demo)
    with tempfile.TemporaryDirectory() as scratch:
        shot = Path(scratch) / "shot.png"
        size = f"--window-size={WIDTH},{HEIGHT}"
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", size]
        words += [f"--force-device-scale-factor={SCALE}", f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run([browser, *words], check=True, capture_output=True, timeout=120)
        with Image.open(shot) as image:
            image.convert("RGB").quantize(COLOURS).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
