#!/bin/bash
# One training on four nodes: sbatch docs/launch/slurm-train.sh, in the folder of the suite, which all nodes share.
#SBATCH --job-name=train
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
set -eu

# The first node listens at this address. Slurm tells the processes their number.
JAX_COORDINATOR_ADDRESS="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):12345"
export JAX_COORDINATOR_ADDRESS

srun .venv/bin/python -m apps.alexnet train --backend jax --devices all --batch-size 1024 --hosts auto
