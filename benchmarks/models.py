"""What the attention costs a whole network: python -m benchmarks.models.

DeepLabV3+ R-50 without attention, with it on the ASPP output, in every block, and with its textbook
in every block: a training step (forward, loss, backward, SGD) and inference, on random images, from
random weights. On a GPU in bfloat16, as `--amp` trains; on a CPU, of smaller images, in float32.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

import psa_seg.models  # noqa: F401
from benchmarks.cases import CASES, OURS, TEXTBOOK, Case
from benchmarks.measure import Work, milliseconds, options, parse, peak_bytes, quantiles, write
from psa_seg.engine.config import load_config

SHAPES = {"cuda": (8, 512, 1024), "cpu": (2, 128, 256)}  # of the images: B, H, W
DTYPES = {"cuda": "bfloat16", "cpu": "float32"}
CONFIGS = Path(__file__).parents[1] / "configs"
NETWORKS = {
    "plain": ("baseline_deeplabv3plus_cityscapes", OURS),
    "head": ("psa_deeplabv3plus_cityscapes", OURS),
    "every block": ("psa_backbone_deeplabv3plus_cityscapes", OURS),
    "every block, textbook": ("psa_backbone_deeplabv3plus_cityscapes", TEXTBOOK),
}


class Network:
    """One network and a batch for it."""

    def __init__(
        self, name: str, images: Tensor, samples: list[SegDataSample], dtype: torch.dtype
    ) -> None:
        config, case = NETWORKS[name]
        model = load_config(str(CONFIGS / f"{config}.py")).model
        model.backbone.init_cfg = None
        model.data_preprocessor = None  # the images are made as it would make them
        self.case: Case = CASES[case]
        self.model: nn.Module = revert_sync_batchnorm(MODELS.build(model)).to(images.device)
        self.images, self.samples, self.dtype = images, samples, dtype
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)

    def works(self) -> dict[str, Callable[[], Work]]:
        """What is timed, by name: how to prepare it."""
        return {"training step": self._training, "inference": self._inference}

    def _training(self) -> Work:
        self.model.train()
        return self._step

    def _inference(self) -> Work:
        self.model.eval()
        return self._predict

    def _step(self) -> None:
        with self.case.chosen():
            with self._autocast():
                losses = self.model(self.images, self.samples, mode="loss")
            total = sum(value for name, value in losses.items() if "loss" in name)
            total.backward()
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)  # the next network needs the memory

    def _predict(self) -> Tensor:
        with self.case.chosen(), self._autocast(), torch.no_grad():
            return self.model(self.images, mode="tensor")

    def _autocast(self) -> torch.autocast:
        low = self.dtype != torch.float32
        return torch.autocast(self.images.device.type, torch.bfloat16, enabled=low)


def measure(
    batch: int, size: tuple[int, int], dtype: str, device: str, rounds: int
) -> Iterator[dict[str, Any]]:
    """One row per network and work."""
    images = torch.randn(batch, 3, *size, device=device)
    labels = torch.randint(19, (batch, 1, *size), device=device)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    networks: dict[str, Network] = {}
    for name in NETWORKS:
        torch.manual_seed(0)
        networks[name] = Network(name, images, samples, getattr(torch, dtype))
    shape = f"{batch}x3x{size[0]}x{size[1]}"
    for work in ("training step", "inference"):
        prepare = {name: network.works()[work] for name, network in networks.items()}
        times = milliseconds(prepare, rounds, device)
        for name in networks:
            row: dict[str, Any] = {"network": name, "work": work, "shape": shape, "dtype": dtype}
            if name in times:
                peak = round(peak_bytes(prepare[name](), device) / 2**20)
                yield row | {"result": "ok"} | quantiles(times[name]) | {"peak_mib": peak}
            else:
                nothing = dict.fromkeys(("p20_ms", "p50_ms", "p80_ms", "peak_mib"), "")
                yield row | {"result": "out of memory"} | nothing


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument("--batch", type=int, help="Images at once (default: by device).")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="Rows and columns of the images in pixels (default: by device).",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="Type of numbers (default: bfloat16 on a GPU, float32 on a CPU).",
    )
    args = parse(parser)
    init_default_scope("mmseg")
    batch, *size = SHAPES[args.device]
    batch, size, dtype = args.batch or batch, args.size or size, args.dtype or DTYPES[args.device]
    rows = measure(batch, tuple(size), dtype, args.device, args.rounds)
    write(rows, "models", args.device, args.out)


if __name__ == "__main__":
    main()
