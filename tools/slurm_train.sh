#!/usr/bin/env bash
#SBATCH --nodes=1 --gpus-per-node=4 --ntasks-per-node=1 --cpus-per-task=32
#SBATCH --requeue --open-mode=append --signal=B:USR1@180
# Train under Slurm, in the folder where sbatch is called:
#   sbatch [options of sbatch] tools/slurm_train.sh CONFIG WORK_DIR [options of tools/train.py]
# A job that is preempted, loses its node or reaches its time limit is queued again, and goes on
# from the last checkpoint in WORK_DIR: the run is the one it would have been without that. Three
# minutes before the limit it finishes its step, and writes one.
[ $# -ge 2 ] || { sed -n '4,5s/^# //p' "$0" >&2; exit 2; }
cd "${SLURM_SUBMIT_DIR:-.}" || exit 2
export NNODES=$SLURM_NNODES MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR GPUS=${SLURM_GPUS_ON_NODE:-1} SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
trap 'kill -USR1 "$run"; wait "$run"; case $? in 0|2|3) ;; *) scontrol requeue "$SLURM_JOB_ID";; esac' USR1
trap 'kill -TERM "$run"; wait "$run"' TERM
srun --kill-on-bad-exit=1 \
  bash -c 'NODE_RANK=$SLURM_NODEID exec python -m psa_seg.engine.torchrun "$GPUS" \
    -m psa_seg train "$0" --auto-resume --work-dir "$@"' "$@" &
run=$!
wait "$run"
