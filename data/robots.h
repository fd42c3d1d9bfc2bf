/* robots.h - what a robots.txt lets a program ask for (RFC 9309). Bytes in, answers out: no network,
 * no disk.
 *
 * Invariants: any bytes are a robots.txt; lines that mean nothing are passed over. Bytes beyond
 * GQ_ROBOTS_BYTES, and a line that this limit tears, are not read. Memory is at most some times that.
 * Paths and rules are compared in one form: escapes of unreserved characters are undone, and what is
 * neither reserved nor unreserved is escaped; in a query, delimiters are the same with and without
 * their escape.
 */
#ifndef GIFQA_DATA_ROBOTS_H
#define GIFQA_DATA_ROBOTS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"

enum {
    GQ_ROBOTS_BYTES = 512 << 10,        /* RFC 9309 2.5: at least 500 KiB                         */
    GQ_ROBOTS_PATH  = 16384,            /* bytes of a path                                        */
    GQ_ROBOTS_DELAY = 60,               /* seconds, the most of Crawl-delay that is heard         */
};

typedef struct gq_robots gq_robots;

/* The rules for `agent` (letters, '-' and '_'), from all groups that name it, in whatever case; when
 * there is none, from those for "*". *out: gq_robots_free() it. GQ_ENOMEM only. */
gq_status gq_robots_parse(const void *data, size_t size, const char *agent, gq_robots **out,
                          gq_error *err);
void      gq_robots_free(gq_robots *r);                      /* NULL allowed                      */
/* path: of a URL, from its '/' on, with its query. The longest rule that matches decides, of two
 * equally long ones the one that allows. NULL allows everything; a path of more than GQ_ROBOTS_PATH
 * bytes is not allowed. */
bool      gq_robots_allows(const gq_robots *r, const char *path);
/* Crawl-delay, the largest of the group: seconds between requests; 0: none. */
double    gq_robots_delay(const gq_robots *r);

#endif
