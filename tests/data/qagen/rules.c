/* Questions from captions, rule by rule; what is refused; the verb forms they need. */
#include "reading.h"

#include "data/qagen/inflect.h"
#include "data/qagen/rules.h"

static const char *reason;

/* "rule: question answer\n" of all. */
static const char *questions(const char *text)
{
    static char         out[8192];
    static gq_caption   c;
    static gq_generated list[GQ_RULE_MOST];
    read_words(text, &c);
    size_t n = gq_rules(&c, list, &reason);
    out[0] = 0;
    for (size_t k = 0; k < n; k++)
        sprintf(out + strlen(out), "%s: %s %s\n", gq_rule_name(list[k].rule), list[k].question,
                list[k].answer);
    return out;
}

static void progressive(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(questions("a man in a black hat is waving his hand and smiling ."),
                        "subj: who is waving his hand? a man\n"
                        "verb: what is the man in a black hat doing? waving his hand\n"
                        "obj: what is the man in a black hat waving? his hand\n"
                        "wear: what is the man wearing? a black hat\n"
                        "while: what is the man in a black hat doing while waving his hand? "
                        "smiling\n"
                        "subj: who is smiling? a man\n"
                        "color: what is the color of the hat? black\n");
    assert_string_equal(questions("two dogs are sitting on a couch ."),
                        "subj: what is sitting on a couch? two dogs\n"
                        "verb: what are two dogs doing? sitting on a couch\n"
                        "loc: where are two dogs sitting? on a couch\n"
                        "number: how many dogs are sitting on a couch? two\n");
    assert_string_equal(questions("a woman was pointing at something ."),
                        "subj: who was pointing at something? a woman\n"
                        "verb: what was the woman doing? pointing at something\n"
                        "pp-obj: what was the woman pointing at? something\n");
    assert_string_equal(questions("a man dancing in a room"),
                        "subj: who is dancing in a room? a man\n"
                        "verb: what is the man doing? dancing in a room\n"
                        "loc: where is the man dancing? in a room\n");
}

static void finite_verbs(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(questions("a girl opens two boxes and then kisses a boy ."),
                        "subj: who opens two boxes? a girl\n"
                        "verb: what does the girl do? open two boxes\n"
                        "obj: what does the girl open? two boxes\n"
                        "number: how many boxes does the girl open? two\n"
                        "after: what does the girl do after opening two boxes? kiss a boy\n"
                        "before: what does the girl do before kissing a boy? open two boxes\n"
                        "subj: who kisses a boy? a girl\n"
                        "obj: who does the girl kiss? a boy\n");
    assert_string_equal(questions("a cat ran across a red and white car ."),
                        "subj: what ran across a red and white car? a cat\n"
                        "verb: what did the cat do? run across a red and white car\n"
                        "loc: where did the cat run? across a red and white car\n"
                        "color: what is the color of the car? red and white\n");
    assert_string_equal(questions("three men look at each other ."),
                        "number: how many men look at each other? three\n");
}

static void other_verbs(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(questions("a baby is kissed by a woman ."),
                        "subj: who is kissed by a woman? a baby\n");
    assert_string_equal(questions("a boy is on a horse ."), "subj: who is on a horse? a boy\n");
}

