/* gifqa-prep: from GIFs and tables to shards, and the small tools around that road. */
#include <signal.h>

#include "tools/cli.h"
#include "tools/prep.h"

static const gq_cli_program program = {
    .name = "gifqa-prep",
    .summary = "prepares data: tables and GIFs to shards, the toy world, looking inside",
    .usage = "COMMAND ...",
    .examples = "gifqa-prep build --example > questions.tsv\n"
                "gifqa-prep build questions.tsv --gifs gifs -o data/train --tokenizer gpt2\n"
                "gifqa-prep world --preset micro -o world",
    .notes = "Exit codes: 0 done, 2 usage, 3 configuration, 4 input data, 5 tokenizer or weights, "
             "6 disk or memory,\n"
             "9 directory in use, 75 stopped on request (the same command continues).",
};
static const gq_cli_command commands[] = {
    {"build", "a table and its GIFs to shards", gq_prep_build},
    {"convert", "packs a data set otherwise", gq_prep_convert},
    {"verify", "every byte of a data set", gq_prep_verify},
    {"stats", "what is in a data set", gq_prep_stats},
    {"head", "its first questions", gq_prep_head},
    {"frames", "the composed frames of a GIF", gq_prep_frames},
    {"tokenize", "token ids of lines of text", gq_prep_tokenize},
    {"world", "writes the toy world as GIF files", gq_prep_world},
    {"import", "TGIF and TGIF-QA as published to tables", gq_prep_import},
    {"fetch", "the GIFs of a list of URLs", gq_prep_fetch},
    {"index", "an index of the frames of many GIFs", gq_prep_index},
    {"search", "the frames of an index nearest to a text", gq_prep_search},
};

int main(int argc, char **argv)
{
    gq_cli_begin();
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is a failed write */
    return gq_cli_end(
        program.name,
        gq_cli_dispatch(&program, commands, sizeof commands / sizeof commands[0], argc, argv));
}
