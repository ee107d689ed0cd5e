"""The finder on 50 configurations of timm: is the true preprocessing what it names, or among what it cannot tell apart?

Usage: python benchmarks/find_preprocessing.py [--count 50] [--seed 0] [--json FILE]. Less than 25 minutes on two idle
cores. Exit code 1 where the bar is missed: 90 % right, or in the set that was told.

Configurations are timm 1.0.31's, two names of each way to prepare images that lies in the finder's space, as
`timm.models.get_pretrained_cfg` has them. The networks are small ones of timm at 64 pixels, with seeded weights fitted
under the true preprocessing: those of the named ones, mostly large, are not at hand. Half the networks know drawn
pictures (`samples data imagenet`), whose classes are colours and shapes: they hardly mind how an image is resized. Half
know fine textures (textures.py), and do. Each is exported to ONNX once, and found from 64 to 128 labelled images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import modelport as mp
from modelport.cli.main import main as modelport
from modelport.diagnose.probe.finder import Found, find
from modelport.diagnose.probe.finder_settings import Setting, Space
from textures import draw_textures

BAR = 90.0
SIDE, VAL, TRAIN = 64, 128, 30
IMAGES = (64, 96, 128)
# (network, its arguments, data that it knows).
SUBJECTS: Sequence[tuple[str, str, str]] = (
    ("resnet10t", "", "textures"),
    ("vit_tiny_patch16_224", f", img_size = {SIDE}", "pictures"),
    ("resnet14t", "", "textures"),
    ("resnet18", "", "pictures"),
)
# (numbers, crop ratio or squash, interpolation): two names of timm's configurations.
CONFIGURATIONS: dict[tuple[str, str, str], tuple[str, str]] = {
    ("imagenet", "crop ratio 0.875", "bicubic"): ("resnet10t.c3_in1k", "convit_base.fb_in1k"),
    ("imagenet", "crop ratio 1", "bicubic"): ("xcit_nano_12_p16_224.fb_in1k", "beit3_base_patch16_224.in22k_ft_in1k"),
    ("imagenet", "crop ratio 0.95", "bicubic"): ("resnet18.a1_in1k", "resnet34.a1_in1k"),
    ("imagenet", "crop ratio 0.9", "bicubic"): ("deit_tiny_patch16_224.fb_in1k", "poolformer_s12.sail_in1k"),
    ("imagenet", "crop ratio 0.875", "bilinear"): ("resnet18.tv_in1k", "dla34.in1k"),
    ("-1 to 1", "crop ratio 0.95", "bicubic"): ("test_vit.r160_in1k", "coatnet_0_rw_224.sw_in1k"),
    ("clip", "crop ratio 1", "bicubic"): ("vit_base_patch32_clip_224.datacompxl", "convnext_base.clip_laion2b"),
    ("-1 to 1", "crop ratio 0.9", "bicubic"): (
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        "resnet18d.ra4_e3600_r224_in1k",
    ),
    ("clip", "crop ratio 0.9", "bicubic"): ("vit_base_patch32_clip_224.openai", "eva02_base_patch16_clip_224.merged2b"),
    ("-1 to 1", "crop ratio 1", "bicubic"): (
        "beit_base_patch16_384.in22k_ft_in22k_in1k",
        "beit_large_patch16_384.in22k_ft_in22k_in1k",
    ),
    ("-1 to 1", "squash", "bicubic"): ("maxvit_base_tf_384.in1k", "coatnet_rmlp_2_rw_384.sw_in12k_ft_in1k"),
    ("imagenet", "squash", "bicubic"): ("coat_lite_medium_384.in1k", "convnext_base.fb_in22k_ft_in1k_384"),
    ("clip", "squash", "bicubic"): (
        "convnext_base.clip_laion2b_augreg_ft_in12k_in1k_384",
        "convnext_large_mlp.clip_laion2b_augreg_ft_in1k_384",
    ),
    ("-1 to 1", "crop ratio 0.875", "bicubic"): ("gmlp_s16_224.ra3_in1k", "inception_v3.tf_adv_in1k"),
    ("0 to 1", "crop ratio 0.875", "bilinear"): (
        "mixer_b16_224.miil_in21k_ft_in1k",
        "mobilenetv3_large_100.miil_in21k",
    ),
    ("-1 to 1", "crop ratio 0.875", "bilinear"): ("resnetv2_50x1_bit.goog_in21k", "resnetv2_101x1_bit.goog_in21k"),
    ("imagenet", "crop ratio 0.95", "bilinear"): ("fbnetv3_b.ra2_in1k", "fbnetv3_d.ra2_in1k"),
    ("0 to 1", "crop ratio 0.9", "bicubic"): ("mobilevit_xxs.cvnets_in1k", "mobilevit_xs.cvnets_in1k"),
    ("-1 to 1", "crop ratio 1", "bilinear"): (
        "resnetv2_50x1_bit.goog_in21k_ft_in1k",
        "resnetv2_101x1_bit.goog_in21k_ft_in1k",
    ),
    ("clip", "crop ratio 0.95", "bicubic"): (
        "vit_base_patch16_clip_224.laion2b_ft_in12k_in1k",
        "fastvit_mci3.apple_mclip2_dfndr2b",
    ),
    ("0 to 1", "crop ratio 0.95", "bicubic"): ("fastvit_mci0.apple_mclip", "fastvit_mci1.apple_mclip"),
    ("0 to 1", "crop ratio 1", "bicubic"): (
        "fastvit_mci0.apple_mclip2_dfndr2b",
        "mobilevitv2_150.cvnets_in22k_ft_in1k_384",
    ),
    ("imagenet", "crop ratio 0.9", "bilinear"): ("mobileone_s1.apple_in1k", "mobileone_s2.apple_in1k"),
    ("imagenet", "crop ratio 1", "bilinear"): ("csatv2.r512_in1k", "repvgg_d2se.rvgg_in1k"),
    ("-1 to 1", "crop ratio 0.95", "bilinear"): ("test_resnet.r160_in1k", "mobilenetv3_large_150d.ra4_e3600_r256_in1k"),
}
DECODE = {"step": "decode", "color": "RGB", "exif_rotation": "ignore"}
SPACE = Space((SIDE, SIDE), 3, "NCHW", "float32", DECODE)
RECIPE = """
schema = "modelport.recipe/1"
name = "subject"
task = "classification"
metrics = ["top1"]
preprocess = {steps}
[model]
architecture = "timm:{network}"
arguments = {{ num_classes = 10{arguments} }}
[tensors]
inputs = [{{ name = "image", dtype = "float32", shape = ["batch", 3, {side}, {side}] }}]
outputs = [{{ name = "scores", dtype = "float32", shape = ["batch", 10] }}]
[dataset]
kind = "imagenet"
classes = 10
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one configuration."""

    name: str
    network: str
    data: str
    images: int
    truth: str
    found: str
    right: bool
    told: bool  # the truth is in the set
    size: int
    likely: int  # of those with 95 % of the weight of the set
    in_likely: bool
    values: list[int]  # how many of colour and numbers, geometry, interpolation the set has
    top1: float
    runs: int
    seconds: float


def subject(number: int, truth: Setting, data: Path, folder: Path, seed: int) -> tuple[mp.Recipe, Path]:
    """Fit a network under the true setting, export it, and return recipe and ONNX file."""
    network, arguments, _ = SUBJECTS[number % len(SUBJECTS)]
    steps = "[" + ", ".join(_toml(step) for step in SPACE.steps(truth)) + "]"
    recipe, weights = folder / "subject.toml", folder / "subject.pth"
    recipe.write_text(RECIPE.format(steps=steps, network=network, arguments=arguments, side=SIDE), encoding="utf-8")
    words = ["samples", "weights", str(recipe), "--data", str(data), "--out", str(weights), "--seed", str(seed)]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        modelport(words)
    loaded = mp.load_recipe(str(recipe))
    return loaded, mp.export(mp.source(loaded, weights)).path


def _toml(step: dict[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in step.items()) + " }"


def found_of(recipe: mp.Recipe, graph: Path, data: Path, images: int) -> Found:
    """Return what is found from so many labelled images."""
    samples = mp.open_dataset(recipe, data)[:images]
    with mp.open_model(graph, "onnxruntime") as runner:
        return find(runner, SPACE, samples, input_name="image", output="scores")


def row_of(number: int, name: str, truth: Setting, folders: dict[str, Path], seed: int) -> Row:
    """Make a subject, find its preprocessing, and hold it against the truth."""
    network, _, kind = SUBJECTS[number % len(SUBJECTS)]
    images, begun = IMAGES[number % len(IMAGES)], time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="modelport-finder-") as scratch:
        recipe, graph = subject(number, truth, folders[kind], Path(scratch), seed + number)
        found = found_of(recipe, graph, folders[kind], images)
    row = Row(
        name, network, kind, images, str(truth), str(found.setting), found.setting == truth, truth in found.told,
        len(found.told), len(found.likely), truth in found.likely,
        [len(shares) for shares in found.values.values()], found.top1, found.runs,
        time.perf_counter() - begun,
    )  # fmt: skip
    word = "right" if row.right else "told " if row.told else "WRONG"
    print(
        f"{word} {row.size:3d} told {row.likely:3d} likely {row.top1:5.1f} %  {name:<46} {truth} → {row.found}",
        flush=True,
    )
    return row


def summary(rows: Sequence[Row], what: str) -> dict[str, Any]:
    """Print shares over the rows, and return them."""
    n, found = len(rows), [row for row in rows if row.values]
    told = {
        "right or told": 100 * sum(row.right or row.told for row in rows) / n,
        "right": 100 * sum(row.right for row in rows) / n,
        "among the likely": 100 * sum(row.in_likely for row in rows) / n,
        "mean size of the set": sum(row.size for row in rows) / n,
        "mean number of the likely": sum(row.likely for row in rows) / n,
        "sets of at most 4": 100 * sum(0 < row.size <= 4 for row in rows) / n,
        "of at most 4 likely": 100 * sum(0 < row.likely <= 4 for row in rows) / n,
        **{
            f"mean number of {name} in the set": sum(row.values[place] for row in found) / max(1, len(found))
            for place, name in enumerate(("colours and numbers", "geometries", "interpolations"))
        },
        "seconds each": sum(row.seconds for row in rows) / n,
    }
    print(f"{what} ({n}): " + ", ".join(f"{name} {value:.1f}" for name, value in told.items()))
    return {"what": what, "n": n, **told}


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    # The first names, then the second ones: any count has as many ways to prepare images as it can.
    cases = [(names[place], key) for place in (0, 1) for key, names in CONFIGURATIONS.items()][: options.count]
    with tempfile.TemporaryDirectory(prefix="modelport-finder-") as scratch:
        folders = {"textures": Path(scratch) / "textures", "pictures": Path(scratch) / "pictures"}
        draw_textures(folders["textures"], VAL, TRAIN, options.seed)
        words = ["samples", "data", "imagenet", "--out", str(folders["pictures"]), "--count", str(VAL)]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            modelport([*words, "--seed", str(options.seed)])
        rows = [
            row_of(number, name, Setting("RGB", *key), folders, options.seed)
            for number, (name, key) in enumerate(cases)
        ]
    parts = [summary([row for row in rows if row.data == kind], kind) for kind in folders if len(rows) > 3]
    whole = summary(rows, "all")
    if options.json:
        told = {"rows": [asdict(row) for row in rows], "parts": parts, "all": whole, "machine": mp.environment()}
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return int(whole["right or told"] < BAR)


if __name__ == "__main__":
    sys.exit(main())
