"""The recipe's weights → the cache: fetched once, resumed where interrupted, proved before they are used."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.core.artifacts import cache_folder, cannot_write, digest_file, write_json
from modelport.core.errors import FetchError, OutputError
from modelport.model.download import Progress, download
from modelport.recipes.schema import Recipe

# torch hub's convention: the first digits of the sha256 end the file's stem, as in `resnet50-0676ba61.pth`.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.[a-z.]+$")
