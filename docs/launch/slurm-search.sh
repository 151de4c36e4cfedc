#!/bin/bash
# A search on four nodes: sbatch docs/launch/slurm-search.sh, in the folder of the suite, which all nodes share.
#SBATCH --job-name=search
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -eu

export MLFLOW_TRACKING_URI=http://HOST:5000
export RAY_USAGE_STATS_ENABLED=0
export PATH="$PWD/.venv/bin:$PATH"  # symmetric-run starts other commands of Ray by their name
address="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):6379"

# Starts Ray on every node, runs the command on the first one, and ends Ray with it.
srun .venv/bin/ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" -- \
  .venv/bin/python -m tuning.alexnet --trials 100 --workers 8 --cluster auto
