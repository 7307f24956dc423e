"""The runs of an experiment as a Slurm array: each task is one run."""

import shlex

from psa_seg.errors import UserError
from psa_seg.sweep.experiment import Experiment

SCRIPT = """#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
# sbatch it from the folder that it was made in. A task that was cut short goes on when it is queued
# again, which it asks for three minutes before its time limit; to start what is missing by then,
# make the script anew.
runs=({names})
trap 'kill -USR1 "$run"; wait "$run"
case $? in 0|2|3) ;; *) scontrol requeue "$SLURM_JOB_ID";; esac' USR1
trap 'kill -TERM "$run"; wait "$run"' TERM
{command} --run "${{runs[$SLURM_ARRAY_TASK_ID]}}" &
run=$!
wait "$run"
"""


def array_script(experiment: Experiment) -> str:
    """A script for sbatch with a task for each run that has no record.

    Raises:
        UserError: where every run has one.
    """
    names = [run.name for run in experiment.missing()]
    if not names:
        raise UserError(f"nothing is missing: every run of {experiment.path} has its record")
    command = shlex.join(experiment.command())
    return SCRIPT.format(
        name=experiment.path.stem, last=len(names) - 1, names=" ".join(names), command=command
    )
