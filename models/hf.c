#include "models/hf.h"

#include <stdio.h>
#include <string.h>

#include "core/io.h"
#include "core/mem.h"

/* ---- the table ------------------------------------------------------------------------------- */

typedef enum how { AS_IS, TRANSPOSED, KERNEL, ONE_FIRST, SCALAR } how;

/* {i} is the layer number. `part` of `parts`: which share of our rows this tensor holds. Suffixes
 * .w/.g and .b stand for both weight and bias when `ours` ends in ".*". */
typedef struct entry {
    gq_hf_family family;
    const char  *ours, *theirs;
    int          part, parts;
    how          how;
} entry;

#define VISION "vision_model.encoder.layers.{i}."
#define TEXT   "text_model.encoder.layers.{i}."
#define QUERY  "qformer.encoder.layer.{i}."
#define ENC    "encoder.block.{i}.layer."
#define DEC    "decoder.block.{i}.layer."
#define SELF   "0.SelfAttention."
#define CROSS  "1.EncDecAttention."
static const entry table[] = {
    {GQ_HF_CLIP, "clip.logit_scale", "logit_scale", 0, 1, SCALAR},
    {GQ_HF_CLIP, "clip.v.patch.w", "vision_model.embeddings.patch_embedding.weight", 0, 1, KERNEL},
    {GQ_HF_CLIP, "clip.v.cls", "vision_model.embeddings.class_embedding", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.pos", "vision_model.embeddings.position_embedding.weight", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.ln_pre.*", "vision_model.pre_layrnorm.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.ln_1.*", VISION "layer_norm1.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.attn.qkv.*", VISION "self_attn.q_proj.*", 0, 3, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.attn.qkv.*", VISION "self_attn.k_proj.*", 1, 3, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.attn.qkv.*", VISION "self_attn.v_proj.*", 2, 3, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.attn.out.*", VISION "self_attn.out_proj.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.ln_2.*", VISION "layer_norm2.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.mlp.fc1.*", VISION "mlp.fc1.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.h.{i}.mlp.fc2.*", VISION "mlp.fc2.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.ln_post.*", "vision_model.post_layernorm.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.v.proj.w", "visual_projection.weight", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.tok", "text_model.embeddings.token_embedding.weight", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.pos", "text_model.embeddings.position_embedding.weight", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.ln_1.*", TEXT "layer_norm1.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.attn.qkv.*", TEXT "self_attn.q_proj.*", 0, 3, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.attn.qkv.*", TEXT "self_attn.k_proj.*", 1, 3, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.attn.qkv.*", TEXT "self_attn.v_proj.*", 2, 3, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.attn.out.*", TEXT "self_attn.out_proj.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.ln_2.*", TEXT "layer_norm2.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.mlp.fc1.*", TEXT "mlp.fc1.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.h.{i}.mlp.fc2.*", TEXT "mlp.fc2.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.ln_final.*", "text_model.final_layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_CLIP, "clip.t.proj.w", "text_projection.weight", 0, 1, AS_IS},

    {GQ_HF_QFORMER, "qformer.query", "query_tokens", 0, 1, ONE_FIRST},
    {GQ_HF_QFORMER, "qformer.ln.*", "qformer.layernorm.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.self.qkv.*", QUERY "attention.attention.query.*", 0, 3, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.self.qkv.*", QUERY "attention.attention.key.*", 1, 3, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.self.qkv.*", QUERY "attention.attention.value.*", 2, 3, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.self.out.*", QUERY "attention.output.dense.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.self.ln.*", QUERY "attention.output.LayerNorm.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.cross.q.*", QUERY "crossattention.attention.query.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.cross.kv.*", QUERY "crossattention.attention.key.*", 0, 2, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.cross.kv.*", QUERY "crossattention.attention.value.*", 1, 2, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.cross.out.*", QUERY "crossattention.output.dense.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.cross.ln.*", QUERY "crossattention.output.LayerNorm.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.mlp.fc1.*", QUERY "intermediate_query.dense.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.mlp.fc2.*", QUERY "output_query.dense.*", 0, 1, AS_IS},
    {GQ_HF_QFORMER, "qformer.h.{i}.mlp.ln.*", QUERY "output_query.LayerNorm.*", 0, 1, AS_IS},

    {GQ_HF_GPT2, "gpt2.wte", "wte.weight", 0, 1, AS_IS},
    {GQ_HF_GPT2, "gpt2.wpe", "wpe.weight", 0, 1, AS_IS},
    {GQ_HF_GPT2, "gpt2.h.{i}.ln_1.*", "h.{i}.ln_1.*", 0, 1, AS_IS},
    {GQ_HF_GPT2, "gpt2.h.{i}.attn.qkv.*", "h.{i}.attn.c_attn.*", 0, 1, TRANSPOSED},
    {GQ_HF_GPT2, "gpt2.h.{i}.attn.out.*", "h.{i}.attn.c_proj.*", 0, 1, TRANSPOSED},
    {GQ_HF_GPT2, "gpt2.h.{i}.ln_2.*", "h.{i}.ln_2.*", 0, 1, AS_IS},
    {GQ_HF_GPT2, "gpt2.h.{i}.mlp.fc1.*", "h.{i}.mlp.c_fc.*", 0, 1, TRANSPOSED},
    {GQ_HF_GPT2, "gpt2.h.{i}.mlp.fc2.*", "h.{i}.mlp.c_proj.*", 0, 1, TRANSPOSED},
    {GQ_HF_GPT2, "gpt2.ln_f.*", "ln_f.*", 0, 1, AS_IS},
    {GQ_HF_GPT2, "gpt2.head.w", "lm_head.weight", 0, 1, AS_IS},

    {GQ_HF_T5, "t5.shared", "shared.weight", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.rel", "encoder.block.0.layer." SELF "relative_attention_bias.weight", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.ln_1.*", ENC "0.layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.attn.qkv.*", ENC SELF "q.*", 0, 3, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.attn.qkv.*", ENC SELF "k.*", 1, 3, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.attn.qkv.*", ENC SELF "v.*", 2, 3, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.attn.out.*", ENC SELF "o.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.ln_2.*", ENC "1.layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.mlp.fc1.*", ENC "1.DenseReluDense.wi.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.mlp.gated.*", ENC "1.DenseReluDense.wi_0.*", 0, 2, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.mlp.gated.*", ENC "1.DenseReluDense.wi_1.*", 1, 2, AS_IS},
    {GQ_HF_T5, "t5.enc.h.{i}.mlp.fc2.*", ENC "1.DenseReluDense.wo.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.enc.ln_f.*", "encoder.final_layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.rel", "decoder.block.0.layer." SELF "relative_attention_bias.weight", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.ln_1.*", DEC "0.layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.attn.qkv.*", DEC SELF "q.*", 0, 3, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.attn.qkv.*", DEC SELF "k.*", 1, 3, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.attn.qkv.*", DEC SELF "v.*", 2, 3, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.attn.out.*", DEC SELF "o.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.ln_2.*", DEC "1.layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.cross.q.*", DEC CROSS "q.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.cross.kv.*", DEC CROSS "k.*", 0, 2, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.cross.kv.*", DEC CROSS "v.*", 1, 2, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.cross.out.*", DEC CROSS "o.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.ln_3.*", DEC "2.layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.mlp.fc1.*", DEC "2.DenseReluDense.wi.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.mlp.gated.*", DEC "2.DenseReluDense.wi_0.*", 0, 2, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.mlp.gated.*", DEC "2.DenseReluDense.wi_1.*", 1, 2, AS_IS},
    {GQ_HF_T5, "t5.dec.h.{i}.mlp.fc2.*", DEC "2.DenseReluDense.wo.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.dec.ln_f.*", "decoder.final_layer_norm.*", 0, 1, AS_IS},
    {GQ_HF_T5, "t5.head.*", "lm_head.*", 0, 1, AS_IS},

    {GQ_HF_STLLM, "bridge.ln.*", "bridge_ln.*", 0, 1, AS_IS},
    {GQ_HF_STLLM, "bridge.*", "bridge.*", 0, 1, AS_IS},
    {GQ_HF_STLLM, "proj.*", "proj.*", 0, 1, AS_IS},
    {GQ_HF_STLLM, "mvm.predictor.ln.*", "mvm_predictor_ln.*", 0, 1, AS_IS},
    {GQ_HF_STLLM, "mvm.predictor.*", "mvm_predictor.*", 0, 1, AS_IS},
};

/* Matches `ours` against a pattern; *layer gets {i}, *suffix the letter behind a final ".*". */
static bool match(const char *pattern, const char *ours, int *layer, char *suffix)
{
    for (; *pattern; pattern++) {
        if (strncmp(pattern, "{i}", 3) == 0) {
            if (*ours < '0' || *ours > '9')
                return false;
            for (*layer = 0; *ours >= '0' && *ours <= '9'; ours++)
                *layer = 10 * *layer + (*ours - '0');
            pattern += 2;
        } else if (*pattern == '*') {
            *suffix = *ours;
            return *ours && !ours[1];
        } else if (*pattern != *ours++) {
            return false;
        }
    }
    return *ours == '\0';
}

static void expand(const char *theirs, int layer, char suffix, char *out, size_t size)
{
    size_t at = 0;
    for (; *theirs && at + 16 < size; theirs++) {
        if (strncmp(theirs, "{i}", 3) == 0) {
            at += (size_t)snprintf(out + at, size - at, "%d", layer);
            theirs += 2;
        } else if (*theirs == '*') {
            at += (size_t)snprintf(out + at, size - at, "%s", suffix == 'b' ? "bias" : "weight");
        } else {
            out[at++] = *theirs;
        }
    }
    out[at] = '\0';
}

static void shape_of(const entry *e, const gq_param *q, gq_hf_part *part)
{
    int64_t rows = q->shape[0] / e->parts, side;

    part->n = q->n / e->parts;
    part->first = e->part * part->n;
    part->rank = q->rank;
    memcpy(part->shape, q->shape, sizeof part->shape);
    part->shape[0] = rows;
    if (e->how == TRANSPOSED && q->rank == 2) {
        part->transposed = true;
        part->shape[0] = q->shape[1];
        part->shape[1] = rows;
    } else if (e->how == KERNEL) {
        for (side = 1; 3 * side * side < q->shape[1];)
            side++;
        part->rank = 4;
        part->shape[1] = 3;
        part->shape[2] = part->shape[3] = side;
    } else if (e->how == ONE_FIRST) {
        part->rank = 3;
        part->shape[2] = part->shape[1];
        part->shape[1] = part->shape[0];
        part->shape[0] = 1;
    } else if (e->how == SCALAR) {
        part->rank = 0;
    }
}

int gq_hf_parts(gq_hf_family f, const gq_param *q, gq_hf_part part[3])
{
    int count = 0;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const entry *e = &table[i];
        int          layer = 0;
        char         suffix = 'w';
        if (e->family != f || count == 3 || !match(e->ours, q->name, &layer, &suffix))
            continue;
        memset(&part[count], 0, sizeof part[count]);
        expand(e->theirs, layer, suffix, part[count].name, sizeof part[count].name);
        shape_of(e, q, &part[count++]);
    }
    return count;
}

bool gq_hf_has(const gq_params *p, gq_hf_family f)
{
    gq_hf_part part[3];
    for (int32_t i = 0; i < p->count; i++)
        if (gq_hf_parts(f, &p->param[i], part))
            return true;
    return false;
}

/* ---- loading --------------------------------------------------------------------------------- */

static const char *const prefixes[] = {
    "", "transformer.", "language_model.", "language_model.transformer.", "model.", "clip."};

static const gq_st_tensor *find(const gq_safetensors *st, const char *name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        char                full[224];
        const gq_st_tensor *t;
        snprintf(full, sizeof full, "%s%s", prefixes[i], name);
        if ((t = gq_st_find(st, full)) != NULL)
            return t;
    }
    /* T5's token table, as files name it that keep one name of a tied tensor */
    return strcmp(name, "shared.weight") == 0 ? find(st, "encoder.embed_tokens.weight") : NULL;
}

