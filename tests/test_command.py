"""psa-seg: its commands, the configs that they find by name, and the words of their messages."""

import importlib
import re
import subprocess
import sys

import pytest

from psa_seg import __version__, command, shipped
from psa_seg.engine import config as config_module
from psa_seg.engine import demo
from psa_seg.engine.config import load_config
from psa_seg.errors import UserError
from psa_seg.records.fingerprint import fingerprint
from psa_seg.sweep import read_experiment
from tests.conftest import ROOT

NAME = "psa_deeplabv3plus_cityscapes"
TIMM = "timm/psa_convnext_upernet_ade20k"


@pytest.fixture
def psa_seg(monkeypatch, capfd, tmp_path, streets):
    """A function: run the command in an empty folder → exit status, output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "prepare", lambda root: streets)

    def psa_seg(*arguments):
        monkeypatch.setattr(sys, "argv", ["/home/me/bin/psa-seg", *arguments])
        status = 0
        try:
            command.main()
        except SystemExit as end:
            status = end.code
        return status, *capfd.readouterr()

    return psa_seg


def test_commands_are_listed(psa_seg):
    status, said, _ = psa_seg()
    assert (status, said) == psa_seg("--help")[:2]
    assert status == 0
    for name, does in command.COMMANDS.items():
        assert f"  {name:18} {does}\n" in said
    assert psa_seg("--version")[1] == f"psa-seg {__version__}\n"


def test_every_tool_is_a_command():
    assert {*command.COMMANDS} == {*shipped.FILES, "demo"}
    assert {*shipped.FILES.values()} == {path.name for path in (ROOT / "tools").glob("*.py")}


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("trian", "train"), ("format_cityscapes", "format-cityscapes"), ("", ""), ("--demo", "demo")],
)
def test_an_unknown_command_is_a_message(psa_seg, wrong, meant):
    status, said, error = psa_seg(wrong)
    assert (status, said) == (2, "")
    assert error.startswith(f"error: psa-seg has no command {wrong!r}\n")
    assert f"meant      {meant}?" in error if meant else "meant" not in error


def test_a_command_is_its_tool(psa_seg):
    status, _, error = psa_seg("train", NAME)
    assert status == 2
    assert "error: Cityscapes: nothing in data/cityscapes/leftImg8bit" in error
    assert f"or yours   psa-seg train {NAME} --data FOLDER_OR_YAML\n" in error
    status, _, error = psa_seg("demo", "--cfg-options", "train_cfg.max_iters=no")
    assert status == 2
    assert "error: train_cfg.max_iters='no' is no whole number" in error
    assert psa_seg("leaderboard", "nowhere", "--out", "board")[2].startswith(
        "error: folder not found"
    )


def test_tools_are_called_as_the_user_has_called_one(monkeypatch):
    def at(called):
        monkeypatch.setattr(sys, "argv", [called, "x"])

    at(str(ROOT / "tools/sweep.py"))
    assert shipped.words("convert") == f"python {ROOT}/tools/convert_checkpoint.py"
    assert shipped.command() == [sys.executable, str(ROOT / "tools/sweep.py")]
    help_text = "python tools/train.py configs/psa_x.py, tools/doctor.py"
    assert shipped.told(help_text) == help_text
    at("/a notebook")
    assert shipped.words("train") == "psa-seg train"
    shipped.begin("/my bin/psa-seg", "sweep", ["x"])
    assert shipped.words("format-cityscapes") == "psa-seg format-cityscapes"
    assert shipped.command() == [sys.executable, "-m", "psa_seg", "sweep"]
    assert shipped.told(help_text) == "psa-seg train psa_x, psa-seg doctor"
    shipped.begin(shipped.MODULE, "sweep", ["x"])
    assert shipped.words("train") == "python -m psa_seg train"
    assert shipped.command() == [sys.executable, "-m", "psa_seg", "sweep"]


def test_the_package_is_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "psa_seg", "doctor", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: python -m psa_seg doctor [")


@pytest.mark.parametrize("given", [NAME, f"{NAME}.py", f"configs/{NAME}.py", TIMM, f"{TIMM}.py"])
def test_configs_are_found_by_name(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = shipped.config(given)
    name = given.removeprefix("configs/").removesuffix(".py")
    assert found == ROOT / "configs" / f"{name}.py"
    assert shipped.name(str(found)) == name
    (tmp_path / given).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / given).touch()
    assert shipped.config(given).resolve() == tmp_path / given, "the user's own comes first"
    assert shipped.name(given) == given


@pytest.mark.parametrize(
    ("given", "kind", "near"),
    [
        ("psa_deeplab3plus_cityscapes.py", "not found", NAME),
        ("mine", "not found", "mine.py"),
        ("sub/min.py", "not found", "sub/mine.py"),
        ("sub", "is a folder", ""),
        ("../tools/train.py", "not found", ""),  # a name leads nowhere else
        ("_base_/default_runtime", "not found", ""),  # is a part of one
    ],
)
def test_no_such_config_is_a_message(given, kind, near, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    for path in ("mine.py", "sub/mine.py"):
        (tmp_path / path).touch()
    with pytest.raises(UserError) as error:
        load_config(given)
    text = str(error.value)
    assert text.startswith(f"config {kind}: {given}\n  looked for {(tmp_path / given).resolve()}\n")
    assert f"meant      {near}" in text if near else "meant" not in text
    assert str(ROOT / "configs") in text


def test_a_config_of_ones_own_has_one_of_ours_as_its_base(tmp_path):
    own = tmp_path / "own.py"
    own.write_text(f'_base_ = ["psa_seg::{NAME}.py"]\nlabel = "mine"\n')
    config, base = load_config(str(own)), load_config(NAME)
    assert config.label == "mine"
    assert "_scope_" not in config.pretty_text
    assert fingerprint(config) == fingerprint(base)
    own.write_text(f"{own.read_text()}modell = dict()\n")
    (tmp_path / "child.py").write_text('_base_ = "own.py"\n')
    with pytest.raises(UserError, match=r"nothing reads 'modell'"):
        load_config(str(tmp_path / "child.py"))
    own.write_text('_base_ = "psa_seg::nothing.py"\n')
    with pytest.raises(
        UserError, match=r"no base psa_seg::nothing.py\n(.*\n)+  where      .*own.py"
    ):
        load_config(str(own))


def test_an_experiment_names_a_config(tmp_path):
    path = tmp_path / "trial.yaml"
    text = "records: r\nseeds: [0]\nattentions: {none: }\nplacements: {a: {b: ATTENTION}}\nconfig: "
    path.write_text(text + "baseline_deeplabv3plus_camvid")
    assert read_experiment(str(path)).config == shipped.CONFIGS / "baseline_deeplabv3plus_camvid.py"
    path.write_text(text + "baseline_deeplabv3plus_kamvid")
    with pytest.raises(UserError, match=rf"meant(.|\n)*camvid(.|\n)*where +config in {path}"):
        read_experiment(str(path))


def test_bases_by_whatever_name(tmp_path, monkeypatch):
    for name in (NAME, f"configs/{NAME}.py", "_base_/default_runtime.py"):
        assert shipped.base(name).is_file()
    for wrong in ("../tools/train.py", f"{NAME[:-1]}"):
        with pytest.raises(UserError, match=f"no base psa_seg::{re.escape(wrong)}\n"):
            shipped.base(wrong)
    with pytest.raises(UserError, match=f"meant      {NAME}?"):
        shipped.base(NAME[:-1])
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own.py").write_text("")
    assert shipped.config("~/own.py") == tmp_path / "own.py"
    importlib.reload(config_module)
    assert config_module.load_config(NAME).model.type == "LeanEncoderDecoder"
