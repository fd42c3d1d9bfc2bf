/* plan.c - what finishing a tape means: which nodes run backward, in which order everything runs,
 * how long each tensor lives, and where it lies.
 *
 * Offsets: first-fit over slots sorted by decreasing size; two slots may share memory when none of
 * their lifetimes meet. A tensor that is recomputed has two lifetimes (forward, and again before
 * its backward) at one address.
 */
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"
#include "core/tape.h"

#ifdef GIFQA_CHECKED
enum { GUARD = 256 };                           /* bytes after each slot that no kernel may touch */
#else
enum { GUARD = 0 };
#endif

static bool wants_grad(const gq_tape *t, const gq_node *n, int k)
{
    return n->in[k] && t->tensor[n->in[k]].flags & GQ_TF_NEEDS_GRAD &&
           !(gq_op_table[n->op].rule->no_grad >> k & 1);
}

/* ---- backward -------------------------------------------------------------------------------- */

static void mark_input(gq_tape *t, gq_node *n, int k, bool *reached)
{
    int32_t root = t->tensor[n->in[k]].root;
    n->bwd = true;
    if (t->tensor[root].flags & GQ_TF_PARAM)
        n->acc_param |= 1u << k;
    else
        gq__grad_tensor(t, root);
    if (reached[root])
        n->acc |= 1u << k;                          /* a later node has stored: this one adds     */
    reached[root] = true;
}

static gq_status mark_backward(gq_tape *t, gq_error *err)
{
    int32_t count = 0, roots = t->ntensor;
    bool   *reached = gq_calloc((size_t)roots, sizeof *reached);

    if (!reached)
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name);
    if (t->loss) {
        reached[t->tensor[t->loss].root] = true;
        gq__grad_tensor(t, t->tensor[t->loss].root);
    }
    for (int32_t i = t->nnode - 1; t->loss && i >= 0; i--) {
        gq_node *n = &t->node[i];
        bool     flows = false;
        for (int k = 0; k < n->nout; k++)
            flows |= reached[n->out[k]];
        for (int k = 0; flows && k < n->nin; k++)
            if (wants_grad(t, n, k))
                mark_input(t, n, k, reached);
    }
    t->unreached = gq_calloc((size_t)t->params->count, sizeof *t->unreached);
    for (int32_t p = 0; t->unreached && p < t->params->count; p++) {
        const gq_param *q = &t->params->param[p];
        bool            got = false;
        for (int32_t i = 1; i < roots; i++)
            got |= t->tensor[i].param == p && reached[i];
        if (q->trainable && !got)
            t->unreached[count++] = p;
    }
    t->nunreached = count;
    gq_free(reached);
    if (!t->unreached)
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name);
    return t->err.code == GQ_OK ? GQ_OK : gq_fail(err, t->err.code, "%s", t->err.text);
}

/* ---- checkpointing --------------------------------------------------------------------------- */

/* inner[r]: tensor r lives only inside its segment and may be dropped between forward and backward
 */
static void find_inner(const gq_tape *t, int last_segment, bool *inner)
{
    for (int32_t i = 1; i < t->ntensor; i++)
        inner[i] = t->tensor[i].root == i && t->tensor[i].node >= 0 &&
                   !(t->tensor[i].flags & GQ_TF_KEEP) &&
                   t->node[t->tensor[i].node].segment < last_segment;
    for (int32_t i = 0; i < t->nnode; i++)
        for (int k = 0; k < t->node[i].nin; k++) {
            int32_t root = t->tensor[t->node[i].in[k]].root, maker = t->tensor[root].node;
            if (maker >= 0 && t->node[maker].segment != t->node[i].segment)
                inner[root] = false;
        }
}

/* Decides which nodes run again: those whose saved or inner tensors a backward of their segment
 * reads. */
