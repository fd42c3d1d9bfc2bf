/* In the place of fetch.c and fetch_curl.c where libcurl is not. */
#include <string.h>

#include "data/fetch.h"

gq_status gq_fetch_gifs(const gq_fetch_opts *o, gq_fetch_report *report, gq_error *err)
{
    (void)o;
    memset(report, 0, sizeof *report);
    return gq_fail(err, GQ_EUSAGE,
                   "built without libcurl: install it (Debian: libcurl4-openssl-dev) and build "
                   "gifqa again, or bring the GIFs by other means");
}
