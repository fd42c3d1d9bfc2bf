#!/usr/bin/env bash
# Text from text with a T5 beside transformers: t5.sh [--rounds N]. PYTHON=... has PyTorch and transformers.
set -eu
exec python3 "$(dirname "$0")/compare.py" t5 "$@"
