"""How likely each setting is: the paired log-loss of the same samples, and how published models are prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from modelport.diagnose.probe.finder_settings import Setting
from modelport.tasks.judged import Floats
from modelport.verdict.bootstrap import student

# How often what is told may leave the true setting out by chance.
ERROR = 0.05
# How usual each value is, chosen with what is published in view. Of the 1,557 classifiers with weights of timm 1.0.31
# 68 % have ImageNet's numbers, 19 % those of -1 to 1, 10 % CLIP's; 27 % crop at 0.875, 22 % at 1, 19 % at 0.95, 17 % at
# 0.9, 5 % squash; 90 % are bicubic. torchvision's and most people's own scripts are bilinear, some are OpenCV's: so
# interpolation is weighed more evenly than timm has it. What is hardly published keeps a few percent.
PRIOR: Mapping[str, float] = {
    "imagenet": 0.60, "-1 to 1": 0.18, "clip": 0.10, "0 to 1": 0.06, "caffe": 0.03, "0 to 255": 0.03, "mnist": 0.30,
    "crop ratio 0.875": 0.30, "crop ratio 0.9": 0.18, "crop ratio 0.95": 0.20, "crop ratio 1": 0.24, "squash": 0.08,
    "letterbox on grey": 0.02, "letterbox on black": 0.02,
    "bicubic": 0.55, "bilinear": 0.32, "opencv_linear": 0.09, "nearest": 0.04,
}  # fmt: skip
RARE = 0.04  # of what is not named there
BLUE_FIRST = 0.05  # chosen; but of Caffe's means, which nearly always go with it


def prior(setting: Setting) -> float:
    """Return how usual a setting is, up to a factor that all of a space share."""
    share = 1.0
    for value in (setting.numbers, setting.geometry, setting.interpolation):
        share *= PRIOR.get(value, RARE)
    if setting.colour == "L":
        return share
    blue = 1.0 - BLUE_FIRST if setting.numbers == "caffe" else BLUE_FIRST
    return share * (blue if setting.colour == "BGR" else 1.0 - blue)


def evidence(losses: Floats, best: Floats) -> float:
    """Return what speaks against a setting, in nats, from its losses (N,) and those of a better one; at least 0.

    The smaller of two: the likelihood ratio of the labels, which takes the model's probabilities for true, and that of
    the mean difference under the spread of the differences. A model that is too sure makes the first large, differences
    that are all alike, and tiny, the second.
    """
    away = losses - best
    mean, n = float(away.mean()), len(away)
    if mean <= 0.0:
        return 0.0
    # A spread of nothing at all is that of bit-equal answers but for rounding.
    error = max(float(away.std(ddof=1)) / math.sqrt(n), 1e-9) if n > 1 else math.inf
    return min(n * mean, 0.5 * (mean / error) ** 2)


def weights(against: Mapping[Setting, float]) -> dict[Setting, float]:
    """Return the share of each setting, heaviest first, from the evidence against it and how usual it is."""
    logs = {setting: math.log(prior(setting)) - nats for setting, nats in against.items()}
    top = max(logs.values())
    raw = {setting: math.exp(log - top) for setting, log in logs.items()}
    whole = sum(raw.values())
    return {setting: raw[setting] / whole for setting in sorted(raw, key=lambda one: (-raw[one], str(one)))}


def limit(count: int, images: int) -> float:
    """Return the evidence, in nats, from which on one of ``count`` settings is certainly worse than the best.

    Half the square of Student's quantile for an error of 5 %, shared among all (Bonferroni): so the true setting is
    left out with at most that, whichever is the best by luck.
    """
    return 0.5 * student(1.0 - ERROR / max(2, count), images - 1) ** 2


def credible(shares: Mapping[Setting, float], share: float) -> tuple[Setting, ...]:
    """Return the fewest settings that have ``share`` of the weight together, heaviest first."""
    reached = np.cumsum(list(shares.values()))
    return tuple(shares)[: int(np.searchsorted(reached, share - 1e-12)) + 1]


def added(parts: Sequence[Floats], centre: Floats) -> Floats:
    """Return what losses (N,) would be where each coordinate's change of those at the centre is added."""
    total: Floats = centre + sum(part - centre for part in parts)
    return total