/* Shapes agree up to dimensions of one (old files store logit_scale as [] or [1]). */
static bool same_shape(const gq_hf_part *part, const gq_st_tensor *t)
{
    int i = 0, j = 0;
    for (;;) {
        while (i < part->rank && part->shape[i] == 1)
            i++;
        while (j < t->rank && t->shape[j] == 1)
            j++;
        if (i == part->rank || j == t->rank)
            return i == part->rank && j == t->rank;
        if ((uint64_t)part->shape[i++] != t->shape[j++])
            return false;
    }
}

static gq_status wrong_shape(const gq_hf_part *part, const gq_st_tensor *t, gq_error *err)
{
    char want[96] = "[", got[96] = "[";
    for (int i = 0; i < part->rank; i++)
        snprintf(want + strlen(want), sizeof want - strlen(want), "%s%lld", i ? "," : "",
                 (long long)part->shape[i]);
    for (int i = 0; i < t->rank && i < 8; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%llu", i ? "," : "",
                 (unsigned long long)t->shape[i]);
    return gq_fail(err, GQ_EWEIGHTS,
                   "%s: tensor '%s' is %s], the model wants %s]: check the sizes in the config",
                   t->file, t->name, got, want);
}

gq_status gq_hf_read(const gq_hf_part *part, const gq_st_tensor *t, double *dst, gq_error *err)
{
    double   *src;
    gq_status s;

    if (!same_shape(part, t))
        return wrong_shape(part, t, err);
    if (!part->transposed)
        return gq_st_read_f64(t, dst, err);
    src = gq_malloc((size_t)part->n, sizeof *src);
    if (!src)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory for tensor '%s'", t->file, t->name);
    s = gq_st_read_f64(t, src, err);
    for (int64_t in = 0; s == GQ_OK && in < part->shape[0]; in++)
        for (int64_t out = 0; out < part->shape[1]; out++)
            dst[out * part->shape[0] + in] = src[in * part->shape[1] + out];
    gq_free(src);
    return s;
}

