#include "tools/cli_cut.h"

#include <string.h>

static const char *const modes[] = {
#define NAME(id, text) [id] = text,
    GQ_LIST_CUTMODE(NAME)
#undef NAME
};
enum { MODES = sizeof modes / sizeof *modes };

const char *gq_cli_cut_mode(gq_cfg_cutmode mode)
{
    return modes[mode];
}

bool gq_cli_cut_given(const gq_cli_cut *c)
{
    return c->mode || c->apart >= 0;
}

gq_status gq_cli_cut_set(gq_cli_cut *c, gq_cli_list *set, gq_error *err)
{
    int known = 0;

    while (c->mode && known < MODES && strcmp(c->mode, modes[known]) != 0)
        known++;
    if (known == MODES)
        return gq_fail(err, GQ_EUSAGE, "--mode: '%s' is not one of clip, uniform, mix", c->mode);
    if (set->n + 2 > GQ_CLI_LIST_MAX)
        return gq_fail(err, GQ_EUSAGE, "--set is given too often");
    snprintf(c->text[0], sizeof c->text[0], "clipcut.mode=%s", modes[known]);
    snprintf(c->text[1], sizeof c->text[1], "clipcut.apart=%lld", (long long)c->apart);
    if (c->mode)
        set->item[set->n++] = c->text[0];
    if (c->apart >= 0)
        set->item[set->n++] = c->text[1];
    return GQ_OK;
}

void gq_cli_cut_warn(const char *program)
{
    gq_cli_warn(program,
                "the frames are chosen with the description's help: an ablation, no question "
                "answering. In TGIF-QA's FrameQA 99.3 %% of the descriptions contain the answer");
}
