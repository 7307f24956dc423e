"""The runs of an experiment as a Slurm array: each task is one run."""

import shlex
import sys

from psa_seg.sweep.experiment import Experiment

SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array={tasks}
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# sbatch it from the folder that it was made in. A task that was cut short goes on when it is queued
# again; to start what is missing by then, make the script anew.
exec {command} --run "$SLURM_ARRAY_TASK_ID"
"""


def array_script(experiment: Experiment) -> str:
    """A script for sbatch with a task for each run that has no record."""
    missing = {run.name for run in experiment.missing()}
    tasks = [str(i) for i, run in enumerate(experiment.runs) if run.name in missing]
    command = shlex.join([sys.executable, sys.argv[0], str(experiment.path)])
    return SCRIPT.format(name=experiment.path.stem, tasks=",".join(tasks), command=command)