/* ---- one tensor into its parameter, in tiles ---- */

enum { FLAT = 8192, SIDE = 64 };        /* elements of a tile; of a side of a turned one */

typedef struct load_job {
    gq_params          *p;
    gq_param           *q;
    const gq_hf_part   *part;
    const gq_st_tensor *t;
} load_job;

static void load_flat(void *ctx, int64_t tile, int thread)
{
    const load_job *j = ctx;
    int64_t         at = tile * FLAT, n = j->part->n - at < FLAT ? j->part->n - at : FLAT;
    gq_st_tensor    some = gq_st_slice(j->t, (uint64_t)at, (uint64_t)n);
    float           x[FLAT];

    (void)thread;
    (void)gq_st_read_f32(&some, x, NULL); /* load_part() has looked at the type */
    gq_param_set_f32(j->p, j->q, j->part->first + at, x, n);
}

/* Columns of the file, which are rows of ours: SIDE of them. */
static void load_turned(void *ctx, int64_t tile, int thread)
{
    const load_job *j = ctx;
    int64_t         in = j->part->shape[0], out = j->part->shape[1], o0 = tile * SIDE;
    int64_t         rows = out - o0 < SIDE ? out - o0 : SIDE;
    float           x[SIDE][SIDE], y[SIDE];

    (void)thread;
    for (int64_t i0 = 0; i0 < in; i0 += SIDE) {
        int64_t n = in - i0 < SIDE ? in - i0 : SIDE;
        for (int64_t i = 0; i < n; i++) {
            gq_st_tensor some =
                gq_st_slice(j->t, (uint64_t)((i0 + i) * out + o0), (uint64_t)rows);
            (void)gq_st_read_f32(&some, x[i], NULL);
        }
        for (int64_t o = 0; o < rows; o++) {
            for (int64_t i = 0; i < n; i++)
                y[i] = x[i][o];
            gq_param_set_f32(j->p, j->q, j->part->first + (o0 + o) * in + i0, y, n);
        }
    }
}

