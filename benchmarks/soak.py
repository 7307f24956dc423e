"""Memory and open files of a long training: python -m benchmarks.soak.

The demo, with a validation and a checkpoint every 50 steps, for half an hour: what the process and
its data workers hold (VmRSS), and the files they have open, every ten seconds. SIGTERM ends it.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import options, parse, resident, write

ROOT = Path(__file__).parents[1]
EVERY = 50  # steps
PAUSE = 10  # s


def measure(minutes: float) -> Iterator[dict[str, Any]]:
    """One row every ten seconds, beginning with the first checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "tools/train.py",
            "configs/psa_deeplabv3plus_cityscapes.py",
        ]
        command += ["--demo", "--work-dir", f"{folder}/work", "--cfg-options"]
        command += ["train_cfg.max_iters=1000000", f"train_cfg.val_interval={EVERY}"]
        command += [f"default_hooks.checkpoint.interval={EVERY}"]
        said = Path(folder, "said.txt")
        with said.open("w") as file:
            run = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
        started = time.monotonic()
        while (now := time.monotonic() - started) < 60 * minutes and run.poll() is None:
            time.sleep(PAUSE)
            step = max((int(path.stem[5:]) for path in Path(folder).rglob("iter_*.pth")), default=0)
            if step:
                yield {"seconds": round(now), "step": step, **_held(run.pid)}
        run.send_signal(signal.SIGTERM)
        if run.wait() != 128 + signal.SIGTERM:
            raise SystemExit(f"error: the run ended by itself:\n{said.read_text()[-2000:]}")


def _held(process: int) -> dict[str, Any]:
    """MiB and open files, of a process and of its children."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    held = {str(process): resident("VmRSS", process), **{c: resident("VmRSS", c) for c in children}}
    return {
        "resident_mib": round(held.pop(str(process)) / 2**20),
        "workers": len(held),
        "workers_mib": round(sum(held.values()) / 2**20),
        "open_files": len(list(Path(f"/proc/{process}/fd").iterdir())),
        "workers_open_files": sum(len(list(Path(f"/proc/{c}/fd").iterdir())) for c in held),
    }


def main() -> None:
    """Measure, write one CSV."""
    parser = options(__doc__)
    parser.add_argument(
        "--minutes", type=float, default=30, help="How long to train (default: %(default)s)."
    )
    parser.set_defaults(device="cpu")
    args = parse(parser)
    write(measure(args.minutes), "soak", args.device, args.out)


if __name__ == "__main__":
    main()