static gq_status mark_again(gq_tape *t, gq_error *err)
{
    bool *inner = gq_calloc((size_t)t->ntensor, sizeof *inner),
         *need = gq_calloc((size_t)t->ntensor, sizeof *need);
    int   last = 0;

    if (!inner || !need) {
        gq_free(inner);
        gq_free(need);
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name);
    }
    for (int32_t i = 0; i < t->nnode; i++)
        if (t->node[i].bwd && t->node[i].segment > last)
            last = t->node[i].segment;
    find_inner(t, last, inner);
    for (int32_t i = t->nnode - 1; i >= 0; i--) {
        gq_node          *n = &t->node[i];
        const gq_op_rule *rule = gq_op_table[n->op].rule;
        for (int k = 0; n->bwd && k < n->nin; k++)
            if (rule->bwd_in >> k & 1)
                need[t->tensor[n->in[k]].root] = true;
        for (int k = 0; k < n->nout; k++) {
            if (n->bwd && rule->bwd_out >> k & 1)
                need[n->out[k]] = true;
            n->again |= inner[n->out[k]] && need[n->out[k]];
        }
        n->again |= n->bwd && n->nsave > 0 && n->segment < last;
        for (int k = 0; n->again && k < n->nin; k++)
            need[t->tensor[n->in[k]].root] = true;
    }
    gq_free(inner);
    gq_free(need);
    return GQ_OK;
}

/* ---- schedule -------------------------------------------------------------------------------- */

static gq_status schedule(gq_tape *t, gq_error *err)
{
    int32_t e = 0, done = -1;                       /* segment whose nodes have been run again    */

    t->entry = gq_calloc(3 * (size_t)t->nnode + 1, sizeof *t->entry);
    if (!t->entry)
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name);
    for (int32_t i = 0; i < t->nnode; i++)
        t->entry[e++] = (gq_entry){i, GQ_FORWARD};
    t->forward_entries = e;
    for (int32_t i = t->nnode - 1; i >= 0; i--) {
        if (!t->node[i].bwd)
            continue;
        if (t->node[i].segment != done) {
            done = t->node[i].segment;
            for (int32_t j = 0; j < t->nnode; j++)
                if (t->node[j].segment == done && t->node[j].again)
                    t->entry[e++] = (gq_entry){j, GQ_REFORWARD};
        }
        t->entry[e++] = (gq_entry){i, GQ_BACKWARD};
    }
    t->nentry = e;
    return GQ_OK;
}

/* ---- lifetimes ------------------------------------------------------------------------------- */

static void write_at(gq_tape *t, int32_t i, int32_t e, bool again)
{
    gq_tensor *x = &t->tensor[t->tensor[i].root];
    if (x->life[0][0] < 0)
        x->life[0][0] = x->life[0][1] = e;
    else if (again && x->life[1][0] < 0)
        x->life[1][0] = x->life[1][1] = e;
    else
        x->life[x->life[1][0] >= 0][1] = e;
}

static void read_at(gq_tape *t, int32_t i, int32_t e)
{
    gq_tensor *x = &t->tensor[t->tensor[i].root];
    if (i)
        x->life[x->life[1][0] >= 0][1] = e;
}

static void live_forward(gq_tape *t, const gq_node *n, int32_t e, bool again)
{
    for (int k = 0; k < n->nin; k++)
        read_at(t, n->in[k], e);
    for (int k = 0; k < n->nout; k++)
        write_at(t, n->out[k], e, again);
    for (int k = 0; k < n->nsave; k++)
        write_at(t, n->save[k], e, again);
}

static void live_backward(gq_tape *t, const gq_node *n, int32_t e)
{
    const gq_op_rule *rule = gq_op_table[n->op].rule;

    for (int k = 0; k < n->nin; k++) {
        int32_t root = t->tensor[n->in[k]].root;
        if (rule->bwd_in >> k & 1)
            read_at(t, n->in[k], e);
        if (wants_grad(t, n, k) && t->tensor[root].grad)
            write_at(t, t->tensor[root].grad, e, false);
    }
    for (int k = 0; k < n->nout; k++) {
        if (rule->bwd_out >> k & 1)
            read_at(t, n->out[k], e);
        read_at(t, t->tensor[n->out[k]].grad, e);
    }
    for (int k = 0; k < n->nsave; k++)
        read_at(t, n->save[k], e);
}

static void lifetimes(gq_tape *t)
{
    for (int32_t e = 0; e < t->nentry; e++) {
        const gq_node *n = &t->node[t->entry[e].node];
        if (e == t->forward_entries)
            write_at(t, t->tensor[t->tensor[t->loss].root].grad, e, false);
        if (t->entry[e].phase == GQ_BACKWARD)
            live_backward(t, n, e);
        else
            live_forward(t, n, e, t->entry[e].phase == GQ_REFORWARD);
    }
    for (int32_t i = 1; i < t->ntensor; i++)
        if (t->tensor[i].flags & GQ_TF_KEEP && t->tensor[i].life[0][0] >= 0)
            t->tensor[i].life[t->tensor[i].life[1][0] >= 0][1] = t->nentry;
}

