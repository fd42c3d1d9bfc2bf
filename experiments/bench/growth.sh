#!/usr/bin/env bash
# Time and memory of a step against batch, frames and size; draws growth.svg.
set -eu
exec python3 "$(dirname "$0")/compare.py" growth "$@"
