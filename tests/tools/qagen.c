/* gifqa-qagen as a user meets it: captions to a table that gifqa-prep reads, explanations, taggers;
 * exit codes and messages for what can be wrong. */
#include "shell.h"

#include "data/qagen/wordnet.h"
#include "data/table.h"
#include "t5_made.h"

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

/* ---- questions from a T5 --------------------------------------------------------------------- */

#define ASKED "gifqa-qagen m.tsv --cap 100 --generator t5 --device cpu --threads 2 "

static void make_t5(void)
{
    char         path[1024];
    gq_t5_config c = made_t5_sizes;
    shell_path("t5", path);
    made_t5_asker(path);
    shell_path("chatter", path);
    made_t5_random(path, &c, 1);
    shell_put("m.tsv", "gif_name\tdescription\tsplit\n"
                       "x\ta dog chases a red ball .\ttrain\n"
                       "y\ta black cat sleeps on the couch .\ttrain\n"
                       "z\tnothing\ttrain\n"
                       "w\ta man on a black horse runs on the red couch with a dog and a cat .\ttest\n");
}

static void a_table_by_t5(void **state)
{
    (void)state;
    if (!gq_wordnet_present())
        skip();
    make_t5();
    shell_expect(ASKED "--model t5 -o m1.tsv --batch 1", 0, "prompts of form qg-ap: ", "gifqa-qagen: ");
    assert_non_null(strstr(shell.out, "4 captions, "));
    assert_non_null(strstr(shell.out, "pairs/s, in batches of 1"));
    shell_expect("cat m1.tsv", 0, "gif\tquestion\tanswer\ttype\ttemplate\tcandidate\tgenerator\n"
                                  "x\twhat is pet?\ta dog\tobject\tqg-ap\tliving\tt5\n", NULL);
    assert_non_null(strstr(shell.out, "x\twhat is toy?\ta red ball\tobject\tqg-ap\tnoun\tt5\n"));
    assert_non_null(strstr(shell.out, "y\twhat is feline?\ta black cat\tobject\tqg-ap\tliving\tt5\n"));
    assert_non_null(strstr(shell.out, "y\twhat is tint?\tblack\tcolor\tqg-ap\tcolor\tt5\n"));
    shell_expect(ASKED "--model t5 -o m3.tsv --batch 3 && cmp m1.tsv m3.tsv", 0, "batches of 3", "");
    shell_expect(ASKED "--model t5 -o m8.tsv --batch 8 && cmp m1.tsv m8.tsv", 0, "batches of 8", "");
    shell_expect(ASKED "--model t5 -o b.tsv --beams 3 --max-new 6 && cat b.tsv", 0,
                 "x\twhat is pet?\ta dog\tobject\tqg-ap\tliving\tt5\n", "");
    shell_expect(ASKED "--model t5 -o s.tsv --split test && cut -f 1 s.tsv | sort -u", 0, "gif\nw\n", "");
    shell_expect(ASKED "--model t5 -o n.tsv --max-new 2 && cat n.tsv", 0,
                 " 0 good, 0 empty, ", "");                 /* "what is": the rest has no room    */
    shell_put("f.json", "{\"name\": \"mine\", \"prompt\": \"{context} {answer}\"}");
    shell_expect(ASKED "--model t5 -o f.tsv --form f.json && cat f.tsv", 0,
                 "x\twhat is toy?\ta red ball\tobject\tmine\tnoun\tt5\n", "");
    shell_expect(ASKED "--model chatter -o r1.tsv --batch 1 && " ASKED
                 "--model chatter -o r8.tsv --batch 8 && cmp r1.tsv r8.tsv", 0, "batches of 8", "");
}

static void explained_by_t5(void **state)
{
    (void)state;
    if (!gq_wordnet_present())
        skip();
    make_t5();
    shell_expect(ASKED "--model t5 --explain --line 2", 0,
                 "  living  answer: a dog  context: a dog chases a red ball.\n"
                 "          -> what is pet?\n          good: what is pet?\n", NULL);
    assert_null(strstr(shell.out, "cat"));
    shell_expect("gifqa-qagen --explain --sentence 'a what is pet' --generator t5 --model t5 --device cpu", 0,
                 "[", NULL);
    shell_expect(ASKED "--model chatter --explain --line 2", 0, "nothing is kept\n", NULL);
}

static void wrong_t5(void **state)
{
    (void)state;
    shell_expect("gifqa-qagen m.tsv -o x --generator gpt", 2, NULL, "--generator is rules or t5, not gpt");
    shell_expect("gifqa-qagen m.tsv -o x --generator t5", 2, NULL, "--generator t5 needs --model DIR");
    shell_expect("gifqa-qagen m.tsv -o x --model t5", 2, NULL, "go with --generator t5");
    if (!gq_wordnet_present())
        skip();
    make_t5();
    shell_expect(ASKED "-o x --model none", 5, NULL, "none: no such directory; a T5 is one with config.json");
    shell_expect(ASKED "-o x --model random:1 --form qg-ap", 2, NULL, "give --tokenizer PATH");
    shell_expect(ASKED "-o x --model t5 --form qg", 2, NULL,
                 "no form is called so; known: qg-ap, qg-prepend, qg-hl, squad-v1, or a JSON file");
    shell_expect(ASKED "-o x --model t5 --form qg-hl", 5, NULL,
                 "form qg-hl has <hl> in its prompt, which is no token of this T5's tokenizer");
    shell_put("g.json", "{\"prompt\": \"{context}\"}");
    shell_expect(ASKED "-o x --model t5 --form g.json", 4, NULL, "g.json: the prompt has no {answer}");
    shell_expect(ASKED "-o x --model t5 --set engine.nothing=1", 3, NULL, "engine.nothing");
    shell_expect("test -e x", 1, NULL, NULL);
}

static void stopped(void **state)
{
    (void)state;
    if (!gq_wordnet_present())
        skip();
    make_t5();
    shell_expect("awk 'BEGIN { print \"gif\\tdescription\"; for (i = 0; i < 5000; i++) "
                 "print \"g\" i \"\\ta dog chases a red ball .\" }' >many.tsv\n"
                 "gifqa-qagen many.tsv -o many.out --generator t5 --model chatter --max-new 512 --device cpu & p=$!\n"
                 "until grep -q 'SigCgt:.*[4-7c-f][0-9a-f]\\{3\\}$' /proc/$p/status; do sleep 0.05; done\n"
                 "kill -TERM $p; wait $p; echo \"it said $?\"; test -e many.out || echo no table", 0,
                 "it said 75\nno table\n", "stopped; nothing was written");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_table), cmocka_unit_test(explained), cmocka_unit_test(triples),
                                       cmocka_unit_test(wrong_usage), cmocka_unit_test(a_tagger),
                                       cmocka_unit_test(a_table_by_t5), cmocka_unit_test(explained_by_t5),
                                       cmocka_unit_test(wrong_t5), cmocka_unit_test(stopped)};
    return cmocka_run_group_tests_name("tools/qagen", tests, begin, shell_end);
}