/* Clauses that others join or present, and what stands between a subject and its verb. */
static void more_clauses(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(questions("a man on a stage sings while a woman in a red dress plays the "
                                  "piano ."),
                        "subj: who sings? a man\n"
                        "verb: what does the man on a stage do? sing\n"
                        "loc: where is the man? on a stage\n"
                        "subj: who plays the piano? a woman\n"
                        "verb: what does the woman in a red dress do? play the piano\n"
                        "obj: what does the woman in a red dress play? the piano\n"
                        "wear: what is the woman wearing? a red dress\n"
                        "color: what is the color of the dress? red\n");
    assert_string_equal(questions("this is a robot walking in a street ."),
                        "subj: what is walking in a street? a robot\n"
                        "verb: what is the robot doing? walking in a street\n"
                        "loc: where is the robot walking? in a street\n");
    assert_string_equal(questions("there are two dogs that chase a cat ."),
                        "subj: what chases a cat? two dogs\n"
                        "verb: what do two dogs do? chase a cat\n"
                        "obj: what do two dogs chase? a cat\n"
                        "number: how many dogs chase a cat? two\n");
    assert_string_equal(
        questions("these boys sitting on a couch play a guitar while smiling ."),
        "subj: who plays a guitar? the boys\n"
        "verb: what do the boys sitting on a couch do? play a guitar\n"
        "obj: what do the boys sitting on a couch play? a guitar\n"
        "while: what do the boys sitting on a couch do while smiling? play a guitar\n"
        "subj: who is sitting on a couch? the boys\n"
        "loc: where are the boys sitting? on a couch\n");
    assert_string_equal(questions("a boy pats a girl wearing a blue hat ."),
                        "subj: who pats a girl wearing a blue hat? a boy\n"
                        "verb: what does the boy do? pat a girl wearing a blue hat\n"
                        "wear: what is the girl wearing? a blue hat\n"
                        "color: what is the color of the hat? blue\n");
}

/* Later parts of a caption give nothing when they say "him" or mean one of two men; no question
 * tells its answer. */
static void later_parts(void **state)
{
    (void)state;
    need_reader();
    assert_string_equal(
        questions("a woman in all black is dancing while the wind blows her hair ."),
        "subj: who is dancing? a woman\n"
        "verb: what is the woman in all black doing? dancing\n"
        "color: what color is the woman wearing? black\n");
    assert_null(strstr(questions("a man throws a ball and another man catches it ."), "catch"));
    assert_null(strstr(questions("a man throws a ball and the man dances ."), "dance"));
    assert_non_null(strstr(questions("a man throws a ball and another man dances ."),
                           "verb: what does another man do? dance"));
    assert_string_equal(questions("a man hits a man in the face ."),
                        "verb: what does the man do? hit a man in the face\n");
}

/* What the tagger reads otherwise than captions mean it. */
static void readings(void **state)
{
    (void)state;
    need_reader();
    assert_non_null(strstr(questions("a car is being driven back and forth on a road ."),
                           "subj: what is being driven back and forth on a road? a car"));
    assert_non_null(strstr(questions("the girls are all making or fixing masks ."),
                           "verb: what are the girls doing? making or fixing masks"));
    assert_non_null(strstr(questions("a person in black jumps on a table ."),
                           "subj: who jumps on a table? a person"));
    assert_non_null(strstr(questions("two men in army gear walk across a field ."),
                           "number: how many men in army gear walk across a field? two"));
    assert_non_null(strstr(questions("a woman is biting and pulling at paper ."),
                           "pp-obj: what is the woman pulling at? paper"));
    assert_non_null(strstr(questions("a man with gelled red hair glides across a room ."),
                           "subj: who glides across a room? a man"));
    assert_non_null(strstr(questions("man with a hat is lighting and smoking a cigarette ."),
                           "verb: what is the man with a hat doing? lighting and smoking a "
                           "cigarette"));
    assert_non_null(strstr(questions("two young woman take off their hats ."),
                           "number: how many young women take off their hats? two"));
    assert_null(strstr(questions("a car drives along a road next to grass and trees ."), "tree?"));
}

