/* data/robots.h with the examples of RFC 9309 and what else servers write. */
#include "data/robots.h"

#include <math.h>

#include "core/mem.h"
#include "support.h"

static gq_robots *parse(const char *text, const char *agent)
{
    gq_robots *r;
    gq_error   err = {0};
    assert_ok(gq_robots_parse(text, strlen(text), agent, &r, &err), &err);
    return r;
}

typedef struct sample { const char *text, *agent, *path; bool allowed; } sample;

static void check(const sample *s, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        gq_robots *r = parse(s[k].text, s[k].agent);
        if (gq_robots_allows(r, s[k].path) != s[k].allowed)
            fail_msg("%s of\n%s\nfor %s should be %s", s[k].path, s[k].text, s[k].agent,
                     s[k].allowed ? "allowed" : "disallowed");
        gq_robots_free(r);
    }
}
#define CHECK(samples) check(samples, sizeof samples / sizeof *samples)

/* RFC 9309 5.1 */
#define SIMPLE                                                                                     \
    "User-Agent: *\nDisallow: *.gif$\nDisallow: /example/\nAllow: /publications/\n\n"              \
    "User-Agent: foobot\nDisallow:/\nAllow:/example/page.html\nAllow:/example/allowed.gif\n\n"     \
    "User-Agent: barbot\nUser-Agent: bazbot\nDisallow: /example/page.html\n\n"                     \
    "User-Agent: quxbot\n\nEOF"
/* 2.2.1: two groups of one agent */
#define TWICE "user-agent: ExampleBot\ndisallow: /foo\ndisallow: /bar\n\nuser-agent: ExampleBot\n" \
              "disallow: /baz\n"

static void groups(void **state)
{
    static const sample known[] = {
        {SIMPLE, "gifqa", "/a.gif", false}, {SIMPLE, "gifqa", "/a.gif?x", true},
        {SIMPLE, "gifqa", "/example/a", false}, {SIMPLE, "gifqa", "/publications/a", true},
        {SIMPLE, "foobot", "/a", false}, {SIMPLE, "FooBot", "/example/page.html", true},
        {SIMPLE, "foobot", "/example/allowed.gif", true}, {SIMPLE, "barbot", "/a.gif", true},
        {SIMPLE, "bazbot", "/example/page.html", false}, {SIMPLE, "barbot", "/example/page.html", false},
        {SIMPLE, "quxbot", "/example/page.html", true}, {SIMPLE, "quxbot", "/a.gif", true},
        {TWICE, "examplebot", "/foo", false}, {TWICE, "examplebot", "/bar", false},
        {TWICE, "examplebot", "/baz", false}, {TWICE, "examplebot", "/qux", true},
        {TWICE, "examplebo", "/foo", true}, {TWICE, "examplebot-news", "/foo", true},
        {"User-agent: gifqa/1.0 (or so)\nDisallow: /\n", "gifqa", "/a", false},
        {"User-agent: gifqa-x\nDisallow: /\n", "gifqa", "/a", true},
        {"User-agent: a\nSitemap: /s\nUser-agent: gifqa\nDisallow: /\n", "a", "/a", false},
        {"User-agent: a\nDisallow: /\nUser-agent: gifqa\nAllow: /\n", "gifqa", "/a", true},
        {"Disallow: /\nUser-agent: *\nAllow: /\n", "gifqa", "/a", true}};
    (void)state;
    CHECK(known);
}

#define ALL "User-agent: *\n"

