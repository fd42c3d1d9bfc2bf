/* Files of captions in their two forms; what cannot be read has file, line and reason. */
#include "scratch.h"

#include "core/mem.h"
#include "data/qagen/captions.h"

/* "line gif=text;" of all rows, then the error. */
static const char *read_all(const char *text)
{
    static char     out[4096];
    gq_captions    *c;
    gq_captions_row row;
    gq_error        err = {0};
    gq_status       s = gq_captions_open(scratch_put("c.tsv", text, strlen(text)), &c, &err);
    out[0] = 0;
    while (s == GQ_OK && (s = gq_captions_next(c, &row, &err)) == GQ_OK && row.gif)
        sprintf(out + strlen(out), "%llu %s=%s%s%s;", (unsigned long long)row.line, row.gif,
                row.text, *row.split ? "@" : "", row.split);
    gq_captions_close(c);
    if (s != GQ_OK) {
        assert_int_equal(s, GQ_EINPUT);
        strcat(out, strstr(err.text, "c.tsv"));
    }
    return out;
}

static void both_forms(void **state)
{
    (void)state;
    assert_string_equal(read_all("gif_name\tdescription\nx\ta man .\ny\ta \"cat\" .\n"),
                        "2 x=a man .;3 y=a \"cat\" .;");
    assert_string_equal(read_all("description\tn\tgif\r\na man\t7\tx\r\n"), "2 x=a man;");
    assert_string_equal(read_all("gif\tdescription\tsplit\turl\nx\ta man\ttrain\tu\n"),
                        "2 x=a man@train;");
    assert_string_equal(read_all("sentence\tgif\na man\tx\n"), "2 x=a man;");
    assert_string_equal(read_all("https://a.b/c/tumblr_1.gif\tA man.\nhttp://a.b/d.gif\tb\n"),
                        "1 tumblr_1=A man.;2 d=b;");
}

static void refused(void **state)
{
    (void)state;
    assert_non_null(strstr(read_all("gif\tquestion\n"), "c.tsv:1: the header has no column"));
    assert_non_null(strstr(read_all("gif\tdescription\nx\n"), "c.tsv:2: 1 field"));
    assert_non_null(
        strstr(read_all("gif\tdescription\nx\ta\ny\t \n"), "2 x=a;c.tsv:3: description"));
    assert_non_null(strstr(read_all("gif\tdescription\nx\t\xFF\n"), "c.tsv:2: "));
    assert_non_null(strstr(read_all("http://a.b/c.png\ta\n"), "c.tsv:1: this is no URL of a GIF"));
    assert_non_null(strstr(read_all("http://a.b/c.gif\ta\n/.gif\tb\n"), "c.tsv:2: this is no URL"));
    gq_captions *c;
    gq_error     err;
    assert_fails(gq_captions_open("/nowhere/c.tsv", &c, &err), GQ_EINPUT, &err, "/nowhere/c.tsv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_forms), cmocka_unit_test(refused)};
    return cmocka_run_group_tests_name("data/qagen/captions", tests, scratch_begin, scratch_end);
}
