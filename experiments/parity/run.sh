#!/usr/bin/env bash
# Parity at the real sizes: ours and PyTorch in float32 against PyTorch in float64, and decoding against generate().
# Prints the tables of README.md and writes one TSV a configuration.
#
#   experiments/parity/run.sh [SEED [OUT [BIN]]]       1, experiments/parity, build/release/bin
#
# PYTHON names an interpreter with torch, transformers, safetensors, numpy and pyyaml. GIFQA_CPU forces a rung of ours.
# Needs 12 GB of disk for a scratch folder in $TMPDIR, 8 GB of memory, and about ten minutes on two cores.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
seed=${1:-1}
out=$(cd "${2:-$root/experiments/parity}" && pwd)
bin=$(cd "${3:-$root/build/release/bin}" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
reference() { "${PYTHON:-python3}" "$root/tests/reference/full_size.py" "$@"; }
parity() { "$bin/gifqa-parity" "$@"; }

reference make "$scratch" --seed "$seed"
for name in stllm_gpt2 stllm_seed stllm_paper; do
    config=$root/configs/$name.yaml
    parity step "$config" "$scratch" --set train.seed="$seed" >&2
    reference fp32 "$config" "$scratch"
    reference compare "$config" "$scratch" --tsv "$out/$name.seed$seed.tsv"
    rm -r "$scratch/ours" "$scratch/torch"
done

reference prompts "$scratch" --seed "$seed"
for beams in 1 4; do
    for kind in text visual; do
        parity decode "$root/configs/stllm_gpt2.yaml" "$scratch" $kind answers --set decode.beams=$beams \
            --set decode.max_new_tokens=12 --set model.weights.gpt2="$scratch/gpt2_decode.safetensors"
        reference decode "$scratch" $kind answers --search "{\"num_beams\": $beams}"
    done
done
