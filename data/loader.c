#include "data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"
#include "core/philox.h"

enum { MAX_BATCH = 1 << 20, MAX_THREADS = 64, MAX_RING = 1024, MAX_STAGES = 1000 };
static const uint64_t salt_block = 0x9E3779B97F4A7C15ull, salt_type = 0xC2B2AE3D27D4EB4Full;

typedef struct slot {
    bool      full;
    int32_t   count;
    int64_t  *index;                    /* [batch] */
    gq_qa    *qa;                       /* [batch] */
    uint8_t  *frames;                   /* [batch,T,S,S,3] or NULL */
    float    *tokens;                   /* [batch,T,N,D] or NULL */
    gq_error  err;                      /* of filling it */
} slot;

struct gq_loader {
    const gq_dataset *d;
    gq_loader_opts    o;                /* defaults filled in */
    gq_loader_stage  *stage;            /* [o.stages] */
    uint32_t         *by_type;          /* question numbers, grouped by type */
    int64_t           type_at[GQ_SHARD_TYPES + 1];
    size_t            frame_bytes, token_count;
    slot             *ring;             /* [o.ring] */
    gq_shard_cursor **cursor;           /* [o.threads] */
    pthread_t        *thread;           /* [o.threads] */
    int               running;
    pthread_mutex_t   lock;             /* guards what follows */
    pthread_cond_t    filled, freed;
    bool              quit;
    uint64_t          base;             /* position of batch 0 since the last seek */
    uint64_t          taken;            /* batches claimed by readers */
    uint64_t          given, released;  /* batches given to and released by the consumer */
    double            wait_s;
    atomic_uint       bad;
};

/* ---- the order ------------------------------------------------------------------------------- */

static uint64_t weight_sum(const gq_loader_stage *s)
{
    uint64_t sum = 0;
    for (int k = 0; k < GQ_SHARD_TYPES; k++)
        sum += s->weight[k];
    return sum;
}

static int64_t mixed_index(const gq_loader *l, int stage, uint64_t at, uint64_t sum)
{
    const uint32_t *w = l->stage[stage].weight;
    uint64_t        seed = l->o.seed + (uint64_t)stage, block = at / sum;
    uint64_t        place = gq_permute(seed ^ salt_block, (uint32_t)block, sum, at % sum);
    int             type = 0;
    while (place >= w[type])
        place -= w[type++];
    /* the number of this draw among the draws of its type follows from block and place alone */
    uint64_t draw = block * w[type] + place,
             n = (uint64_t)(l->type_at[type + 1] - l->type_at[type]);
    uint64_t pick =
        gq_permute(seed ^ (salt_type * (uint64_t)(type + 1)), (uint32_t)(draw / n), n, draw % n);
    return l->by_type[l->type_at[type] + (int64_t)pick];
}

int64_t gq_loader_index(const gq_loader *l, uint64_t position)
{
    int      stage = l->o.stages - 1;
    uint64_t n = (uint64_t)gq_dataset_count(l->d);
    while (stage > 0 && l->stage[stage].first > position)
        stage--;
    uint64_t at = position - l->stage[stage].first, sum = weight_sum(&l->stage[stage]);
    if (sum)
        return mixed_index(l, stage, at, sum);
    if (!l->o.shuffle)
        return (int64_t)(at % n);
    return (int64_t)gq_permute(l->o.seed + (uint64_t)stage, (uint32_t)(at / n), n, at % n);
}

