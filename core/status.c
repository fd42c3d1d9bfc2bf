#include "core/status.h"

#include <stdio.h>
#include <string.h>

gq_status gq_vfail(gq_error *err, gq_status code, const char *fmt, va_list ap)
{
    if (err && err->code == GQ_OK) {
        err->code = code;
        vsnprintf(err->text, sizeof err->text, fmt, ap);
    }
    return code;
}

gq_status gq_fail(gq_error *err, gq_status code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    gq_vfail(err, code, fmt, ap);
    va_end(ap);
    return code;
}

gq_status gq_context(gq_error *err, const char *fmt, ...)
{
    char    old[sizeof err->text];
    va_list ap;
    int     n;

    if (!err || err->code == GQ_OK)
        return err ? err->code : GQ_EBUG;
    memcpy(old, err->text, sizeof old);
    va_start(ap, fmt);
    n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n + 3 < sizeof err->text) {
        size_t room = sizeof err->text - (size_t)n - 3, len = strnlen(old, room);
        memcpy(err->text + n, ": ", 2);
        memcpy(err->text + n + 2, old, len);
        err->text[(size_t)n + 2 + len] = '\0';
    }
    return err->code;
}

void gq_error_clear(gq_error *err)
{
    if (err) {
        err->code = GQ_OK;
        err->text[0] = '\0';
    }
}

const char *gq_status_text(gq_status code)
{
    switch (code) {
    case GQ_OK: return "ok";
#define GQ_STATUS_TEXT(name, value, exit_code, text) case name: return text;
    GQ_STATUS_LIST(GQ_STATUS_TEXT)
#undef GQ_STATUS_TEXT
    }
    return "unknown status";
}

int gq_exit_code(gq_status code)
{
    switch (code) {
    case GQ_OK: return 0;
#define GQ_STATUS_EXIT(name, value, exit_code, text) case name: return exit_code;
    GQ_STATUS_LIST(GQ_STATUS_EXIT)
#undef GQ_STATUS_EXIT
    }
    return 1;
}
