"""One of two processes fails, in each way: python -m tests.lost.

Two processes of `tools/dist_train.sh` train a narrow network on synthetic streets; in its second
step a fault befalls the second one (of broken images, both read some). A row of the result is a
fault: seconds until all have ended, processes that load data included, the exit status, and the
line that names the first cause.
"""

import argparse
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import RESULTS, write
from tests import conftest
from tests.faults import OPTIONS

CONFIG = "psa_deeplabv3plus_r18_cityscapes"
SILENCE_S = 20
FAULTS = {
    "raises": "raises an exception",
    "broken": "meets a broken image",
    "killed": "is killed (SIGKILL)",
    "loader": "loses a process that loads its data (SIGKILL)",
    "hangs": f"is silent (`env_cfg.dist_cfg.timeout={SILENCE_S}`)",
    "orphaned": "loses torchrun (SIGKILL)",
}


def config(what: str, streets: Path, folder: Path, silence: float, workers: int = 0) -> Path:
    """A config file, in whose training a fault befalls the second process; `folder/befallen` then.

    Args:
        what: of `tests.engine.befalling`.
        streets: scenes, of which a copy is trained on.
        folder: for the file, and all it names.
        silence: seconds, after which a process is given up.
        workers: processes that load the data of each.
    """
    shutil.copytree(streets, folder / "data")
    hook = dict(type="Befall", what=what, once=str(folder / "befallen"))
    settings = {**OPTIONS, "custom_hooks": [hook], "train_cfg.val_interval": 3}
    settings["train_dataloader.num_workers"] = workers
    config = conftest.small(CONFIG, folder / "data", folder, **settings)
    config.env_cfg.dist_cfg = dict(timeout=silence)
    config.custom_imports.imports.append("tests.engine.befalling")
    config.pop("work_dir")
    config.dump(folder / "own.py")
    return folder / "own.py"


def trial(what: str, streets: Path) -> dict[str, object]:
    """A row of the result."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        workers = int(what != "broken")  # which would have read all that so short a run needs
        path = config(what, streets, folder, SILENCE_S, workers)
        command = ["bash", str(conftest.ROOT / "tools/dist_train.sh"), str(path), "2"]
        environment = os.environ | {"PYTHONPATH": str(conftest.ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, "--work-dir", "work"],
            cwd=folder,
            env=environment,
            stdout=(folder / "said").open("w"),
            stderr=subprocess.PIPE,
            text=True,
        )
        while any(_works_in(folder, process) for process in Path("/proc").glob("[0-9]*")):
            time.sleep(0.01)
        took = time.time() - (folder / "befallen").stat().st_mtime
        said = (folder / "said").read_text().splitlines()
        first = next((x for x in done.stderr.splitlines() if x.startswith("error: ")), said[-1])
        return dict(
            process=FAULTS[what],
            seconds=round(took, 1),
            status=done.returncode if what != "orphaned" else "",
            said=first.replace(f"{folder}/", "")
            .replace(platform.node(), "node7")
            .partition(";")[0],
        )


def _works_in(folder: Path, process: Path) -> bool:
    try:
        return (process / "cwd").readlink() == folder
    except OSError:  # it has ended, or is another user's
        return False


def trials() -> Iterator[dict[str, object]]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        counts = {"train": 10, "val": 4, "test": 2}
        streets = conftest.draw(Path(folder) / "streets", counts=counts, size=(128, 256))
        yield from (trial(what, streets) for what in FAULTS)


def main() -> None:
    """Try each fault, and write how it ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the CSV")
    args = parser.parse_args()
    write(trials(), "lost", "cpu", args.out)


if __name__ == "__main__":
    main()