static gq_status load_part(gq_params *p, gq_param *q, const gq_hf_part *part, const gq_st_tensor *t,
                           gq_error *err)
{
    load_job     j = {p, q, part, t};
    gq_st_tensor none = gq_st_slice(t, 0, 0);
    float        nothing;
    gq_status    s = same_shape(part, t) ? gq_st_read_f32(&none, &nothing, err)
                                         : wrong_shape(part, t, err);

    if (s != GQ_OK)
        return s;
    if (part->transposed)
        gq_parallel(p->engine->pool, (part->shape[1] + SIDE - 1) / SIDE, load_turned, &j);
    else
        gq_parallel(p->engine->pool, (part->n + FLAT - 1) / FLAT, load_flat, &j);
    gq_map_forget(t->data, t->bytes);
    return GQ_OK;
}

/* Buffers of old checkpoints, tied tensors under a second name, a table that T5's code never reads,
 * and what belongs to towers that are not built. */
static bool ignorable(const char *name)
{
    static const char *const tails[] = {"*.attn.bias", "*.attn.masked_bias", "*.position_ids",
                                        "lm_head.weight", "*.lm_head.weight", "*.embed_tokens.weight",
                                        "*.EncDecAttention.relative_attention_bias.weight"};
    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
        if (gq_glob(tails[i], name))
            return true;
    return false;
}