static void matching(void **state)
{
    static const sample known[] = {
        /* 2.2.2: the longest; 5.2 */
        {ALL "Allow: /example/page/\nDisallow: /example/page/disallowed.gif\n", "gifqa",
         "/example/page/disallowed.gif", false},
        {ALL "Allow: /example/page/\nDisallow: /example/page/disallowed.gif\n", "gifqa",
         "/example/page/x", true},
        {ALL "Disallow: /p\nAllow: /p\n", "gifqa", "/p", true},
        {ALL "Disallow: /p\nAllow: /\n", "gifqa", "/p", false},
        {ALL "Disallow:\n", "gifqa", "/p", true}, {ALL "Disallow: /P\n", "gifqa", "/p", true},
        {ALL "Disallow: /\n", "gifqa", "/robots.txt", true},
        /* 2.2.2: escapes */
        {ALL "Disallow: /foo/bar?baz=quz\n", "gifqa", "/foo/bar?baz=quz", false},
        {ALL "Disallow: /foo/bar?baz=https://foo.bar\n", "gifqa",
         "/foo/bar?baz=https%3A%2F%2Ffoo.bar", false},
        {ALL "Disallow: /foo/bar?baz=https%3a%2f%2ffoo.bar\n", "gifqa",
         "/foo/bar?baz=https://foo.bar", false},
        {ALL "Disallow: /*baz=https://foo\n", "gifqa", "/foo/bar?baz=https%3A%2F%2Ffoo.bar", false},
        {ALL "Disallow: /foo/bar/\xE3\x83\x84\n", "gifqa", "/foo/bar/%E3%83%84", false},
        {ALL "Disallow: /foo/bar/%e3%83%84\n", "gifqa", "/foo/bar/\xE3\x83\x84", false},
        {ALL "Disallow: /foo/bar/%62%61%7A\n", "gifqa", "/foo/bar/baz", false},
        {ALL "Disallow: /foo/bar/baz\n", "gifqa", "/foo/bar/%62%61%7a", false},
        {ALL "Disallow: /a%2Fb\n", "gifqa", "/a/b", true},
        {ALL "Disallow: /100%\n", "gifqa", "/100%", false},
        /* 2.2.3: special characters */
        {ALL "Disallow: / # all of it\n", "gifqa", "/x", false},
        {ALL "Disallow: /this/path/exactly$\n", "gifqa", "/this/path/exactly", false},
        {ALL "Disallow: /this/path/exactly$\n", "gifqa", "/this/path/exactly/", true},
        {ALL "Disallow: /this/*/exactly\n", "gifqa", "/this/a/b/exactly?c", false},
        {ALL "Disallow: /this/*/exactly\n", "gifqa", "/this/exactly", true},
        {ALL "Disallow: /a-%2A.html\n", "gifqa", "/a-*.html", false},
        {ALL "Disallow: /a-%2A.html\n", "gifqa", "/a-b.html", true},
        {ALL "Disallow: /a-%24\n", "gifqa", "/a-$", false},
        {ALL "Disallow: /a$b\n", "gifqa", "/a$bc", false},
        {ALL "Disallow: *a*b**c$\n", "gifqa", "/abcbc", false},
        {ALL "Disallow: /ab*ba$\n", "gifqa", "/aba", true}, {ALL "Disallow: /*$\n", "gifqa", "/", false}};
    (void)state;
    CHECK(known);
}

static void lines(void **state)
{
    static const sample known[] = {
        {"\xEF\xBB\xBFUser-agent:*\r\nDISALLOW :\t/a\r\n", "gifqa", "/a", false},
        {"user-agent: *\rdisallow: /a\r", "gifqa", "/a", false},
        {"user-agent: *\ndisallow: /a", "gifqa", "/a", false},
        {"", "gifqa", "/a", true}, {"<html>: no\n\x01\x02", "gifqa", "/a", true}};
    static const struct { const char *text; double delay; } delays[] = {
        {ALL "Crawl-delay: 10\n", 10}, {ALL "Crawl-delay: 0.25\nDisallow: /\n", 0.25},
        {ALL "Crawl-delay: 99999999999999999999\n", GQ_ROBOTS_DELAY}, {ALL "Crawl-delay: -1\n", 0},
        {ALL "Crawl-delay: ten\n", 0}, {ALL "Crawl-delay: 1\nCrawl-delay: 3\nCrawl-delay: 2\n", 3},
        {"User-agent: other\nCrawl-delay: 10\n", 0}};
    (void)state;
    CHECK(known);
    for (size_t k = 0; k < sizeof delays / sizeof *delays; k++) {
        gq_robots *r = parse(delays[k].text, "gifqa");
        assert_true(fabs(gq_robots_delay(r) - delays[k].delay) < 1e-9);
        gq_robots_free(r);
    }
    assert_true(gq_robots_allows(NULL, "/a") && gq_robots_delay(NULL) == 0);
}

/* What lies beyond the limit is not read, nor is the line that it tears. */
static void limit(void **state)
{
    size_t     size = GQ_ROBOTS_BYTES + 100, at = 0;
    char      *text = gq_calloc(size, 1), *path = gq_calloc(GQ_ROBOTS_PATH + 2, 1);
    gq_robots *r;
    gq_error   err = {0};
    (void)state;
    assert_non_null(text);
    assert_non_null(path);
    memset(text, '\n', size);
    memcpy(text, ALL "Disallow: /in\n", 28);
    at = GQ_ROBOTS_BYTES - 12;
    memcpy(text + at, "Disallow: /torn-here\n", 21);
    assert_ok(gq_robots_parse(text, size, "gifqa", &r, &err), &err);
    assert_false(gq_robots_allows(r, "/in"));
    assert_true(gq_robots_allows(r, "/to"));
    memset(path, '/', GQ_ROBOTS_PATH + 1);
    assert_false(gq_robots_allows(r, path));
    path[GQ_ROBOTS_PATH] = 0;
    assert_true(gq_robots_allows(r, path));
    gq_robots_free(r);
    gq_free(text);
    gq_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups),
        cmocka_unit_test(matching),
        cmocka_unit_test(lines),
        cmocka_unit_test(limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
