#!/usr/bin/env bash
# From nothing to a trained model: install, cut the digits graph in two, train on both parts, write a report.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/install.sh && install_gcnsys report
run="runs/quickstart"

echo "== cutting the digits graph into 2 parts"
gcnsys partition build digits --parts 2 --out partitions/quickstart --overwrite
echo "== training a GCN on both, one worker each"
OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" torchrun --standalone --nproc-per-node 2 -m gcnsys \
    train partitions/quickstart --out "$run" --overwrite
echo "== writing a page and pictures of the run"
gcnsys report "$run" --out "$run/report"
