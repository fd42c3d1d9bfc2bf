/* gifqa-bench: how fast and how large, measured; the programs it is compared with are in
 * experiments/peers. */
#include "tools/bench.h"

static const gq_cli_program program = {
    .name = "gifqa-bench",
    .summary = "measures speed and memory of the parts of gifqa",
    .usage = "COMMAND ...",
    .examples = "gifqa-bench step --config configs/stllm_gpt2.yaml --batch 4 --json\n"
                "gifqa-bench gemm 512x3072x768\n"
                "gifqa-bench ask --gif cat.gif",
    .notes =
        "Run it on a machine that does nothing else.\n"
        "Exit codes: 0 done, 2 usage, 3 configuration, 4 input data, 6 memory, 7 wrong numbers.",
};
static const gq_cli_command commands[] = {
    {"step", "a training step of a configuration", bench_step},
    {"ask", "a question to a GIF, phase by phase", bench_ask},
    {"t5", "text from text with a T5", bench_t5},
    {"gpu", "roofs of a GPU, and attention", bench_gpu},
    {"features", "frames through CLIP", bench_features},
    {"gemm", "matrix products beside OpenBLAS", bench_gemm},
    {"gif", "decoding GIFs", bench_gif},
    {"image", "preprocessing frames for CLIP", bench_image},
    {"tokenize", "text to token ids", bench_tokenize},
    {"load", "samples through the loader", bench_load},
    {"shards", "a data set of any size: build, verify, shuffle, resume", bench_shards},
};

int main(int argc, char **argv)
{
    gq_cli_begin();
    return gq_cli_end(
        program.name,
        gq_cli_dispatch(&program, commands, sizeof commands / sizeof commands[0], argc, argv));
}
