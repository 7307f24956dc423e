"""The command `psa-seg`: each of the tools by its name."""

import difflib
import sys
from pathlib import Path

from psa_seg import __version__, shipped
from psa_seg.engine import tool

DEMO = ["psa_deeplabv3plus_cityscapes", "--demo"]
COMMANDS = {
    "demo": "Trains a small network on drawn streets: it needs no data and no GPU.",
    "doctor": "Looks at data, config and machine before a training, and writes a first data.yaml.",
    "train": "Trains the model of a config, on its data or on yours.",
    "test": "Scores a checkpoint on the test set of its data; of your own, on the validation set.",
    "predict": "Labels pictures and videos.",
    "export": "Writes a trained model as ONNX, or for torch.export.",
    "share": "Makes a folder of a checkpoint that others can load.",
    "convert": "Makes our checkpoint of another's, or theirs of ours, and tells what a file is.",
    "sweep": "Trains all runs of an experiment that have no record yet.",
    "leaderboard": "Makes tables and a page of the records of runs.",
    "format-cityscapes": "Makes and checks a zip for the Cityscapes server.",
}


def main(program: str | None = None) -> None:
    """Run one of the commands, as its file in `tools/` would run by itself.

    Args:
        program: by which this was started; None is the first word of the command line.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        tool.run(lambda: print(overview()))
    elif name == "--version":
        print(f"{shipped.COMMAND} {__version__}")
    elif name in COMMANDS:
        called, given = ("train", DEMO) if name == "demo" else (name, [])
        if given and {"-h", "--help"} & {*arguments}:
            print(f"{shipped.COMMAND} demo [options] is: train {' '.join(given)} [options]\n")
        shipped.begin(program or sys.argv[0], called, [*given, *arguments])
        run(shipped.TOOLS / shipped.FILES[called])
    else:
        near = difflib.get_close_matches(name, COMMANDS)
        print(
            f"error: {shipped.COMMAND} has no command {name!r}\n"
            + shipped.meant(near)
            + f"  do         see {shipped.COMMAND} --help",
            file=sys.stderr,
        )
        sys.exit(2)


def overview() -> str:
    """The commands, and where what comes along lies."""
    rows = [f"  {name:18} {does}" for name, does in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {shipped.COMMAND} COMMAND [options]\n",
            *rows,
            f"\n{shipped.COMMAND} COMMAND --help tells the options of one.",
            f"Configs, to be given by name: {shipped.CONFIGS}",
            f"Scripts for several GPUs and Slurm: {shipped.TOOLS}",
        ]
    )


def run(file: Path) -> None:
    """Run a tool's file as the program."""
    exec(compile(file.read_bytes(), str(file), "exec"), {"__name__": "__main__"})
