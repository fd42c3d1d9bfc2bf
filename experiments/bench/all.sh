#!/usr/bin/env bash
# All tables of this directory, in less than half an hour on two idle cores:
#
#   PYTHON=venv/bin/python experiments/bench/all.sh GIF [GIF ...]
#
# Writes tables/{gemm,step,profile,ask,t5,growth}.md and growth.svg beside this script. Nothing else should run meanwhile.
set -eu
cd "$(dirname "$0")"
[ $# -gt 0 ] || { echo "usage: PYTHON=... all.sh GIF [GIF ...]" >&2; exit 2; }
root=../..
gifs=()
for gif in "$@"; do gifs+=(--gif "$gif"); done
mkdir -p tables

# table NAME TITLE COMMAND...: the file appears when the command has succeeded
table() {
    local name=$1 title=$2 start=$SECONDS
    shift 2
    { printf '# %s\n\n' "$title"; "$@"; } >"tables/$name.part"
    mv "tables/$name.part" "tables/$name.md"
    echo "$name: $((SECONDS - start)) s" >&2
}

table gemm "Matrix products" ./gemm.sh
table step "A training step" ./step.sh
table profile "Where the time of a step goes" "$root/build/release/bin/gifqa-bench" step \
    --config "$root/configs/stllm_gpt2.yaml" --batch 4 --frames 3 --text 32 --threads 2 --masked --steps 3 --profile 3
table ask "A question to a GIF" ./ask.sh "${gifs[@]}"
table t5 "Text from text" ./t5.sh
table growth "Time and memory against size" ./growth.sh --steps 2
