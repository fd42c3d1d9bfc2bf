#!/usr/bin/env bash
# The training step beside PyTorch: time, spread, ratio, memory. Options: compare.py --help; PYTHON=... has PyTorch.
set -eu
exec python3 "$(dirname "$0")/compare.py" step "$@"
