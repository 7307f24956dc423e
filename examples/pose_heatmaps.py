"""Pose by heatmaps: a ResNet with three deconvolutions, and Polarized Self-Attention in its blocks.

    python examples/pose_heatmaps.py                # needs torchvision; minutes on two cores

The paper's other half is keypoints. This is the field's simple baseline (Xiao et al. 2018, arXiv
1804.06208) on figures that a program draws with known joints: SYNTHETIC, and its numbers say
nothing about people. Both networks of a seed begin with the same weights and see the same figures.
"""

import argparse
import copy
import statistics

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from psa_seg import PolarizedSelfAttention, attend_in_blocks
from psa_seg.datasets.synthetic.figures import JOINTS, TORSO, draw_figure

SIZE, STRIDE = 64, 4  # pixels of a picture, and of one cell of a heatmap
SIGMA = 1.0  # of a joint's Gaussian, in cells
WEIGHT = 20  # how much more a cell at a joint counts than one that is empty, as nearly all are
HELD_OUT = range(1_000_000, 1_000_256)  # seeds of the figures that none trains on
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PCK = 0.2  # a joint counts as found within this share of the torso's length


class SimpleBaseline(nn.Module):
    """Pictures `[B, 3, H, W]` → heatmaps `[B, joints, H / 4, W / 4]`."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        resnet = torchvision.models.resnet18()
        self.backbone = nn.Sequential(*list(resnet.children())[:-2])
        layers: list[nn.Module] = []
        for channels in (resnet.fc.in_features, width, width):
            up = nn.ConvTranspose2d(channels, width, 4, 2, 1, bias=False)
            layers += [up, nn.BatchNorm2d(width), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Conv2d(width, len(JOINTS), 1))

    def forward(self, x: Tensor) -> Tensor:
        """The heatmaps."""
        return self.head(self.backbone(x))


def batch(seeds: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Figures: pictures `[B, 3, H, W]`, their heatmaps, and joints `[B, joints, 2]` in pixels."""
    figures = [draw_figure(seed, SIZE) for seed in seeds]
    images = torch.from_numpy(np.stack([figure.image for figure in figures])).float() / 255
    joints = torch.from_numpy(np.stack([figure.joints for figure in figures]))
    at = torch.arange(SIZE // STRIDE) * STRIDE + (STRIDE - 1) / 2  # centres, in the picture
    squares = (at - joints[..., None]) ** 2  # [B, joints, 2, cells]
    far = squares[..., 0, None, :] + squares[..., 1, :, None]
    heat = torch.exp(-far / (2 * (SIGMA * STRIDE) ** 2))
    return ((images - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2), heat, joints


@torch.no_grad()
def pck(network: nn.Module) -> float:
    """Percentage of held-out joints that are found within 0.2 torsos."""
    found = []
    for start in range(0, len(HELD_OUT), 64):
        images, _, joints = batch(list(HELD_OUT)[start : start + 64])
        heat = network.eval()(images)
        best = heat.flatten(2).argmax(-1)
        cells = torch.stack((best % heat.shape[-1], best // heat.shape[-1]), -1)
        errors = (cells * STRIDE + (STRIDE - 1) / 2 - joints).norm(dim=-1)
        torso = (joints[:, TORSO[0]] - joints[:, TORSO[1]]).norm(dim=-1, keepdim=True)
        found.append(errors < PCK * torso)
    return 100 * torch.cat(found).float().mean().item()


def train(network: nn.Module, seed: int, steps: int, size: int) -> None:
    """`steps` batches of `size` new figures each, the same for each network of a seed."""
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, max(2, steps))
    for step in range(steps):
        first = (seed * steps + step) * size
        images, heat, _ = batch(list(range(first, first + size)))
        errors = (network.train()(images) - heat).square() * (1 + WEIGHT * heat)
        loss = errors.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    """Train both networks for each seed, and print what they find."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=600, help="Steps (default: %(default)s).")
    parser.add_argument(
        "--batch", type=int, default=16, help="Figures a step (default: %(default)s)."
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="Seeds to train with (default: %(default)s)."
    )
    order = parser.parse_args()
    differences = []
    print(f"PCK@{PCK} on SYNTHETIC figures, {order.steps} steps of {order.batch}:", flush=True)
    for seed in range(order.seeds):
        torch.manual_seed(seed)
        plain = SimpleBaseline()
        ours = copy.deepcopy(plain)
        attend_in_blocks(ours, PolarizedSelfAttention)
        scores = []
        for network in (plain, ours):
            train(network, seed, order.steps, order.batch)
            scores.append(pck(network))
        differences.append(scores[1] - scores[0])
        print(f"seed {seed}: plain {scores[0]:.1f}, attended {scores[1]:.1f}", flush=True)
    spread = statistics.stdev(differences) if len(differences) > 1 else float("nan")
    mean = statistics.mean(differences)
    print(f"attended - plain: {mean:+.1f} ± {spread:.1f} (sd of {len(differences)} pairs)")


if __name__ == "__main__":
    main()
