/* Protocol buffers by wire type: fields with their bytes, nothing about what they mean. */
#include "data/tok_unigram.h"

static gq_status broken(const tok_proto *p, size_t at, const char *what, gq_error *err)
{
    return gq_fail(err, GQ_EWEIGHTS, "byte %zu: %s (the message it is in ends at byte %zu)", at,
                   what, p->end);
}

static gq_status varint(tok_proto *p, uint64_t *out, gq_error *err)
{
    const size_t begin = p->at;
    unsigned     shift;

    *out = 0;
    for (shift = 0; shift < 70; shift += 7) {
        uint64_t byte;
        if (p->at == p->end)
            return broken(p, begin, "a number is cut off", err);
        byte = p->data[p->at++];
        if (shift == 63 && byte > 1)
            break;
        *out |= (byte & 0x7F) << shift;
        if (byte < 0x80)
            return GQ_OK;
    }
    return broken(p, begin, "a number is longer than 64 bits", err);
}

static gq_status fixed(tok_proto *p, unsigned bytes, uint64_t *out, gq_error *err)
{
    unsigned i;
    *out = 0;
    if (p->end - p->at < bytes)
        return broken(p, p->at, "a number is cut off", err);
    for (i = 0; i < bytes; i++)
        *out |= (uint64_t)p->data[p->at++] << 8 * i;
    return GQ_OK;
}

static gq_status read_field(tok_proto *p, tok_field *f, gq_error *err)
{
    uint64_t  tag, len;
    gq_status status;

    *f = (tok_field){.at = p->at};
    if ((status = varint(p, &tag, err)))
        return status;
    if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF)
        return broken(p, f->at, "no field has this number", err);
    f->number = (uint32_t)(tag >> 3);
    f->wire = (tok_wire)(tag & 7);
    switch (tag & 7) {
    case TOK_VARINT:
        return varint(p, &f->value, err);
    case TOK_FIXED64:
        return fixed(p, 8, &f->value, err);
    case TOK_FIXED32:
        return fixed(p, 4, &f->value, err);
    case TOK_BYTES:
        if ((status = varint(p, &len, err)))
            return status;
        if (len > p->end - p->at)
            return broken(p, f->at, "what it holds is longer than the message", err);
        f->body = (tok_proto){p->data, p->at, p->at + (size_t)len};
        p->at += (size_t)len;
        return GQ_OK;
    default:
        return broken(p, f->at, "a field of no type that is in use (a group, or damage)", err);
    }
}

bool gq_tok_proto_next(tok_proto *p, tok_field *f, gq_status *status, gq_error *err)
{
    if (*status || p->at == p->end)
        return false;
    *status = read_field(p, f, err);
    return *status == GQ_OK;
}

gq_status gq_tok_proto_want(const tok_field *f, tok_wire want, const char *name, gq_error *err)
{
    return f->wire == want
               ? GQ_OK
               : gq_fail(err, GQ_EWEIGHTS, "byte %zu: %s has wire type %d, not %d", f->at, name,
                         (int)f->wire, (int)want);
}
