#!/usr/bin/env bash
# Guides and reference as pages: docs/_build/html/index.html. Arguments go to Sphinx; a warning is an error.
set -euo pipefail
cd "$(dirname "$0")/.."
[ ! -x .venv/bin/python ] || export PATH="$PWD/.venv/bin:$PATH"
# The reference imports all of gcnsys, the search and the test harness included.
python -c "import gcnsys, sphinx, myst_parser, furo, optuna, hypothesis" 2>/dev/null ||
    { source launch/install.sh && install_gcnsys docs,search,test; }
python -m sphinx -W --keep-going -q -b html docs docs/_build/html "$@"
echo "docs/_build/html/index.html"
