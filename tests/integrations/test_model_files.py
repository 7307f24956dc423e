"""Model files: a blog's row in one, and ours, which name a base, a place and options."""

from importlib.util import find_spec

import pytest
import yaml

from psa_seg.errors import UserError
from psa_seg.integrations.ultralytics import description, register
from tests.integrations.conftest import place, plain

pytestmark = pytest.mark.skipif(find_spec("ultralytics") is None, reason="needs psa-seg[yolo]")

ROWS = {
    "[1024]": dict(in_channels=256, layout="parallel"),
    "[256]": dict(in_channels=256),
    "[c2]": dict(in_channels=256),
    "[]": dict(in_channels=256),
    "[1024, paper, sequential, channel]": dict(layout="sequential", branches="channel"),
    "[c2, paper, parallel, both, default, False, None, None]": dict(layout="parallel"),
    "[1024, {layout: sequential, form: official}]": dict(layout="sequential", form="official"),
    "[{init: identity}]": dict(init="identity"),
}


def with_row(row, source=-1, scale="n"):
    """YOLOv10 as blogs have it: their own file, a row more, and all indices behind it moved."""
    config = plain(f"yolov10{scale}.yaml").model.yaml
    config = description.with_layer(config, None, {}, str)
    config["backbone"][-1] = yaml.safe_load(f"[{source}, 1, PolarizedSelfAttention, {row}]")
    return config


def built(config, folder, scale="n"):
    path = folder / f"yolov10{scale}-blog.yaml"
    path.write_text(yaml.safe_dump(config))
    register()
    return plain(path)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_of_a_blog(row, tmp_path):
    layer = place(built(with_row(row), tmp_path))[1]
    assert {name: getattr(layer, name) for name in ROWS[row]} == ROWS[row]


def test_a_row_at_another_scale_and_of_another_source(tmp_path):
    assert place(built(with_row("[1024]", scale="s"), tmp_path, "s"))[1].in_channels == 512
    assert place(built(with_row("[1024]", source=8), tmp_path))[1].in_channels == 256


@pytest.mark.parametrize(
    ("row", "source", "message"),
    [
        ("[512]", -1, r"\[512\]\]: the map has 256 channels, and 512 is 128 .*leave the width out"),
        ("[1024]", 6, r"the map has 128 channels, and 1024 is 256"),
        ("[1024]", [-1, 6], r"the map of one layer, not of \[-1, 6\]"),
        ("[1024, flat]", -1, r"form must be one of .*'flat'"),
        ("[1024, {depth: 2}]", -1, r"'depth'"),
        ("[1024, paper, parallel, both, default, no, 1, 2, 3, 4]", -1, r"too many positional"),
    ],
)
def test_a_wrong_row_is_one_message(row, source, message, tmp_path):
    with pytest.raises(UserError, match=f"(?s){message}"):
        built(with_row(row, source), tmp_path)


def test_a_mistyped_layer_is_one_message(tmp_path):
    config = with_row("[1024]")
    config["backbone"][-1][2] = "PolarisedSelfAttention"
    with pytest.raises(UserError, match=r"no layer of .*Polaris.*did you mean PolarizedSelfAtt"):
        built(config, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: yolo26{scale}.yaml\natention: {init: identity}", "unknown key: atention"),
        ("base: yolo99{scale}.yaml", "no model file of Ultralytics: yolo99n.yaml"),
        ("base: yolo26{scale}.yaml\nattention: false", "attention is not a list of options"),
        ("base: yolo26{scale}.yaml\nhead: 3", "unknown key: head"),
        ("base: 3", "no model file of Ultralytics: 3"),
        ("base: {0}/yolo26-mine.yaml", "no model file of Ultralytics: .* has no backbone"),
        ("base: yolo26{scale}.yaml\nattention: identity", "attention is not a list of options"),
        ("base: yolo26{scale}.yaml\nattention: {init: x}", "init must be one of"),
        ("base: yolo26{scale}.yaml\nafter: 99", "after=99: no layer of that index"),
    ],
)
def test_a_wrong_file_is_one_message(text, message, tmp_path):
    register()
    path = tmp_path / "yolo26-mine.yaml"
    path.write_text(text.replace("{0}", str(tmp_path)))
    with pytest.raises(UserError, match=f"(?s){message}"):
        plain(tmp_path / "yolo26n-mine.yaml")


def test_a_file_of_ones_own(tmp_path):
    register()
    (tmp_path / "my-yolo11-psa.yaml").write_text("base: yolo11{scale}.yaml\nattention:\n")
    (tmp_path / "yolo11s-fix.yaml").write_text("base: yolo11.yaml\n")
    for name in ("my-yolo11s-psa", "yolo11s-fix"):
        assert place(plain(tmp_path / f"{name}.yaml"))[1].in_channels == 512
    (tmp_path / "mine.yaml").write_text("base: yolo26s-sem.yaml\nafter: 4\nnc: 3\n")
    yolo = plain(tmp_path / "mine.yaml")
    index, layer = place(yolo)
    assert (index, layer.in_channels, yolo.model.yaml["nc"], yolo.task) == (5, 256, 3, "semantic")
