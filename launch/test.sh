#!/usr/bin/env bash
# Lint, type-check and test, the documentation included. `--all` runs the full products; other arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/install.sh && install_gcnsys test,report,search,docs,dgl,pyg,ogb,tensorboard
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
ruff check
ruff format --check
mypy
# nproc would count one thread of OpenMP as one core.
exec python -m pytest -n "$(env -u OMP_NUM_THREADS nproc)" --dist loadgroup "$@"
