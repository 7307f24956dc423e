"""The recipes of examples/: that each runs, and measures what it says."""

import numpy as np

from psa_seg.datasets.synthetic.figures import JOINTS, LIMBS, TORSO, draw_figure
from tests import vision
from tests.conftest import ROOT

POSE = """
import runpy

import numpy as np

path = sys.argv.pop(1)
pose = runpy.run_path(path, run_name="pose")


class Oracle(torch.nn.Module):
    shift = 0

    def forward(self, images):
        heat = pose["batch"](list(pose["HELD_OUT"])[self.at : self.at + len(images)])[1]
        self.at += len(images)
        return heat.roll(self.shift, -1)


for shift in (0, 8):
    oracle = Oracle()
    oracle.at, oracle.shift = 0, shift
    print(pose["pck"](oracle))
networks = [pose["SimpleBaseline"]() for _ in range(2)]
assert networks[0](torch.zeros(1, 3, 64, 64)).shape == (1, 14, 16, 16)
runpy.run_path(path, run_name="__main__")
"""


def test_figures_are_where_their_joints_are():
    for seed in range(20):
        image, joints = draw_figure(seed, 96)
        assert (image.shape, image.dtype, joints.shape) == ((96, 96, 3), np.uint8, (len(JOINTS), 2))
        assert (joints > 0).all()
        assert (joints < 96).all()
        assert np.array_equal(draw_figure(seed, 96).image, image)
        apart = []
        for first, second in LIMBS[1::2]:  # forearms and shins: of one colour, but for noise
            end, middle = joints[second], joints[[first, second]].mean(0)
            colours = [image[int(y), int(x)].astype(int) for x, y in (end, middle)]
            apart.append(np.abs(colours[0] - colours[1]).max())
        assert np.median(apart) < 60
        assert np.linalg.norm(joints[TORSO[0]] - joints[TORSO[1]]) > 8
    assert not np.array_equal(draw_figure(0).joints, draw_figure(1).joints)


@vision.needed
def test_pose_by_heatmaps():
    """What is perfect has all joints, and what is elsewhere nearly none; both networks train."""
    arguments = ("--steps", 2, "--batch", 2, "--seeds", 2)
    lines = vision.run(POSE, ROOT / "examples/pose_heatmaps.py", *arguments).splitlines()
    lines = [line for line in lines if "OneDL" not in line]
    assert float(lines[0]) > 99
    assert float(lines[1]) < 5
    assert lines[2] == "PCK@0.2 on SYNTHETIC figures, 2 steps of 2:"
    assert [line.split(":")[0] for line in lines[3:5]] == ["seed 0", "seed 1"]
    assert lines[5].startswith("attended - plain: ")
