/* gifqa-qagen as a user meets it: captions to a table that gifqa-prep reads, explanations, taggers;
 * exit codes and messages for what can be wrong. */
#include "shell.h"

#include "data/qagen/wordnet.h"
#include "data/table.h"

static int begin(void **state)
{
    (void)state;
    return shell_begin("gifqa-qagen");
}

static gq_status none(void *ctx, uint64_t line, const char *reason, gq_error *err)
{
    (void)ctx;
    return gq_fail(err, GQ_EINPUT, "line %llu: %s", (unsigned long long)line, reason);
}

static void a_table(void **state)
{
    (void)state;
    gq_table *t;
    gq_row    r;
    gq_error  err = {0};
    char      path[1024];
    if (!gq_wordnet_present())
        skip();
    shell_put("c.tsv", "gif_name\tdescription\nx\ta man in a hat is waving his hand .\n"
                       "y\tthree cats run .\nz\tnothing\n");
    shell_expect("gifqa-qagen c.tsv -o qa.tsv --cap 100", 0, "3 captions, 7 questions", NULL);
    shell_path("qa.tsv", path);
    assert_ok(gq_table_open(path, none, NULL, &t, &err), &err);
    assert_ok(gq_table_next(t, &r, &err), &err);
    assert_string_equal(r.gif, "x");
    assert_string_equal(r.question, "who is waving his hand?");
    assert_string_equal(r.answer, "a man");
    assert_string_equal(r.type, "subject");
    gq_table_close(t);
    shell_put("s.tsv", "gif\tdescription\tsplit\nx\ta cat runs\ttrain\ny\ta dog barks\ttest\n");
    shell_expect("gifqa-qagen s.tsv -o s.out --split train && cat s.out", 0,
                 "x\twhat runs?\ta cat\t", NULL);
    assert_null(strstr(shell.out, "a dog"));
    shell_expect("head -n 3 qa.tsv | tail -n 1", 0,
                 "x\twhat is the man in a hat doing?\twaving his hand\tverb\tverb\tverb\trules\n",
                 NULL);
    shell_expect("gifqa-qagen c.tsv -o again.tsv --cap 100 && cmp qa.tsv again.tsv", 0, "kept",
                 NULL);
}

static void explained(void **state)
{
    (void)state;
    if (!gq_wordnet_present())
        skip();
    shell_expect("gifqa-qagen --explain --sentence 'A man in a black hat smiles.'", 0,
                 "[in/IN P] [a/DT black/JJ hat/NN NP] [smiles/VBZ* V]", NULL);
    assert_non_null(strstr(shell.out, "phrase   in a black hat"));
    assert_non_null(strstr(shell.out, "who smiles?  a man"));
    shell_expect("gifqa-qagen --explain --sentence 'there is a dog'", 0,
                 "its verb asks nothing: the subject is this, it or there", NULL);
    shell_put("u.tsv", "http://a.b/one.gif\ta dog barks\nhttp://a.b/two.gif\ta cat sleeps\n");
    shell_expect("gifqa-qagen u.tsv --explain --gif two", 0, "two, line 2: a cat sleeps", NULL);
    shell_expect("gifqa-qagen u.tsv --explain --line 3", 4, NULL, "u.tsv: has no such caption");
}

static void triples(void **state)
{
    (void)state;
    if (!gq_wordnet_present())
        skip();
    shell_help("gifqa-qagen triples");
    shell_expect("gifqa-qagen triples --sentence 'A cat and a dog sit on a couch.'", 0,
                 "cat\tsit on\tcouch\ndog\tsit on\tcouch\n", NULL);
    shell_put("k.tsv", "gif\tdescription\tsplit\nx\ta cat runs\ttrain\ny\ta dog barks\ttest\n"
                       "x\ta man opens a door\ttrain\n");
    shell_expect("gifqa-qagen triples k.tsv -o k.out --split train && cat k.out", 0,
                 "gif\tsubject\tpredicate\tobject\nx\tcat\trun\t\nx\tman\topen\tdoor\n", NULL);
    assert_non_null(strstr(shell.out, "2 captions, 2 triples (1.00 each); 0 captions gave none"));
    shell_expect("gifqa-qagen triples", 2, NULL, "give a file of captions, or --sentence TEXT");
    shell_expect("gifqa-qagen triples k.tsv", 2, NULL, "-o FILE.tsv goes with");
    shell_put("l.tsv", "gif\tdescription\nx\ta man\nlonely\n");
    shell_expect("gifqa-qagen triples l.tsv -o l.out", 4, NULL, "l.tsv:3: 1 field");
    shell_expect("test -e l.out", 1, NULL, NULL);
}

static void wrong_usage(void **state)
{
    (void)state;
    shell_expect("gifqa-qagen", 2, NULL, "give a file of captions, or --sentence TEXT");
    shell_expect("gifqa-qagen c.tsv", 2, NULL, "give -o FILE.tsv, or --explain");
    shell_expect("gifqa-qagen c.tsv --explain -o x", 2, NULL, "give -o FILE.tsv, or --explain");
    shell_expect("gifqa-qagen c.tsv -o x --line 3", 2, NULL, "go with --explain");
    shell_expect("gifqa-qagen train-tagger x", 2, NULL, "-o MODEL is missing");
    shell_expect("gifqa-qagen --help", 0, "CAPTIONS.tsv -o QA.tsv", NULL);
    if (!gq_wordnet_present())
        skip();
    shell_put("bad.tsv", "gif\tdescription\nx\ta man\nlonely\n");
    shell_expect("gifqa-qagen bad.tsv -o out.tsv", 4, NULL, "bad.tsv:3: 1 field");
    shell_expect("test -e out.tsv", 1, NULL, NULL);
    shell_put("bad.tagger", "GQTAGGER, or not quite; some text that is long enough to hold a head");
    shell_expect("gifqa-qagen --explain --sentence a --tagger bad.tagger", 5, NULL, "bad.tagger: ");
}

static void a_tagger(void **state)
{
    (void)state;
    shell_put("t.conllu", "1\tthe\t_\tX\tDT\t_\t_\t_\t_\t_\n2\tdog\t_\tX\tNN\t_\t_\t_\t_\t_\n\n");
    shell_expect("gifqa-qagen train-tagger t.conllu -o t.tagger --dev t.conllu", 0,
                 "t.conllu: 100.00 % of 2 words right", "pass 8: ");
    shell_expect("gifqa-qagen eval-tagger t.conllu --tagger t.tagger --json", 0,
                 "\"words\":2,\"right\":2,\"accuracy\":1.0", NULL);
    shell_expect("gifqa-qagen eval-tagger t.conllu --tagger none", 5, NULL,
                 "none: there is no such");
    shell_put("b.conllu", "1\tthe\n");
    shell_expect("gifqa-qagen train-tagger b.conllu -o b.tagger", 4, NULL,
                 "b.conllu:1: 2 columns between tabs, not 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_table), cmocka_unit_test(explained), cmocka_unit_test(triples),
                                       cmocka_unit_test(wrong_usage), cmocka_unit_test(a_tagger)};
    return cmocka_run_group_tests_name("tools/qagen", tests, begin, shell_end);
}
