/* gifqa-prep import as a user meets it: help, usage, tables of counts, JSON, and exit codes. */
#include "shell.h"

#include "data/gifwrite.h"

static int begin(void **state)
{
    (void)state;
    return shell_begin("gifqa-prep");
}

#define COUNT_HEAD "gif_name\tquestion\tanswer\tvid_id\tkey\r\n"

static void material(void)
{
    shell_put("Test_count_question.csv", COUNT_HEAD "t\tHow ?\t2\tCOUNT1\t1\r\n");
    shell_put("Total_count_question.csv", COUNT_HEAD "t\tHow ?\t2\tCOUNT1\t1\r\n"
                                                     "u\tHow pCOUNTare ?\t3\tCOUNT2\t2\r\n");
    shell_put("Train_action_question.csv",
              "gif_name\tquestion\ta1\ta2\ta3\ta4\ta5\tanswer\tvid_id\tkey\r\n"
              "t\tWhat ?\ta\tb\tc\td\te\t0\tACTION1\t1\r\n");
    shell_put("s.tsv", "http://x/u.gif\ta man.\nhttp://x/t.gif\ta cat\nhttp://x/w.gif\ta dog\n");
    shell_put("train.txt", "http://x/u.gif\nhttp://x/t.gif\n");
    shell_put("val.txt", "http://x/v.gif\n");
    shell_put("test.txt", "http://x/w.gif\n");
}

static void usage(void **state)
{
    (void)state;
    need_program();
    shell_help("gifqa-prep import");
    shell_help("gifqa-prep import tgif");
    shell_help("gifqa-prep import tgif-qa");
    shell_expect("gifqa-prep import", 2, NULL, "a command is missing");
    shell_expect("gifqa-prep import tgif-aq", 2, NULL, "did you mean 'tgif-qa'?");
    shell_expect("gifqa-prep import tgif-qa", 2, NULL, "arguments are missing");
    shell_expect("gifqa-prep import tgif-qa Test_x.csv", 2, NULL, "-o DIR is missing");
    shell_expect("gifqa-prep import tgif s.tsv", 2, NULL, "-o FILE.tsv is missing");
    shell_expect("gifqa-prep import tgif s.tsv -o c.tsv", 2, NULL, "--val LIST is missing");
    shell_expect("gifqa-prep import tgif s.tsv -o c.tsv --val v", 2, NULL,
                 "--test LIST is missing");
}

static void questions(void **state)
{
    (void)state;
    need_program();
    material();
    shell_expect("gifqa-prep import tgif-qa *_question.csv -o tables", 0,
                 "count      Total       2       2        1        0       1        1  a part of "
                 "30397\n", "without Test_action_question.csv its GIFs may be");
    assert_non_null(strstr(shell.out, "action     Train       1       1        0        1       0  "
                                      "      0  a part of 20471 (its README: 20475)\n"));
    shell_expect("tail -n 1 tables/train.tsv", 0,
                 "u\tHow prepare ?\t3\tcount\t\t\t\t\t\t\tCOUNT2\t2\t\n", NULL);
    shell_expect("gifqa-prep import tgif-qa Test_count_question.csv -o other --json", 0, "", NULL);
    json_t *o = shell_json();
    json_t *test = json_object_get(json_object_get(o, "count"), "Test");
    assert_int_equal(shell_int(test, "rows"), 1);
    assert_int_equal(shell_int(test, "published"), 3554);
    json_decref(o);
    shell_expect("gifqa-prep import tgif-qa Test_count_question.csv -o tables", 4, NULL,
                 "train.tsv: is there from another import");
    shell_expect("gifqa-prep import tgif-qa Test_count_question.csv -o w --whole", 4, NULL,
                 "1 rows; the published one has 3554");
    shell_expect("test -e w/test.tsv", 1, NULL, NULL);
    shell_expect("printf 'x' >>Test_count_question.csv\n"
                 "gifqa-prep import tgif-qa Test_count_question.csv -o other --json", 4,
                 "\"exit\":4", "Test_count_question.csv:3: 1 fields, the header has 5");
}

/* What was imported becomes shards: the types, the right choice as the answer, unquoted. */
static void questions_become_shards(void **state)
{
    static const uint8_t palette[2][3] = {{9, 9, 9}, {200, 0, 0}};
    static const uint8_t index[2 * 4] = {0, 1, 1, 0, 1, 0, 0, 1};
    char                 path[1024];
    gq_error             err = {0};
    (void)state;
    need_program();
    material();
    shell_put("Test_transition_question.csv",
              "gif_name\tquestion\ta1\ta2\ta3\ta4\ta5\tanswer\tvid_id\tkey\r\n"
              "t\tWhat first ?\ta\tb\t\"say \"\"no\"\"\"\td\te\t2\tTRANS1\t1\r\n");
    shell_path("t.gif", path);
    assert_ok(gq_gif_write(path, 2, 2, index, 2, palette, 2, 7, &err), &err);
    shell_expect("gifqa-prep import tgif-qa Test_*.csv -o built", 0, "transition", NULL);
    shell_expect("gifqa-prep build built/test.tsv --gifs . -o shards --set data.frames=2", 0,
                 "1 GIFs, 2 questions", "");
    shell_expect("gifqa-prep head shards", 0, "transition\n  What first ?\n  say \"no\"\n", NULL);
    assert_non_null(strstr(shell.out, "count\n  How ?\n  2\n"));
}

static void captions(void **state)
{
    (void)state;
    need_program();
    material();
    shell_expect("gifqa-prep import tgif s.tsv --train train.txt --val val.txt --test test.txt "
                 "--tgif-qa Test_count_question.csv -o c.tsv", 0,
                 "train           2         2       2        1            1  a part of 80000\n",
                 NULL);
    assert_non_null(strstr(shell.out, "sentences: 3, a part of 125782"));
    shell_expect("cat c.tsv", 0, "gif\tdescription\tsplit\turl\nu\ta man.\ttrain\thttp://x/u.gif\n"
                                 "w\ta dog\ttest\thttp://x/w.gif\n", NULL);
    shell_expect("gifqa-prep import tgif s.tsv --train train.txt --val val.txt --test test.txt "
                 "-o c.tsv --json", 0, "", "without TGIF-QA's Test files");
    json_t *o = shell_json();
    assert_int_equal(shell_int(json_object_get(o, "train"), "dropped"), 0);
    json_decref(o);
    shell_expect("gifqa-prep import tgif s.tsv --val val.txt --test test.txt -o d.tsv", 4, NULL,
                 "there is no list of train");
    shell_expect("test -e d.tsv", 1, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage),
        cmocka_unit_test(questions),
        cmocka_unit_test(questions_become_shards),
        cmocka_unit_test(captions),
    };
    return cmocka_run_group_tests(tests, begin, shell_end);
}
