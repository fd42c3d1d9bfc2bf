#!/usr/bin/env bash
# What the programs say to bad input: runs every case with the programs of a build and prints one Markdown row for
# each: case, command, exit code, first line of the message.
#
#   experiments/bad_input/run.sh [BIN]        BIN: build/release/bin
#
# Works in a scratch directory that is removed at the end. The full disk is a small tmpfs of our own: it needs root
# or unprivileged user namespaces, and is left out where neither is to be had.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=$(cd "${1:-$root/build/release/bin}" && pwd)
PATH=$bin:$PATH
work=$(mktemp -d)
cd "$work"

# say CASE COMMAND CODE: a row; the message is the first line of ./err, or of ./out
say() {
    local line
    line=$(grep -m 1 . err || grep -m 1 . out || echo "(nothing)")
    printf '| %s | `%s` | %d | %s |\n' "$1" "$2" "$3" "${line//|/\\|}"
}

# row CASE COMMAND [SHOWN]: runs the command; SHOWN stands for one too long to show
row() {
    local code=0
    bash -c "$2" >out 2>err </dev/null || code=$?
    say "$1" "${3:-$2}" "$code"
}

# Starts a long run in the background and returns when it is under way; its messages go to ./err.
begin() {
    $train --run-dir "$1" --set train.steps=100000 >out 2>err &
    until [ -s "$1/metrics.jsonl" ]; do sleep 0.02; done
}

# interrupt: ctrl-C to the run in the background; the exit code is left in $code
interrupt() {
    code=0
    kill -INT $!
    wait $! || code=$?
}

# The bytes of one image of SIDE x SIDE pixels of colour 0, as \x escapes: LZW codes that grow by a pixel each.
solid_image() {
    local left=$(($1 * $1)) next=0 acc=0 bits=0 code width block=() text= i
    put() {
        acc=$((acc | $1 << bits)) bits=$((bits + $2))
        while [ $bits -ge 8 ]; do block+=($((acc & 255))); acc=$((acc >> 8)) bits=$((bits - 8)); done
    }
    bit_length() { width=3; while [ $(($1 >> width)) -gt 0 ]; do width=$((width + 1)); done; [ $width -le 12 ] || width=12; }
    put 4 3
    next=5                                   # the string of code c >= 6 has c - 4 pixels; 5 stands for one pixel
    while [ $left -gt 0 ]; do
        bit_length $next
        code=$next
        [ $((next - 4)) -le $left ] || code=$((left + 4))
        left=$((left - (code - 4)))
        [ $code -ne 5 ] || code=0
        put $code $width
        next=$((next + 1))
        if [ $next -gt 4095 ] && [ $left -gt 0 ]; then put 4 12; next=5; fi
    done
    bit_length $next
    put 5 $width
    put 0 7
    for ((i = 0; i < ${#block[@]}; i++)); do
        [ $((i % 255)) -ne 0 ] || text+=$(printf '\\x%02x' $((${#block[@]} - i < 255 ? ${#block[@]} - i : 255)))
        text+=$(printf '\\x%02x' "${block[i]}")
    done
    printf '%s' "$text\\x00"
}

# 300 frames of 4096 x 4096 pixels: five gigapixels in a few megabytes
make_bomb() {
    printf ',\x00\x00\x00\x00\x00\x10\x00\x10\x00\x02' >frame
    printf "$(solid_image 4096)" >>frame
    printf 'GIF89a\x00\x10\x00\x10\x80\x00\x00\x00\x00\x00\xff\xff\xff' >bomb.gif
    for _ in $(seq 300); do cat frame; done >>bomb.gif
    printf ';' >>bomb.gif
}

# One byte in the middle of a file becomes its complement.
flip() {
    local at=$(($(stat -c %s "$1") / 2)) byte
    byte=$(od -An -tu1 -j $at -N 1 "$1")
    printf "\\x$(printf %02x $((byte ^ 255)))" | dd of="$1" bs=1 seek=$at conv=notrunc status=none
}

exec 3>&1 4>&2 >log 2>&1
trap 'cat log >&4; rm -rf "$work"' EXIT
cp "$root/configs/stllm_nano.yaml" nano.yaml
gifqa-prep world -o world --train 400 --val 20 --test 20 --novel 20
for split in train val; do
    gifqa-prep build world/$split.tsv --gifs world/gif -o $split --tokenizer world/words.txt --config nano.yaml --set data.max_bad=0
done
sed 's/^  batch: 32/  batch: 32\n  stpes: 100/' nano.yaml >unknown.yaml
sed 's/^  batch: 32/  batch: 32\n  batch: 64/' nano.yaml >duplicate.yaml
train="gifqa-train --config nano.yaml --set data.train=train --quiet"
$train --run-dir whole --set train.steps=2
head -c 3000 whole/checkpoints/step-00000002/weights.safetensors >cut.safetensors
head -c 60 world/gif/test-000000.gif >cut.gif
make_bomb
cp -r train hurt
flip hurt/shard-00000.h5
exec >&3 2>&4
trap 'rm -rf "$work"' EXIT

echo "| case | command | exit | first line of the message |"
echo "|---|---|---|---|"
row "unknown config key" "gifqa-train --config unknown.yaml --check"
row "duplicate config key" "gifqa-train --config duplicate.yaml --check"
row "missing weights" "$train --run-dir a --set model.init=weights --set model.weights.clip=clip.safetensors" \
    "gifqa-train … --set model.init=weights --set model.weights.clip=clip.safetensors"
row "truncated safetensors" "$train --run-dir a --set model.init=weights --set model.weights.clip=cut.safetensors" \
    "gifqa-train … --set model.init=weights --set model.weights.clip=cut.safetensors"
row "truncated GIF" "gifqa-prep frames cut.gif -o frames"
row "bomb: 300 frames of 4096x4096 in $(($(stat -c %s bomb.gif) / 1000000)) MB" "gifqa-prep frames bomb.gif --raw /dev/null"
row "shard with a flipped byte, training" "$train --run-dir b --set train.steps=50 --set data.train=hurt --set data.max_bad=0" \
    "gifqa-train … --set data.train=hurt"
row "shard with a flipped byte, verified" "gifqa-prep verify hurt"

small='mkdir -p small && mount -t tmpfs -o size=6m none small && trap "umount small" EXIT'
full="$small; $train --run-dir small/run --set train.steps=40 --set train.save_every=5 --set train.keep_last=9 && exit 0
code=\$?; gifqa-ckpt verify small/run >verified; exit \$code"
within=
bash -c "$small" 2>/dev/null || within="unshare -rm"
if [ -z "$within" ] || $within true 2>/dev/null; then
    row "full disk during a checkpoint" "$within bash -c '$full'" "gifqa-train … --run-dir small/run --set train.save_every=5"
    echo "| … the checkpoints before it | \`gifqa-ckpt verify small/run\` | 0 | $(tail -n 1 verified) |"
fi

begin c
row "two runs in one directory" "$train --run-dir c" "gifqa-train … --run-dir c"
interrupt
begin d
interrupt
say "ctrl-C" "gifqa-train … --run-dir d" $code
steps=$(ls d/checkpoints | sed -n 's/^step-0*//p' | tail -n 1)
row "… and continued" "$train --run-dir d --resume must --set train.steps=$((steps + 8))" "gifqa-train … --run-dir d --resume must"
