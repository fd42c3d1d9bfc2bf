/* From TGIF's files to the first trained step, as README shows it: import, gifqa-qagen, build,
 * gifqa-train with the nano configuration; toy GIFs under the names of made-up URLs. */
#include "shell.h"

#include "data/qagen/wordnet.h"

#define NANO                                                                                       \
    "--config " GQ_SOURCE_DIR "/configs/stllm_nano.yaml --set gpt2.vocab=1024 "                    \
    "--set gpt2.positions=64 --set prompt.max_question_tokens=32 "                                 \
    "--set prompt.max_answer_tokens=15 "

static int begin(void **state)
{
    (void)state;
    return shell_begin("gifqa-train");
}

/* TGIF's own form: 40 URLs for training, 6 for val, 2 for test, a sentence each. */
static void material(void)
{
    static const char *const sentence[] = {
        "a man in a red hat is waving his hand and smiling.",
        "Two dogs are sitting on a couch",
        "a girl opens two boxes and then kisses a boy.",
        "a black cat sleeps",
        "a woman is playing a guitar in a room while a child dances .",
    };
    enum { TRAIN = 40, VAL = 6, ALL = 48, SENTENCES = sizeof sentence / sizeof *sentence };
    static char captions[8192], list[3][4096];
    char        url[64];
    captions[0] = list[0][0] = list[1][0] = list[2][0] = 0;
    for (int k = 0; k < ALL; k++) {
        char *to = list[k < TRAIN ? 0 : k < TRAIN + VAL ? 1 : 2];
        snprintf(url, sizeof url, "https://a.example/%02d/toy-%06d.gif", k % 7, k);
        snprintf(captions + strlen(captions), sizeof captions - strlen(captions), "%s\t%s\n", url,
                 sentence[k % SENTENCES]);
        snprintf(to + strlen(to), sizeof list[0] - strlen(to), "%s\n", url);
    }
    shell_put("tgif.tsv", captions);
    shell_put("train.txt", list[0]);
    shell_put("val.txt", list[1]);
    shell_put("test.txt", list[2]);
    shell_put("Test_count_question.csv", "gif_name\tquestion\tanswer\tvid_id\tkey\r\n"
                                         "toy-000007\tHow many times ?\t2\tCOUNT1\t1\r\n");
    shell_expect("gifqa-prep world --preset micro --train 48 --val 0 --test 0 --novel 0 -o w", 0,
                 "", "");
    shell_expect("mkdir gifs && for f in w/gif/train-*.gif; do "
                 "mv $f gifs/toy-${f#w/gif/train-} || exit 1; done", 0, NULL, NULL);
}

static void from_download_to_a_step(void **state)
{
    (void)state;
    need_program();
    if (!gq_wordnet_present())
        skip();
    material();
    shell_expect("gifqa-prep import tgif tgif.tsv -o captions.tsv --train train.txt --val val.txt "
                 "--test test.txt --tgif-qa Test_count_question.csv", 0,
                 "train          40        40      40        1            1", NULL);
    shell_expect("gifqa-qagen captions.tsv -o made-train.tsv --cap 100 --split train", 0, "39 captions, ",
                 NULL);
    shell_expect("gifqa-qagen captions.tsv -o made-val.tsv --cap 100 --split val", 0, "6 captions, ", NULL);
    shell_expect("cat made-*.tsv | grep -e toy-000007 -e toy-000046", 1, NULL, NULL);
    shell_expect("gifqa-prep build made-train.tsv --gifs gifs -o shards/train --json " NANO, 0, "",
                 "39/39 GIFs");
    assert_null(strstr(shell.err, "warning"));
    json_t *o = shell_json();
    assert_int_equal(shell_int(o, "gifs"), 39);
    assert_int_equal(shell_int(o, "bad_rows") + shell_int(o, "bad_gifs"), 0);
    assert_int_equal(shell_int(o, "cut_questions") + shell_int(o, "cut_answers"), 0);
    long long questions = shell_int(o, "questions");
    json_decref(o);
    shell_expect("tail -n +2 made-train.tsv | wc -l", 0, "", NULL);
    assert_int_equal(atoll(shell.out), questions);
    shell_expect("gifqa-prep build made-val.tsv --gifs gifs -o shards/val "
                 "--tokenizer shards/train/tokenizer " NANO, 0, "6 GIFs", "");
    shell_expect("gifqa-prep head shards/train -n 1", 0, "who is waving his hand?\n  a man\n",
                 NULL);
    shell_expect("gifqa-train " NANO "--run-dir run --set data.train=shards/train "
                 "--set data.val=shards/val --set 'train.stages=[]' --set 'train.mix={}' "
                 "--set train.steps=1", 0, "run: 1 steps, loss ", "step 1/1");
    shell_expect("gifqa-ask run gifs/toy-000000.gif 'what is the man doing?' --json", 0, "\"answer\"",
                 "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(from_download_to_a_step)};
    return cmocka_run_group_tests_name("tools/pipeline", tests, begin, shell_end);
}
