/* What is published about TGIF and TGIF-QA, and what both importers use. */
#include "data/import.h"

#include <string.h>

#include "data/import_private.h"

const uint32_t gq_tgif_published[GQ_TGIF_UNLISTED] = {80000, 10708, 11360};

/* The Train files of count and action lack four rows that their Totals have (keys 3293, 19199,
 * 51934 and 81071). */
const gq_published gq_tgifqa_published[GQ_TGIFQA_KINDS][GQ_TGIFQA_PARTS] = {
    {{13691, 13691}, {39392, 39392}, {53083, 53083}},
    {{3554, 3554}, {26843, 26839}, {30397, 30397}},
    {{2274, 2274}, {20475, 20471}, {22749, 22749}},
    {{6232, 6232}, {52704, 52704}, {58936, 58936}}};
const uint32_t gq_tgifqa_published_frame[GQ_TGIFQA_FRAMES] = {5586, 3148, 3904, 1053};

const char *gq_tgif_split_name(gq_tgif_split s)
{
    static const char *const names[] = {"train", "val", "test", "unlisted"};
    return names[s];
}

const char *gq_tgifqa_kind_name(gq_tgifqa_kind k)
{
    static const char *const names[] = {"frameqa", "count", "action", "transition"};
    return names[k];
}

const char *gq_tgifqa_frame_type(int sort)
{
    static const char *const names[] = {"frameqa-object", "frameqa-number", "frameqa-color",
                                        "frameqa-location"};
    return names[sort];
}

const char *gq_tgifqa_part_name(gq_tgifqa_part p)
{
    static const char *const names[] = {"Test", "Train", "Total"};
    return names[p];
}

gq_status gq_import_bad_row(void *path, uint64_t line, const char *reason, gq_error *err)
{
    return gq_fail(err, GQ_EINPUT, "%s:%llu: %s", (const char *)path, (unsigned long long)line,
                   reason);
}

uint32_t *gq_import_name(gq_names *n, const char *text, gq_error *err)
{
    uint32_t *number = gq_names_add(n, text);
    if (!number)
        gq_fail(err, GQ_ENOMEM, "no memory for the names of GIFs");
    return number;
}

static bool lower(char c)
{
    return c >= 'a' && c <= 'z';
}

bool gq_tgif_repair(char *text)
{
    static const char *const wrong[] = {"FRAMEQA", "COUNT", "ACTION", "TRANS"};
    char                    *to = text;
    const char              *from = text;
    while (*from) {
        size_t n = 0;
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong && !n; k++)
            if (strncmp(from, wrong[k], strlen(wrong[k])) == 0)
                n = strlen(wrong[k]);
        if (n && ((to > text && lower(to[-1])) || lower(from[n]))) {
            memcpy(to, "rep", 3);
            to += 3;
            from += n;
        } else {
            *to++ = *from++;
        }
    }
    *to = 0;
    return to != from;
}