static bool of_family(gq_hf_family f, const char *name)
{
    static const char *const mine[GQ_HF_FAMILIES][3] = {
        [GQ_HF_CLIP] = {"*vision_model.*", "*text_model.*", "*_projection.weight"},
        [GQ_HF_QFORMER] = {"*qformer.*", "*query_tokens", "*query_tokens"},
        [GQ_HF_GPT2] = {"*h.*.*.*", "*ln_f.*", "*wte.weight"},
        [GQ_HF_T5] = {"*encoder.*", "*decoder.*", "*shared.weight"},
        [GQ_HF_STLLM] = {"bridge*", "proj.*", "mvm_*"},
    };
    for (int i = 0; i < 3; i++)
        if (gq_glob(mine[f][i], name))
            return true;
    return false;
}

static void count_unexpected(gq_hf_family f, const gq_safetensors *st, bool *used,
                             gq_load_report *r)
{
    for (size_t i = 0; i < gq_st_count(st); i++) {
        const char *name = gq_st_at(st, i)->name;
        if (used[i] || ignorable(name) || !of_family(f, name))
            continue;
        if (r->unexpected++ == 0)
            snprintf(r->first_unexpected, sizeof r->first_unexpected, "%s", name);
    }
}

gq_status gq_hf_load(gq_params *p, gq_hf_family f, const gq_safetensors *st, gq_load_report *report,
                     gq_error *err)
{
    bool     *used = gq_calloc(gq_st_count(st) + 1, sizeof *used);
    gq_status s = used ? GQ_OK : gq_fail(err, GQ_ENOMEM, "loading weights: out of memory");

    memset(report, 0, sizeof *report);
    for (int32_t i = 0; s == GQ_OK && i < p->count; i++) {
        gq_param  *q = &p->param[i];
        gq_hf_part part[3];
        int        parts = gq_hf_parts(f, q, part), found = 0;
        for (int k = 0; s == GQ_OK && k < parts; k++) {
            const gq_st_tensor *t = find(st, part[k].name);
            if (!t && !report->first_missing[0])
                snprintf(report->first_missing, sizeof report->first_missing, "%s", part[k].name);
            if (!t)
                continue;
            found++;
            for (size_t j = 0; j < gq_st_count(st); j++)
                used[j] |= gq_st_at(st, j) == t;
            s = load_part(p, q, &part[k], t, err);
        }
        if (parts && found == parts) {
            q->loaded = true;
            report->matched++;
        } else {
            report->missing += parts > 0;
        }
    }
    if (s == GQ_OK)
        count_unexpected(f, st, used, report);
    gq_free(used);
    return s;
}