static void refused(void **state)
{
    (void)state;
    static const struct {
        const char *caption, *why;
    } none[] = {
        {"there is a man .", "the subject is this, it or there"},
        {"there is dancing .", "the subject is this, it or there"},
        {"this image is of a man who dances .", "the subject is a picture"},
        {"a man drops dropped a box .", "the verb stands there twice"},
        {"a man opens and closes a door .", "its object stands behind another verb"},
        {"two women together one is singing .", "no verb belongs to the subject"},
        {"in a room a man is dancing .", "no noun phrase stands first"},
        {"a man can dance .", "a verb group of another kind than is + -ing"},
        {"a man is not dancing .", "a negated or longer verb group"},
        {"a beautiful day .", "no verb belongs to the subject"},
        {"a man glorps .", NULL},
    };
    need_reader();
    for (size_t k = 0; k < sizeof none / sizeof *none; k++) {
        assert_string_equal(questions(none[k].caption), "");
        assert_non_null(reason);
        if (none[k].why)
            assert_string_equal(reason, none[k].why);
    }
}

static void colors(void **state)
{
    (void)state;
    need_reader();
    /* of two hats none can be meant; people have no color */
    assert_null(strstr(questions("a man with a red hat and a woman with a blue hat ."), "color:"));
    assert_null(strstr(questions("a blond girl is dancing ."), "color:"));
    assert_non_null(strstr(questions("a girl with light blue eyes smiles ."),
                           "color: what is the color of the eyes? light blue"));
}

static void forms(void **state)
{
    (void)state;
    static const char *const verbs[][3] = {
        {"go", "goes", "going"},       {"try", "tries", "trying"},
        {"play", "plays", "playing"},  {"kiss", "kisses", "kissing"},
        {"sit", "sits", "sitting"},    {"take", "takes", "taking"},
        {"lie", "lies", "lying"},      {"see", "sees", "seeing"},
        {"eat", "eats", "eating"},     {"fix", "fixes", "fixing"},
        {"open", "opens", "opening"},  {"begin", "begins", "beginning"},
        {"have", "has", "having"},     {"watch", "watches", "watching"},
        {"dye", "dyes", "dyeing"},     {"jog", "jogs", "jogging"},
        {"show", "shows", "showing"},  {"be", "is", "being"},
        {"quit", "quits", "quitting"},
    };
    char out[GQ_WN_WORD];
    for (size_t k = 0; k < sizeof verbs / sizeof *verbs; k++) {
        gq_third_person(verbs[k][0], out);
        assert_string_equal(out, verbs[k][1]);
        gq_gerund(verbs[k][0], out);
        assert_string_equal(out, verbs[k][2]);
    }
}

/* Whatever words stand in a row: no crash, questions end in "?", answers are not empty. */
static void any_words(void **state)
{
    (void)state;
    static const char *const some[] = {"a",     "man",   "is",      "dancing", "and",       "then",
                                       "two",   "red",   "hats",    "in",      "of",        "who",
                                       "wears", ",",     "to",      "'s",      "on top of", "while",
                                       "this",  "there", "another", "sitting", "him",       "or"};
    static gq_caption        c;
    static gq_generated      list[GQ_RULE_MOST];
    uint32_t                 noise = 7;
    need_reader();
    for (int round = 0; round < 3000; round++) {
        char text[1024] = "";
        for (int k = 0; k < 3 + round % 20; k++) {
            noise = noise * 1664525 + 1013904223;
            strcat(strcat(text, some[(noise >> 8) % (sizeof some / sizeof *some)]), " ");
        }
        read_words(text, &c);
        size_t n = gq_rules(&c, list, &reason);
        for (size_t k = 0; k < n; k++) {
            size_t length = strlen(list[k].question);
            assert_true(length > 8 && list[k].question[length - 1] == '?' && *list[k].answer);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(progressive), cmocka_unit_test(finite_verbs),
        cmocka_unit_test(other_verbs), cmocka_unit_test(more_clauses),
        cmocka_unit_test(later_parts), cmocka_unit_test(readings),
        cmocka_unit_test(refused),     cmocka_unit_test(colors),
        cmocka_unit_test(forms),       cmocka_unit_test(any_words),
    };
    return cmocka_run_group_tests_name("data/qagen/rules", tests, read_begin, read_end);
}
