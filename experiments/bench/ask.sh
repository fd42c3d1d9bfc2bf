#!/usr/bin/env bash
# A question beside Python, phase by phase: ask.sh --gif FILE [--gif FILE ...]. PYTHON=... has PyTorch.
set -eu
exec python3 "$(dirname "$0")/compare.py" ask "$@"