/* ---- offsets --------------------------------------------------------------------------------- */

static bool meet(const gq_tensor *a, const gq_tensor *b)
{
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 2; j++)
            if (a->life[i][0] >= 0 && b->life[j][0] >= 0 && a->life[i][0] <= b->life[j][1] &&
                b->life[j][0] <= a->life[i][1])
                return true;
    return false;
}

static size_t slot_bytes(const gq_tensor *x)
{
    return (x->bytes + GUARD + 255) & ~(size_t)255;
}

/* lowest offset at which x meets none of the placed slots (sorted by offset) */
static size_t first_fit(const gq_tape *t, const int32_t *placed, int32_t count, const gq_tensor *x)
{
    size_t at = 0, want = slot_bytes(x);
    for (int32_t i = 0; i < count; i++) {
        const gq_tensor *y = &t->tensor[placed[i]];
        if (!meet(x, y))
            continue;
        if (at + want <= y->offset)
            break;
        if (y->offset + slot_bytes(y) > at)
            at = y->offset + slot_bytes(y);
    }
    return at;
}

static bool in_act(const gq_tape *t, int32_t i)
{
    const gq_tensor *x = &t->tensor[i];
    return x->root == i && !(x->flags & (GQ_TF_PARAM | GQ_TF_INPUT | GQ_TF_EXTERN)) &&
           x->life[0][0] >= 0;
}

static int by_size(const void *a, const void *b, void *tape)
{
    const gq_tape *t = tape;
    int32_t        i = *(const int32_t *)a, j = *(const int32_t *)b;
    size_t         x = t->tensor[i].bytes, y = t->tensor[j].bytes;
    return x != y ? (x < y ? 1 : -1) : (i > j) - (i < j);
}

static gq_status offsets(gq_tape *t, bool separate, gq_error *err)
{
    int32_t *slot = gq_calloc(2 * (size_t)t->ntensor, sizeof *slot), *placed = slot + t->ntensor,
            count = 0;

    if (!slot)
        return gq_fail(err, GQ_ENOMEM, "tape '%s': out of memory", t->name);
    for (int32_t i = 1; i < t->ntensor; i++)
        if (in_act(t, i))
            slot[count++] = i;
    qsort_r(slot, (size_t)count, sizeof *slot, by_size, t);
    t->act_bytes = t->host_bytes = 0;
    for (int32_t k = 0; k < count; k++) {
        gq_tensor *x = &t->tensor[slot[k]];
        int32_t    at = k;
        x->offset = separate ? t->act_bytes : first_fit(t, placed, k, x);
        for (; at > 0 && t->tensor[placed[at - 1]].offset > x->offset; at--)
            placed[at] = placed[at - 1];
        placed[at] = slot[k];
        if (x->offset + slot_bytes(x) > t->act_bytes)
            t->act_bytes = x->offset + slot_bytes(x);
    }
    for (int32_t i = 1; i < t->ntensor; i++)
        if (t->tensor[i].flags & GQ_TF_INPUT) {
            t->tensor[i].offset = t->host_bytes;
            t->host_bytes += slot_bytes(&t->tensor[i]);
        }
    gq_free(slot);
    return GQ_OK;
}

gq_status gq__plan(gq_tape *t, const gq_plan_opts *o, gq_error *err)
{
    gq_status s = mark_backward(t, err);

    for (int32_t i = 0; i < t->nnode; i++)
        if (!t->node[i].bwd && !(gq_op_table[t->node[i].op].flags & GQ_OP_SAVES))
            t->node[i].nsave = 0;                   /* nothing will read what it would save       */
    if (s == GQ_OK && o->policy == GQ_SEGMENT)
        s = mark_again(t, err);
    if (s == GQ_OK)
        s = schedule(t, err);
    if (s == GQ_OK) {
        lifetimes(t);
        t->planned_separate = o->separate || t->eager;
        s = offsets(t, t->planned_separate, err);
    }
    return s;
}
