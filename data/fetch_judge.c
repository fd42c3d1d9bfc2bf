/* What an answer means for its URL. Nothing here touches the network or the disk. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "data/fetch_private.h"

/* ---- bodies ---------------------------------------------------------------------------------- */

static bool begins(const uint8_t *data, size_t size, size_t at, const char *text, size_t n)
{
    return size >= at + n && memcmp(data + at, text, n) == 0;
}

/* What a body that is no GIF seems to be; *page: HTML or XML. */
static const char *kind_of(const uint8_t *data, size_t size, bool *page)
{
    size_t at = begins(data, size, 0, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < size && memchr(" \t\r\n", data[at], 4))
        at++;
    *page = at < size && data[at] == '<';
    return !size                                      ? "an empty answer"
           : *page                                    ? "HTML"
           : begins(data, size, 0, "\x89PNG", 4)      ? "a PNG"
           : begins(data, size, 0, "\xFF\xD8\xFF", 3) ? "a JPEG"
           : begins(data, size, 8, "WEBP", 4)         ? "a WebP"
           : begins(data, size, 4, "ftyp", 4)         ? "a video"
           : begins(data, size, 0, "\x1F\x8B", 2)     ? "gzip, which was not asked for"
                                                      : "no GIF";
}

static void say(gq_verdict *v, gq_fetch_fate fate, const char *note)
{
    v->next = GQ_NEXT_FATE;
    v->fate = fate;
    snprintf(v->note, sizeof v->note, "%s", note);
}

static bool placeholder(const gq_fetch_opts *o, const uint8_t sha256[32])
{
    char hex[65];
    gq_hex(sha256, 32, hex);
    for (size_t k = 0; k < o->placeholders; k++)
        if (strcasecmp(hex, o->placeholder[k]) == 0)
            return true;
    return false;
}

gq_status gq__fetch_judge_gif(const gq_fetch_opts *o, const char *name, const uint8_t *data,
                              size_t size, bool vouched, gq_verdict *v, gq_error *err)
{
    gq_gif_summary sum;
    gq_error       why = {0};
    bool           page;

    memset(v, 0, sizeof *v);
    if (!begins(data, size, 0, "GIF87a", 6) && !begins(data, size, 0, "GIF89a", 6)) {
        const char *kind = kind_of(data, size, &page);
        say(v, page ? GQ_FETCH_PAGE : GQ_FETCH_OTHER, kind);
        return GQ_OK;
    }
    if (gq_gif_count(data, size, name, &o->limits, &sum, &why) != GQ_OK) {
        if (why.code != GQ_EINPUT)               /* says nothing about the file */
            return gq_fail(err, why.code, "%s", why.text);
        say(v, GQ_FETCH_BROKEN, why.text);
        v->next = vouched ? GQ_NEXT_FATE : GQ_NEXT_RETRY;
        return GQ_OK;
    }
    gq_sha256(data, size, v->sha256);
    if (placeholder(o, v->sha256)) {
        say(v, GQ_FETCH_PLACEHOLDER, "its SHA-256 is that of a placeholder");
    } else if (sum.flags & GQ_GIF_TRUNCATED && !vouched) {
        say(v, GQ_FETCH_FAILED, "ends before its trailer, and the server gave no length");
        v->next = GQ_NEXT_RETRY;
    } else {
        say(v, GQ_FETCH_ALIVE, "");
        if (sum.flags & (GQ_GIF_TRUNCATED | GQ_GIF_DAMAGED))
            snprintf(v->note, sizeof v->note, "%s; %u frames can be used",
                     sum.flags & GQ_GIF_TRUNCATED ? "the file is truncated where it comes from"
                                                  : "has rubbish between its blocks",
                     sum.frames);
    }
    return GQ_OK;
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool later(int status)
{
    return status == 408 || status == 425 || status == 429 || status >= 500 || status < 200;
}

static bool moved(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void judge_status(const gq_answer *a, gq_verdict *v)
{
    char text[64];
    snprintf(text, sizeof text, "HTTP %d", a->status);
    if (later(a->status)) {
        say(v, GQ_FETCH_FAILED, text);
        v->next = GQ_NEXT_RETRY;
    } else if (moved(a->status) && a->location) {
        v->next = GQ_NEXT_HOP;
    } else if (moved(a->status)) {
        say(v, GQ_FETCH_REDIRECT, "a redirect to nowhere");
    } else if (a->status == 404 || a->status == 410) {
        say(v, GQ_FETCH_GONE, text);
    } else {
        say(v, a->status < 300 ? GQ_FETCH_OTHER : GQ_FETCH_REFUSED, text);
    }
}

gq_status gq__fetch_judge(const gq_fetch_opts *o, const char *name, const gq_answer *a,
                          gq_verdict *v, gq_error *err)
{
    memset(v, 0, sizeof *v);
    switch (a->end) {
    case GQ_HTTP_LOST:
        say(v, GQ_FETCH_FAILED, a->note);
        v->next = GQ_NEXT_RETRY;
        break;
    case GQ_HTTP_LARGE:
        say(v, GQ_FETCH_LARGE, a->note);
        break;
    case GQ_HTTP_BARRED:
        say(v, GQ_FETCH_BARRED, a->note);
        break;
    case GQ_HTTP_NO_MEMORY:
        return gq_fail(err, GQ_ENOMEM, "%s", a->note);
    case GQ_HTTP_WHOLE:
        if (a->status == 200)
            return gq__fetch_judge_gif(o, name, a->body, a->size, a->vouched, v, err);
        judge_status(a, v);
        break;
    }
    return GQ_OK;
}

/* ---- addresses ------------------------------------------------------------------------------- */

typedef struct net { uint32_t address; int bits; } net;

static bool private4(uint32_t ip)                /* host order */
{
    /* RFC 6890 and its successors: not for the world to reach */
    static const net nets[] = {
        {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},  {0xA9FE0000, 16},
        {0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24}, {0xC0586300, 24}, {0xC0A80000, 16},
        {0xC6120000, 15}, {0xC6336400, 24}, {0xCB007100, 24}, {0xE0000000, 3}};
    for (size_t k = 0; k < sizeof nets / sizeof *nets; k++)
        if ((ip ^ nets[k].address) >> (32 - nets[k].bits) == 0)
            return true;
    return false;
}

static uint32_t word(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool private6(const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    static const uint8_t nat64[12] = {0x00, 0x64, 0xFF, 0x9B};
    if (memcmp(ip, mapped, 12) == 0 || memcmp(ip, nat64, 12) == 0)
        return private4(word(ip + 12));
    if (word(ip) >> 16 == 0x2002)                /* 6to4 */
        return private4(word(ip + 2));
    if (word(ip) >> 9 == 0x20010000u >> 9 || word(ip) == 0x20010DB8)
        return true;                             /* protocol assignments with Teredo; examples */
    return ip[0] >> 5 != 1;                      /* what is not 2000::/3 is not global unicast */
}

bool gq__address_private(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, address, sizeof in);
        return private4(ntohl(in.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 in;
        memcpy(&in, address, sizeof in);
        return private6(in.sin6_addr.s6_addr);
    }
    return true;
}
