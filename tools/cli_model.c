#include "tools/cli_model.h"

gq_status gq_cli_open_model(const gq_cli_model *m, const char *path, gq_session **out,
                            gq_error *err)
{
    char            beams[48];
    gq_cli_list     set = m->set;
    gq_session_opts o = {.threads = (int)m->threads,
                         .which = m->last ? GQ_SESSION_LAST : GQ_SESSION_BEST,
                         .set = set.item};

    snprintf(beams, sizeof beams, "decode.beams=%lld", (long long)m->beams);
    if (m->beams && set.n == GQ_CLI_LIST_MAX)
        return gq_fail(err, GQ_EUSAGE, "--set is given too often");
    if (m->beams)
        set.item[set.n++] = beams;
    gq_cli_rung(&set);
    gq_cli_device(&set, m->device);
    o.n_set = set.n;
    return gq_session_open(path, &o, out, err);
}
