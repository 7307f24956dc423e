"""What this machine has for training: versions, pairs that do not go together, GPU, disk."""

import importlib.util
import shutil
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import torch
from mmengine.config import Config
from packaging.requirements import Requirement
from packaging.version import Version

from psa_seg.engine.autocast import has_bfloat16
from psa_seg.engine.describe import environment
from psa_seg.registry import name_of

LEAST_FREE = 5e9  # bytes: checkpoints of a ResNet-50 with its optimizer, and pictures
# Two packages of which one breaks the other: name and specifier of each, and what then fails.
BAD_PAIRS = (
    ("cityscapesscripts>=2.3", "numpy>=2.4", "Cityscapes' own evaluator (--official) crashes"),
    ("cityscapesscripts>=2.3", "pillow>=12", "Cityscapes' instance images cannot be made"),
    ("onedl-mmcv>=2", "mmcv>=1", "both are `mmcv`: chance says which one counts"),
    ("onedl-mmcv>=2", "mmcv-lite>=1", "both are `mmcv`: chance says which one counts"),
    ("onedl-mmengine>=0", "mmengine>=0", "both are `mmengine`: chance says which one counts"),
    (
        "onedl-mmsegmentation>=1",
        "mmsegmentation>=0",
        "both are `mmseg`",
    ),
    ("opencv-python>=4", "opencv-python-headless>=4", "both are `cv2`: one overwrites the other"),
)


def check_environment() -> list[str]:
    """What is wrong: packages that are missing, or of a version that is not supported."""
    wrong = []
    for text in requires("psa-seg") or []:
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        found = _version(wanted.name)
        if found is None or not wanted.specifier.contains(found, prereleases=True):
            wrong.append(
                f"{wanted.name} {found or 'is not installed'}, and {wanted.specifier} is needed\n"
                "  do         pip install -r requirements.txt, in a fresh virtual environment"
            )
    return wrong


def check_precision(config: Config) -> list[str]:
    """What is wrong: an optimizer wrapper for mixed precision of hardware that is not here."""
    kind, gpu = name_of(config.optim_wrapper.get("type")), torch.cuda.is_available()
    wrong = ""
    if kind == "AmpOptimWrapper" and not gpu:
        wrong = "is for a GPU, and PyTorch sees none here"
    elif kind == "CPUAmpOptimWrapper" and gpu:
        wrong = "is for a CPU, and training is on a GPU here"
    elif kind == "CPUAmpOptimWrapper" and not has_bfloat16():
        wrong = "is for processors with units for bfloat16, which this one has not"
    if not wrong:
        return []
    return [
        f"{config.filename}: optim_wrapper.type {kind} {wrong}\n"
        "  do         take OptimWrapper; where there is mixed precision, --amp chooses"
    ]


def remarks_on_environment() -> list[str]:
    """What may be in the way on this machine."""
    found = [
        f"{one.name} {_version(one.name)} beside {other.name} {_version(other.name)}: {what}\n"
        f"  do         pip uninstall {other.name}, or give it a version outside {other.specifier}"
        for one, other, what in ((Requirement(a), Requirement(b), c) for a, b, c in BAD_PAIRS)
        if _is_there(one) and _is_there(other)
    ]
    if importlib.util.find_spec("torchvision") and not _fits_torchvision():
        found.append(
            f"torchvision {_version('torchvision')} is not of torch {torch.__version__}: importing "
            "it may fail\n  do         install both from one index"
        )
    if torch.version.cuda and not torch.cuda.is_available():
        found.append(
            "torch is a CUDA build, and sees no GPU: training runs on the CPU\n"
            "  do         look at nvidia-smi; without a GPU, PyTorch's CPU build is smaller"
        )
    if torch.cuda.is_available() and not importlib.util.find_spec("triton"):
        found.append("Triton is not installed: the attention is plain PyTorch on this GPU")
    free = shutil.disk_usage(Path.cwd()).free
    if free < LEAST_FREE:
        found.append(f"{free / 1e9:.1f} GB free in {Path.cwd()}: checkpoints may not fit")
    return found


def facts() -> str:
    """Hardware and versions, in a line."""
    here = environment()
    compilers = [name for name in ("cc", "c++", "nvcc") if shutil.which(name)]
    triton = f", Triton {_version('triton')}" if _version("triton") else ""
    free = shutil.disk_usage(Path.cwd()).free
    return (
        f"Python {here.python}, {here}{triton}, compilers: {', '.join(compilers) or 'none'}, "
        f"{free / 1e9:.0f} GB free here"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_there(wanted: Requirement) -> bool:
    found = _version(wanted.name)
    return found is not None and wanted.specifier.contains(found, prereleases=True)


def _fits_torchvision() -> bool:
    """torchvision 0.N goes with torch 2.(N - 15)."""
    here, there = Version(torch.__version__), Version(_version("torchvision") or "0")
    return there.minor - 15 == here.minor