/* ---- saving ---------------------------------------------------------------------------------- */

gq_status gq_hf_from_params(void *ctx, const gq_param *q, int64_t first, float *dst, int64_t n,
                            gq_error *err)
{
    (void)err;
    gq_param_get_f32(ctx, q, first, dst, n);
    return GQ_OK;
}

static gq_status put_part(const gq_hf_source *from, const gq_param *q, const gq_hf_part *part,
                          gq_st_writer *w, gq_error *err)
{
    float    *x = gq_malloc((size_t)part->n, sizeof *x), *y = x;
    gq_status s;

    if (x && part->transposed)
        y = gq_malloc((size_t)part->n, sizeof *y);
    if (!x || !y) {
        gq_free(x);
        return gq_fail(err, GQ_ENOMEM, "export: no memory for '%s'", q->name);
    }
    s = from->read(from->ctx, q, part->first, x, part->n, err);
    for (int64_t in = 0; s == GQ_OK && part->transposed && in < part->shape[0]; in++)
        for (int64_t out = 0; out < part->shape[1]; out++)
            y[in * part->shape[1] + out] = x[out * part->shape[0] + in];
    if (s == GQ_OK)
        s = gq_st_put(w, part->name, y, (size_t)part->n * sizeof *y, err);
    if (y != x)
        gq_free(y);
    gq_free(x);
    return s;
}

static int declare_all(const gq_params *p, gq_hf_family f, gq_hf_part *part, gq_st_tensor *t)
{
    int count = 0;
    for (int32_t i = 0; i < p->count; i++) {
        int parts = gq_hf_parts(f, &p->param[i], part + count);
        for (int k = count; k < count + parts; k++) {
            memset(&t[k], 0, sizeof t[k]);
            t[k].name = part[k].name;
            t[k].dtype = GQ_ST_F32;
            t[k].rank = part[k].rank;
            for (int d = 0; d < part[k].rank; d++)
                t[k].shape[d] = (uint64_t)part[k].shape[d];
        }
        count += parts;
    }
    return count;
}

gq_status gq_hf_save(const gq_params *p, gq_hf_family f, const gq_hf_source *from, const char *path,
                     gq_error *err)
{
    size_t        most = 3 * (size_t)p->count + 3;
    gq_hf_part   *part = gq_calloc(most, sizeof *part), one[3];
    gq_st_tensor *t = gq_calloc(most, sizeof *t);
    gq_st_writer *w = NULL;
    gq_st_meta    meta = {"format", "pt"};
    gq_status     s = GQ_OK;

    if (!part || !t)
        s = gq_fail(err, GQ_ENOMEM, "%s: out of memory", path);
    if (s == GQ_OK)
        s = gq_st_writer_open(path, t, (size_t)declare_all(p, f, part, t), &meta, 1, &w, err);
    for (int32_t i = 0; s == GQ_OK && i < p->count; i++) {
        int parts = gq_hf_parts(f, &p->param[i], one);
        for (int k = 0; s == GQ_OK && k < parts; k++)
            s = put_part(from, &p->param[i], &one[k], w, err);
    }
    if (s == GQ_OK)
        s = gq_st_commit(w, err);
    else
        gq_st_abort(w);
    gq_free(part);
    gq_free(t);
    return s;
}
