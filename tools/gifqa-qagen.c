/* gifqa-qagen: from captions to questions; the tagger it reads them with. */
#include <string.h>

#include "tools/cli.h"
#include "tools/qagen.h"

static const gq_cli_command commands[] = {
    {"triples", "subject, predicate, object of each verb", gq_qagen_triples},
    {"train-tagger", "a part-of-speech tagger from a treebank", gq_qagen_train_tagger},
    {"eval-tagger", "how often it is right", gq_qagen_eval_tagger},
};

int main(int argc, char **argv)
{
    gq_cli_begin();
    for (size_t k = 0; argc > 1 && k < sizeof commands / sizeof *commands; k++)
        if (!strcmp(argv[1], commands[k].name))
            return gq_cli_end("gifqa-qagen", commands[k].run(argc - 1, argv + 1));
    return gq_cli_end("gifqa-qagen", gq_qagen_captions(argc, argv));
}