/* Another question of the same type, when the GIF of the first cannot be read. */
static int64_t neighbour(const gq_loader *l, int64_t index, uint32_t distance)
{
    gq_qa qa;
    gq_dataset_qa(l->d, index, &qa);
    const uint32_t *list = l->by_type + l->type_at[qa.type];
    int64_t         n = l->type_at[qa.type + 1] - l->type_at[qa.type], lo = 0, hi = n - 1;
    while (lo < hi) {                            /* the lists are ascending */
        int64_t mid = (lo + hi) / 2;
        if (list[mid] < index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return list[(lo + distance) % n];
}

/* ---- readers --------------------------------------------------------------------------------- */

static gq_status read_pixels(gq_loader *l, gq_shard_cursor *c, slot *s, int32_t k, gq_error *err)
{
    gq_status st = GQ_OK;
    if (l->o.frames)
        st = gq_dataset_frames(l->d, c, s->qa[k].gif, s->frames + (size_t)k * l->frame_bytes, err);
    if (st == GQ_OK && l->o.tokens)
        st = gq_dataset_tokens(l->d, c, s->qa[k].gif, s->tokens + (size_t)k * l->token_count, err);
    return st;
}

static gq_status fill_sample(gq_loader *l, gq_shard_cursor *c, slot *s, int32_t k,
                             uint64_t position)
{
    int64_t wanted = gq_loader_index(l, position);
    for (uint32_t distance = 0;; distance++) {
        s->index[k] = distance ? neighbour(l, wanted, distance) : wanted;
        gq_dataset_qa(l->d, s->index[k], &s->qa[k]);
        gq_error_clear(&s->err);
        gq_status st = read_pixels(l, c, s, k, &s->err);
        if (st != GQ_EINPUT || !l->o.max_bad)
            return st;
        if (atomic_fetch_add(&l->bad, 1) >= l->o.max_bad)
            return gq_context(&s->err, "more than data.max_bad = %u damaged GIFs, the last",
                              l->o.max_bad);
    }
}

static void fill(gq_loader *l, gq_shard_cursor *c, uint64_t number)
{
    slot    *s = &l->ring[number % (uint64_t)l->o.ring];
    uint64_t first = l->base + number * (uint64_t)l->o.batch;
    s->count = 0;
    gq_error_clear(&s->err);
    for (int32_t k = 0; k < l->o.batch; k++) {
        uint64_t position = (first + (uint64_t)k) * (uint64_t)l->o.world + (uint64_t)l->o.rank;
        if (l->o.stop && position >= l->o.stop)
            break;
        if (fill_sample(l, c, s, k, position) != GQ_OK)
            break;
        s->count++;
    }
}

static void *read_ahead(void *arg)
{
    gq_loader *l = arg;
    pthread_mutex_lock(&l->lock);
    gq_shard_cursor *c = l->cursor[l->running++];
    for (;;) {
        while (!l->quit && l->taken - l->released >= (uint64_t)l->o.ring)
            pthread_cond_wait(&l->freed, &l->lock);
        if (l->quit)
            break;
        uint64_t number = l->taken++;
        pthread_mutex_unlock(&l->lock);
        fill(l, c, number);
        pthread_mutex_lock(&l->lock);
        l->ring[number % (uint64_t)l->o.ring].full = true;
        pthread_cond_broadcast(&l->filled);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void stop_readers(gq_loader *l, int started)
{
    pthread_mutex_lock(&l->lock);
    l->quit = true;
    pthread_cond_broadcast(&l->freed);
    pthread_mutex_unlock(&l->lock);
    for (int k = 0; k < started; k++)
        pthread_join(l->thread[k], NULL);
}

/* Starts at `position` with an empty ring. The readers take no signals: those are the main
 * thread's. */
static gq_status start_readers(gq_loader *l, uint64_t position, gq_error *err)
{
    sigset_t all, before;
    int      started = 0;
    l->quit = false;
    l->running = 0;
    l->base = position;
    l->taken = l->given = l->released = 0;
    for (int k = 0; k < l->o.ring; k++)
        l->ring[k].full = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (started < l->o.threads && pthread_create(&l->thread[started], NULL, read_ahead, l) == 0)
        started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started == l->o.threads)
        return GQ_OK;
    stop_readers(l, started);
    return gq_fail(err, GQ_ENOMEM,
                   "%s: the system gives no thread to read data (limit of processes?)",
                   gq_dataset_dir(l->d));
}

/* ---- opening --------------------------------------------------------------------------------- */

static gq_status check_stage(const gq_loader *l, const gq_loader_stage *s, gq_error *err)
{
    const char *dir = gq_dataset_dir(l->d);
    for (int k = 0; k < GQ_SHARD_TYPES; k++) {
        if (s->weight[k] > 1000)
            return gq_fail(err, GQ_ECONFIG, "%s: the weight of type %s is %u, not 0..1000", dir,
                           gq_dataset_type_name(l->d, k), s->weight[k]);
        if (s->weight[k] &&
            (k >= gq_dataset_meta(l->d)->ntypes || l->type_at[k] == l->type_at[k + 1]))
            return gq_fail(err, GQ_ECONFIG,
                           "%s: has no question of type %s, which a stage asks for", dir,
                           gq_dataset_type_name(l->d, k));
    }
    if (weight_sum(s) && !l->o.shuffle)
        return gq_fail(err, GQ_EUSAGE, "%s: a mix of types needs shuffling", dir);
    return GQ_OK;
}

static gq_status check_opts(const gq_loader *l, gq_error *err)
{
    const gq_loader_opts *o = &l->o;
    const char           *dir = gq_dataset_dir(l->d);
    if (!gq_dataset_count(l->d))
        return gq_fail(err, GQ_EINPUT, "%s: has no questions", dir);
    if (gq_dataset_count(l->d) > UINT32_MAX)
        return gq_fail(err, GQ_EINPUT, "%s: has more than %u questions", dir, UINT32_MAX);
    if (o->batch < 1 || o->batch > MAX_BATCH || o->threads < 1 || o->threads > MAX_THREADS ||
        o->ring < 1 || o->ring > MAX_RING)
        return gq_fail(err, GQ_EUSAGE, "%s: batch %d, threads %d, ring %d: out of range", dir,
                       o->batch, o->threads, o->ring);
    if (o->world < 1 || o->rank < 0 || o->rank >= o->world)
        return gq_fail(err, GQ_EUSAGE, "%s: rank %d of %d", dir, o->rank, o->world);
    if ((o->frames && !gq_dataset_meta(l->d)->size) ||
        (o->tokens && !gq_dataset_meta(l->d)->tokens))
        return gq_fail(err, GQ_EINPUT,
                       "%s: holds no %s, which this model reads; build it with them", dir,
                       o->frames && !gq_dataset_meta(l->d)->size ? "frames" : "features");
    for (int k = 0; k < o->stages; k++) {
        gq_status s = check_stage(l, &l->stage[k], err);
        if (s != GQ_OK)
            return s;
        if (k ? l->stage[k].first <= l->stage[k - 1].first : l->stage[0].first != 0)
            return gq_fail(err, GQ_EUSAGE, "%s: stage %d begins at %llu, not after the one before",
                           dir, k, (unsigned long long)l->stage[k].first);
    }
    return GQ_OK;
}

/* Counting sort by type; ascending within each. */
static bool group_by_type(gq_loader *l)
{
    int64_t n = gq_dataset_count(l->d), next[GQ_SHARD_TYPES + 1];
    gq_qa   qa;
    if (!(l->by_type = gq_malloc((size_t)n, sizeof *l->by_type)))
        return false;
    for (int64_t i = 0; i < n; i++) {
        gq_dataset_qa(l->d, i, &qa);
        l->type_at[qa.type + 1]++;
    }
    for (int k = 0; k < GQ_SHARD_TYPES; k++)
        l->type_at[k + 1] += l->type_at[k];
    memcpy(next, l->type_at, sizeof next);
    for (int64_t i = 0; i < n; i++) {
        gq_dataset_qa(l->d, i, &qa);
        l->by_type[next[qa.type]++] = (uint32_t)i;
    }
    return true;
}

static bool copy_stages(gq_loader *l)
{
    static const gq_loader_stage plain = {.first = 0};
    const gq_loader_stage       *from = l->o.stages ? l->o.stage : &plain;
    size_t                       n = l->o.stages ? (size_t)l->o.stages : 1;
    if (!(l->stage = gq_malloc(n, sizeof *l->stage)))
        return false;
    memcpy(l->stage, from, n * sizeof *from);
    l->o.stage = l->stage;
    l->o.stages = (int32_t)n;
    return true;
}

static gq_status make_buffers(gq_loader *l, gq_error *err)
{
    size_t batch = (size_t)l->o.batch;
    bool   ok = true;
    l->ring = gq_calloc((size_t)l->o.ring, sizeof *l->ring);
    l->cursor = gq_calloc((size_t)l->o.threads, sizeof *l->cursor);
    l->thread = gq_calloc((size_t)l->o.threads, sizeof *l->thread);
    ok = l->ring && l->cursor && l->thread;
    for (int k = 0; ok && k < l->o.ring; k++) {
        slot *s = &l->ring[k];
        s->index = gq_malloc(batch, sizeof *s->index);
        s->qa = gq_malloc(batch, sizeof *s->qa);
        ok = s->index && s->qa;
        if (ok && l->o.frames)
            ok = (s->frames = gq_malloc(batch, l->frame_bytes));
        if (ok && l->o.tokens)
            ok = (s->tokens = gq_malloc(batch, l->token_count * sizeof *s->tokens));
    }
    if (!ok)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for %d batches of %d GIFs read ahead",
                       gq_dataset_dir(l->d), l->o.ring, l->o.batch);
    gq_status st = GQ_OK;
    for (int k = 0; st == GQ_OK && k < l->o.threads; k++)
        st = gq_shard_cursor_new(l->d, &l->cursor[k], err);
    return st;
}

gq_status gq_loader_open(const gq_dataset *d, const gq_loader_opts *o, gq_loader **out,
                         gq_error *err)
{
    *out = NULL;
    if (o->stages < 0 || o->stages > MAX_STAGES)
        return gq_fail(err, GQ_EUSAGE, "%s: %d stages", gq_dataset_dir(d), o->stages);
    gq_loader *l = gq_calloc(1, sizeof *l);
    if (!l)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", gq_dataset_dir(d));
    l->d = d;
    l->o = *o;
    l->o.threads = o->threads ? o->threads : 2;
    l->o.ring = o->ring ? o->ring : 4;
    l->o.world = o->world ? o->world : 1;
    l->frame_bytes = gq_shard_frame_bytes(gq_dataset_meta(d));
    l->token_count = gq_shard_token_count(gq_dataset_meta(d));
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->filled, NULL);
    pthread_cond_init(&l->freed, NULL);
    gq_status s = copy_stages(l) && group_by_type(l) ? check_opts(l, err)
                  : gq_fail(err, GQ_ENOMEM, "%s: no memory to read it", gq_dataset_dir(d));
    if (s == GQ_OK)
        s = make_buffers(l, err);
    l->quit = true;                              /* nothing runs yet */
    if (s == GQ_OK)
        s = start_readers(l, 0, err);
    if (s != GQ_OK) {
        gq_loader_close(l);
        return s;
    }
    *out = l;
    return GQ_OK;
}

void gq_loader_close(gq_loader *l)
{
    if (!l)
        return;
    if (!l->quit)
        stop_readers(l, l->o.threads);
    for (int k = 0; l->ring && k < l->o.ring; k++) {
        gq_free(l->ring[k].index);
        gq_free(l->ring[k].qa);
        gq_free(l->ring[k].frames);
        gq_free(l->ring[k].tokens);
    }
    for (int k = 0; l->cursor && k < l->o.threads; k++)
        gq_shard_cursor_free(l->cursor[k]);
    pthread_cond_destroy(&l->freed);
    pthread_cond_destroy(&l->filled);
    pthread_mutex_destroy(&l->lock);
    gq_free(l->ring);
    gq_free(l->cursor);
    gq_free(l->thread);
    gq_free(l->by_type);
    gq_free(l->stage);
    gq_free(l);
}

/* ---- consuming ------------------------------------------------------------------------------- */

gq_status gq_loader_next(gq_loader *l, gq_batch *out, gq_error *err)
{
    double start = gq_now();
    pthread_mutex_lock(&l->lock);
    slot *s = &l->ring[l->given % (uint64_t)l->o.ring];
    while (!s->full)
        pthread_cond_wait(&l->filled, &l->lock);
    l->wait_s += gq_now() - start;
    gq_status st = s->err.code;
    uint64_t  position = l->base + l->given * (uint64_t)l->o.batch;
    if (st == GQ_OK && s->count)
        l->given++;                              /* the end and errors stay where they are */
    pthread_mutex_unlock(&l->lock);
    *out = (gq_batch){.position = position,
                      .count = st == GQ_OK ? s->count : 0,
                      .index = s->index,
                      .qa = s->qa,
                      .frames = s->frames,
                      .tokens = s->tokens};
    return st == GQ_OK ? GQ_OK : gq_fail(err, st, "%s", s->err.text);
}

void gq_loader_release(gq_loader *l)
{
    pthread_mutex_lock(&l->lock);
    if (l->released < l->given) {
        l->ring[l->released % (uint64_t)l->o.ring].full = false;
        l->released++;
        pthread_cond_broadcast(&l->freed);
    }
    pthread_mutex_unlock(&l->lock);
}

gq_status gq_loader_seek(gq_loader *l, uint64_t position, gq_error *err)
{
    if (!l->quit)
        stop_readers(l, l->o.threads);
    return start_readers(l, position, err);
}

double gq_loader_wait_seconds(const gq_loader *l) { return l->wait_s; }

uint32_t gq_loader_bad(const gq_loader *l)
{
    uint32_t n = atomic_load(&l->bad);
    return n > l->o.max_bad ? l->o.max_bad : n;
}
