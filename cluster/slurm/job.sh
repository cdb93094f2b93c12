#!/usr/bin/env bash
# Scheduler, workers and your script in one job; nothing stays on the login node.
#
#     sbatch job.sh python my_script.py ...
#
# The script says Client(), and no address: that is in DASK_SCHEDULER_ADDRESS.
#SBATCH --job-name=daskaug
#SBATCH --ntasks=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
set -euo pipefail

: "${DASK_CONFIG:?names the folder with the certificates and dask.yaml, see ../tls/README.md}"
file=$PWD/scheduler-$SLURM_JOB_ID.json
memory=$((${SLURM_MEM_PER_CPU:?give --mem-per-cpu} * SLURM_CPUS_PER_TASK))MiB
listen=${DASK_INTERFACE:+--interface $DASK_INTERFACE}   # as ib0

scheduler=
# The scheduler sends the workers away when it ends.
trap '[ -z "$scheduler" ] || kill "$scheduler" 2>/dev/null || true; wait; rm -f "$file"' EXIT

# shellcheck disable=SC2086  # two words, or none
dask scheduler $listen --port 0 --dashboard-address 127.0.0.1:0 --scheduler-file "$file" --preload daskaug.preload &
scheduler=$!
until [ -s "$file" ]; do
    kill -0 "$scheduler" # the job ends here where the scheduler did
    sleep 0.1
done
address=$(sed -n 's/^ *"address": "\(.*\)",*$/\1/p' "$file")
export DASK_SCHEDULER_ADDRESS=$address DASKAUG_SCHEDULER=$address

# No --lifetime: workers and script end together, with the job. A worker that dies must not take the others with it.
# shellcheck disable=SC2086
srun --kill-on-bad-exit=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    dask worker "$address" $listen --nworkers 1 --nthreads "$SLURM_CPUS_PER_TASK" --memory-limit "$memory" \
    --death-timeout 60 --dashboard-address 127.0.0.1:0 --preload daskaug.preload &

"$@"
