/* embed_cache.h - embeddings of GIFs that were seen before: the last ones in memory, all of them in
 * a directory. Internal to train/.
 *
 * A key stands for everything that the numbers depend on (train/retrieve.c makes it), so an entry
 * is never out of date, it is only forgotten. In a directory an entry is one file "<key>.embeds":
 *
 *   0    "GQEMBED1"
 *   8    key, 32 bytes
 *   40   u32 frames, dim, width, height, gq_gif_flags(), 0
 *   64   i32 delay_cs[frames], f32 embed[frames, dim]
 *   end  XXH3 of all that, 128 bits
 *
 * little-endian, written under another name and renamed. Nothing in the directory is trusted: a
 * file that is not exactly this, of this key, with finite numbers, is as good as none and is
 * written again. When the files together are larger than the limit the oldest ones are removed.
 * A directory that cannot be read or written costs time and is told in a note, it is no error.
 */
#ifndef GIFQA_TRAIN_EMBED_CACHE_H
#define GIFQA_TRAIN_EMBED_CACHE_H

#include "train/retrieve.h"

enum { GQ_EMBED_KEY = 32 };

typedef struct gq_embed_cache gq_embed_cache;

/* dir: NULL, memory only; it is made when something is written. most: bytes of the directory. */
gq_status gq__embeds_open(const char *dir, uint64_t most, gq_embed_cache **out, gq_error *err);
void      gq__embeds_close(gq_embed_cache *c);               /* NULL allowed */

/* The entry of a key with embeddings of dim numbers, or NULL; *from says where it was. It stays the
 * cache's and is good until the next call. */
const gq_frame_set *gq__embeds_find(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY], int64_t dim,
                                    gq_origin *from);
/* Remembers what was computed: delay_cs and embed move into the cache, *set is empty afterwards. */
const gq_frame_set *gq__embeds_keep(gq_embed_cache *c, const uint8_t key[GQ_EMBED_KEY],
                                    gq_frame_set *set);
/* Why the directory could not be used last; "" when it could. */
const char *gq__embeds_note(const gq_embed_cache *c);

#endif
