"""timm, torchvision and segmentation_models_pytorch themselves, in a process of their own.

PyPI's torchvision is built for CUDA: beside a CPU torch it cannot be imported for the want of its
operators, and where it is installed mmengine's Runner stops at that. `.ci/run` puts both packages
into a folder apart, which `PSA_SEG_TEST_VISION` names; the two operators that importing asks for
are declared here. Networks need none of them.
"""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FOLDER = os.environ.get("PSA_SEG_TEST_VISION")
DECLARED = """
import sys
import torch
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
needed = pytest.mark.skipif(FOLDER is None, reason="PSA_SEG_TEST_VISION: see .ci/run")


def run(code, *arguments):
    """What a program prints that may import timm and torchvision."""
    path = os.pathsep.join([str(ROOT), str(FOLDER)])
    command = [sys.executable, "-W", "ignore", "-c", DECLARED + code, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
