#!/usr/bin/env bash
# The matrix products of the step beside OpenBLAS, then bf16 operands beside fp32 where the processor has them.
#
#   gemm.sh [BIN] [options of gifqa-bench gemm]      BIN: build/release/bin
#
# OpenBLAS chooses its kernels itself: variables that force some are taken out; gifqa-bench compares all results with ours.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${1:-$root/build/release/bin}
[ $# -eq 0 ] || shift
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
"$bin/gifqa-bench" gemm "$@"
if grep -qw avx512_bf16 /proc/cpuinfo; then
    printf '\n## bf16 operands beside fp32\n\n'
    "$bin/gifqa-bench" gemm --bf16 "$@"
fi
