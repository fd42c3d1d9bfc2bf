#include "core/text.h"

#include <stdio.h>
#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t gq_edit_distance(const char *a, const char *b)
{
    size_t row[3][GQ_WORD_MAX + 1];     /* rows i - 2, i - 1 and i of the table, in rotation */
    size_t n = strlen(a), m = strlen(b);

    if (n > GQ_WORD_MAX || m > GQ_WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = row[i % 3], *one = row[(i + 2) % 3], *two = row[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = min3(one[j] + 1, now[j - 1] + 1, one[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                two[j - 2] + 1 < now[j])
                now[j] = two[j - 2] + 1;
        }
    }
    return row[n % 3][m];
}

bool gq_edit_close(const char *a, size_t distance)
{
    size_t limit = strlen(a) / 3;
    return distance <= (limit ? limit : 1);
}

size_t gq_utf8_next(const char *p, size_t bytes, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char  *s = (const unsigned char *)p;
    size_t                n;
    uint32_t              c;

    if (!bytes)
        return 0;
    if (s[0] < 0x80) {
        *code = s[0];
        return 1;
    }
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    n = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    if (n > bytes)
        return 0;
    c = s[0] & (0xFFu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3F);
    }
    if (c < least[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
        return 0;
    *code = c;
    return n;
}

static bool harmless(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7F && c < 0xA0))
        return false;
    /* marks that reorder or hide what follows: U+200B..200F, 2028..202E, 2060..206F, the byte order mark */
    return !((c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
             (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF);
}

char *gq_printable(const char *text, size_t bytes, char *out, size_t out_size)
{
    size_t used = 0, at = 0, cut = 0;   /* cut: the last place where "..." still fits */

    while (at < bytes) {
        uint32_t code = 0;
        size_t   n = gq_utf8_next(text + at, bytes - at, &code), step = n ? n : 1;
        bool     keep = n && harmless(code);
        size_t   need = keep ? n : 4 * step;
        if (used + need + 1 > out_size) {
            memcpy(out + cut, "...", 3);
            used = cut + 3;
            break;
        }
        if (keep)
            memcpy(out + used, text + at, n);
        else
            for (size_t i = 0; i < step; i++)
                snprintf(out + used + 4 * i, 5, "\\x%02x", (unsigned char)text[at + i]);
        used += need;
        at += step;
        if (used + 4 <= out_size)
            cut = used;
    }
    out[used] = '\0';
    return out;
}
