"""A Slurm job that is killed goes on when it is queued again."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmseg.registry import MODELS

from tests.conftest import ROOT, small
from tests.quick import CROPS

NAME = "psa_deeplabv3plus_cityscapes"
CACHED = "torch/hub/checkpoints/start-01234567.pth"


@pytest.fixture
def job(tmp_path):
    """Command line and environment of a job on one node; Slurm's own two programs are stand-ins."""
    programs = tmp_path / "bin"
    programs.mkdir()
    called = f'echo "$@" >> {tmp_path}/scontrol.txt; echo localhost'
    for name, does in (("srun", 'shift; exec "$@"'), ("scontrol", called)):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_NNODES": "1",
        "SLURM_NODEID": "0",
        "SLURM_GPUS_ON_NODE": "2",
        "SLURM_CPUS_PER_TASK": "2",
        "TORCH_HOME": str(tmp_path / "torch"),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "localhost",
    }
    arguments = [str(tmp_path / f"{NAME}.py"), str(tmp_path / "work")]
    command = ["bash", str(ROOT / "tools/slurm_train.sh"), *arguments]
    return dict(args=command, cwd=tmp_path, env=environment, text=True)


def test_a_job_at_its_time_limit_goes_on(job, streets, tmp_path):
    """Two processes, from a checkpoint with an address, which the first of them reads alone."""
    options = {
        "train_dataloader.batch_size": 4,
        "load_from": f"https://example.invalid/{Path(CACHED).name}",
        "train_cfg.max_iters": 9,
        "train_cfg.val_interval": 9,
        "default_hooks.logger.interval": 1,
        **CROPS,
    }
    config = small(NAME, streets, tmp_path, **options)
    config.dump(tmp_path / f"{NAME}.py")
    (tmp_path / CACHED).parent.mkdir(parents=True)
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, tmp_path / CACHED)

    with subprocess.Popen(**job, start_new_session=True, stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            if "Iter(train) [2/9]" in line:
                break
        process.send_signal(signal.SIGUSR1)  # as Slurm does before the time limit
        said = process.stdout.read()
    assert process.returncode == 128 + signal.SIGUSR1, said[-2000:]
    step = int(re.search(r"interrupted \(SIGUSR1\) after step (\d+) of 9, which", said)[1])
    assert (tmp_path / f"work/iter_{step}.pth").exists()
    called = (tmp_path / "scontrol.txt").read_text().splitlines()
    assert called == ["show hostnames localhost", f"requeue {os.getpid()}"]
    assert not (tmp_path / "work/record.json").exists(), "it was not at its end"

    done = subprocess.run(**job, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Advance dataloader {step} steps" in done.stdout
    assert f"Iter(train) [{step}/9]" not in done.stdout
    record = json.loads((tmp_path / "work/record.json").read_text())
    assert (record["iterations"], len(record["validations"])) == (9, 1)
