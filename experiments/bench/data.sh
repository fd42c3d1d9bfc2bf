#!/usr/bin/env bash
# From files to what the models take, beside Pillow, transformers and tokenizers; then the loader:
#
#   PYTHON=venv/bin/python data.sh GIFS TOKENIZERS TEXT [--only gif|image|tokenize|load] ...
#
# GIFS: a directory of GIFs; TOKENIZERS: one with gpt2/ and clip/, each vocab.json and merges.txt, and t5/ with
# spiece.model; TEXT: English text.
set -eu
exec python3 "$(dirname "$0")/data.py" "$@"
