"""What labelling a folder costs beside upstream's: python -m benchmarks.prediction.

`MMSegInferencer` with MMSegmentation's own segmentor, and `tools/predict.py` with this package's:
the same weights and synthetic pictures, label maps written as PNGs; each run in a process of its
own, in turn. Loading of the model is not timed. Memory is what the process held at most (on a GPU,
what PyTorch held there), above what it held before the first picture.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import save_checkpoint
from mmseg.apis import MMSegInferencer
from mmseg.registry import MODELS
from PIL import Image

from benchmarks.measure import compared, in_a_process, options, parse, resident, write
from psa_seg.datasets.synthetic import prepare
from psa_seg.engine.config import load_config
from psa_seg.engine.demo import shrink
from psa_seg.inference.inputs import find
from psa_seg.inference.outputs import Outputs
from psa_seg.inference.predict import Tally, label
from psa_seg.inference.segmenter import Segmenter, Wanted

CONFIGS = Path(__file__).parents[1] / "configs"
# A whole network on small pictures, where it takes the time; and a tiny one on large pictures.
CASES = {
    "DeepLabV3+ MobileNetV2-D16": ("psa_deeplabv3plus_mobilenetv2_cityscapes", (256, 512), False),
    "the demo's network": ("psa_deeplabv3plus_cityscapes", (1024, 2048), True),
}
SIDES = ("upstream", "ours")
MOST_DIFFERING = 1e-3  # of the pixels: a network of random weights rounds, in another memory layout
MIB = 2**20


def prepared(case: str, folder: Path, count: int) -> None:
    """Pictures, a config and a checkpoint in `folder`."""
    name, size, tiny = CASES[case]
    prepare(folder / "data", dict(train=0, val=count, test=0), size)
    config = load_config(str(CONFIGS / f"{name}.py"))
    steps = config.test_dataloader.dataset.pipeline
    if tiny:
        shrink(config, folder / "data")
        config.test_dataloader.dataset.pipeline = steps
    config.model.backbone.init_cfg = None
    for one in (config.test_dataloader.dataset.pipeline, config.test_pipeline):
        one[1].scale = size[::-1]
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    meta = {"cfg": config.pretty_text}
    save_checkpoint({"state_dict": model.state_dict(), "meta": meta}, str(folder / "model.pth"))
    config.model.type = "EncoderDecoder"
    config.dump(folder / "upstream.py")


def label_all(side: str, folder: Path, device: str) -> dict[str, Any]:
    """Label every picture once, here: speed and memory."""
    pictures = sorted(map(str, (folder / "data/leftImg8bit/val").rglob("*.png")))
    out = folder / side
    if side == "upstream":
        checkpoint = str(folder / "model.pth")
        inferencer = MMSegInferencer(str(folder / "upstream.py"), checkpoint, device=device)
        before, started = _held(device), time.perf_counter()
        # Its own `__call__` would draw pictures, too, wherever it writes.
        super(MMSegInferencer, inferencer).__call__(pictures, pred_out_dir=str(out))
    else:
        segmenter = Segmenter(folder / "model.pth", device=device)
        before, started = _held(device), time.perf_counter()
        outputs, tally = Outputs(out, ("labels",), None, 0.5), Tally(segmenter.names)
        label(segmenter, find(pictures), Wanted(), outputs, tally)
    elapsed = time.perf_counter() - started
    return {
        "images_per_s": len(pictures) / elapsed,
        "peak_mib": (_held(device, most=True) - before) / MIB,
    }


def _held(device: str, most: bool = False) -> int:
    """Bytes now, or at most so far: of the process, or of PyTorch on a GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() if most else torch.cuda.memory_allocated()
    return resident("VmHWM" if most else "VmRSS")


def differing(folder: Path) -> float:
    """The share of pixels in which the label maps of both sides differ."""
    theirs, ours = (
        np.stack([np.asarray(Image.open(path)) for path in sorted((folder / side).rglob("*.png"))])
        for side in SIDES
    )
    return float(np.mean(theirs != ours))


def measure(rounds: int, count: int, threads: int, device: str) -> Iterator[dict[str, Any]]:
    """One row per case and side: medians over processes, and ratios to upstream's."""
    for case, (_, size, _) in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            prepared(case, Path(place), count)
            runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
            for turn in range(rounds):
                folder = Path(place, f"{turn}")
                folder.mkdir()
                for name in ("data", "model.pth", "upstream.py"):
                    (folder / name).symlink_to(Path(place, name))
                for side in SIDES:
                    args = [side, str(folder), device]
                    runs[side].append(in_a_process(__spec__.name, args, threads))
                differ = differing(folder)
                if differ > MOST_DIFFERING:
                    raise SystemExit(f"error: label maps differ ({case}): there are no figures")
        for side, figures in compared(runs).items():
            yield {
                "side": side,
                "network": case,
                "images": f"{count} of {size[0]}x{size[1]}",
                "runs": rounds,
                **figures,
                "pixels_differing": differ,
            }


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument(
        "--images", type=int, default=12, help="Pictures to label (default: %(default)s)."
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # side, folder, device
    parser.set_defaults(rounds=3)
    args = parse(parser)
    init_default_scope("mmseg")
    if args.one:
        side, folder, device = args.one
        print("\n" + json.dumps(label_all(side, Path(folder), device)))
        return
    rows = measure(args.rounds, args.images, torch.get_num_threads(), args.device)
    write(rows, "prediction", args.device, args.out)


if __name__ == "__main__":
    main()
