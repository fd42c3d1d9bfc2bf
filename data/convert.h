/* convert.h - a finished data set with its frames and features packed otherwise.
 *
 * Every GIF is read with all checks and written by the writer of shards: numbers, questions and
 * order stay as they are, to the bit; only the codec is another, and a shard with more GIFs than a
 * packed one may have becomes several. The tokenizer and the list of rejects come along. Stopped or
 * killed, the same call continues after the last finished shard. One shard is open at a time.
 */
#ifndef GIFQA_DATA_CONVERT_H
#define GIFQA_DATA_CONVERT_H

#include "data/progress.h"
#include "data/shard.h"

typedef struct gq_convert_report {
    uint32_t shards, continued;         /* in the data set, of them there already                 */
    uint64_t gifs, questions;
    uint64_t from_bytes, bytes;         /* of all shards, before and after                        */
    double   seconds;
} gq_convert_report;

/* from: a data set; out: a directory for another, which must not be `from`. report may be NULL. */
gq_status gq_convert(const char *from, const char *out, gq_shard_codec codec,
                     gq_progress_fn progress, void *ctx, gq_convert_report *report, gq_error *err);

#endif
