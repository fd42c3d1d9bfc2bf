/* What fates are called, and the options of a fetch as they are without any wish. */
#include "data/fetch.h"

typedef struct fate { const char *name; bool final; const char *meaning; } fate;

static const fate fates[] = {
#define FATE(name, text, final, meaning) {text, final, meaning},
    GQ_FETCH_FATES(FATE)
#undef FATE
};

const char *gq_fetch_fate_name(gq_fetch_fate f)
{
    return fates[f].name;
}

const char *gq_fetch_fate_meaning(gq_fetch_fate f)
{
    return fates[f].meaning;
}

bool gq_fetch_fate_final(gq_fetch_fate f)
{
    return fates[f].final;
}

gq_fetch_opts gq_fetch_defaults(void)
{
    return (gq_fetch_opts){
        .limits = gq_gif_limits_default(),
        .connections = 8,
        .per_host = 2,
        .interval_ms = 250,
        .tries = 4,
        .backoff_ms = 2000,
        .backoff_max_ms = 60000,
        .patience_ms = 600000,
        .losses = 20,
        .redirects = 5,
        .connect_ms = 15000,
        .total_ms = 300000,
        .slow_ms = 20000,
        .slow_bytes = 20000,
        .header_bytes = 65536,
        .seed = 1,
    };
}

double gq_fetch_alive_share(const gq_fetch_report *r)
{
    uint64_t told = 0;
    for (int f = 0; f < GQ_FETCH_FATE_COUNT; f++)
        if (fates[f].final && f != GQ_FETCH_BARRED && f != GQ_FETCH_LARGE)
            told += r->fate[f];
    return told ? (double)r->fate[GQ_FETCH_ALIVE] / (double)told : -1;
}
