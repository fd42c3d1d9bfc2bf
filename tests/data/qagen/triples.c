/* Subject, predicate, object of captions: conjunctions, prepositions, clauses inside. */
#include "reading.h"

#include "data/qagen/triples.h"

typedef struct sample {
    const char *caption, *triples; /* "subject | predicate | object / ..."      */
} sample;

static void check(const sample *s, size_t n)
{
    static gq_caption c;
    static gq_triple  list[GQ_TRIPLES];
    char              got[8192];
    need_reader();
    for (size_t i = 0; i < n; i++) {
        read_words(s[i].caption, &c);
        size_t triples = gq_triples(&c, list);
        got[0] = 0;
        for (size_t k = 0; k < triples; k++)
            snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s | %s | %s", k ? " / " : "",
                     list[k].subject, list[k].predicate, list[k].object);
        if (strcmp(got, s[i].triples) != 0)
            fail_msg("%s\n  got  %s\n  want %s", s[i].caption, got, s[i].triples);
    }
}

#define CHECK(list) check(list, sizeof list / sizeof *list)

static void conjunctions(void **state)
{
    static const sample list[] = {
        {"a man is waving his hand and smiling .", "man | wave | his hand / man | smile | "},
        {"a dog and a cat are chasing a ball .", "dog | chase | ball / cat | chase | ball"},
        {"a man pours milk and sugar into a cup of coffee .",
         "man | pour | milk / man | pour | sugar / man | pour into | cup of coffee"},
        {"two men, a woman and a child run away from a bear .",
         "two men | run away from | bear / woman | run away from | bear / "
         "child | run away from | bear"},
        {"a man in a hat and a woman in a dress are sitting on a couch .",
         "man | sit on | couch / woman | sit on | couch"},
        {"a man in a white shirt and red trousers is jumping .", "man | jump | "},
        {"a singer is performing on a stage , and the crowd cheers .",
         "singer | perform on | stage / crowd | cheer | "},
        {"a man puts on his hat and leaves the room .",
         "man | put on | his hat / man | leave | room"},
        {"a man moving his head and then his hat falls off .",
         "man | move | his head / his hat | fall off | "},
    };
    (void)state;
    CHECK(list);
}

static void predicates(void **state)
{
    static const sample list[] = {
        {"two girls are dancing .", "two girls | dance | "},
        {"a man tries to open the door .", "man | try to open | door"},
        {"a group of children is dancing in a room .", "group of children | dance in | room"},
        {"a girl gives a boy a flower .", "girl | give | flower / girl | give to | boy"},
        {"a woman is not looking at the camera .", "woman | not look at | camera"},
        {"a baby is kissed by a woman .", "woman | kiss | baby"},
        {"the boy is happy .", "boy | be | happy"},
        {"a bird is on a branch .", "bird | be on | branch"},
        {"a man turns around and then points at the screen .",
         "man | turn around |  / man | point at | screen"},
        {"a player kicks the ball three times .", "player | kick | ball"},
        {"the old woman's dog is barking .", "old woman's dog | bark | "},
    };
    (void)state;
    CHECK(list);
}

static void clauses(void **state)
{
    static const sample list[] = {
        {"a boy is sitting on a bench reading a book .",
         "boy | sit on | bench / boy | read | book"},
        {"a man eats whilst a boy sings .", "man | eat |  / boy | sing | "},
        {"two people walk arm in arm .", "two people | walk | "},
        {"this image is of a girl in a red shirt laughing .", "girl | laugh | "},
        {"a dog bares its teeth as it barks .", "dog | bare | its teeth / dog | bark | "},
        {"a man pushes two girls , and they fall .",
         "man | push | two girls / two girls | fall | "},
        {"a girl gets everyone to dance .", "girl | get | everyone / everyone | dance | "},
        {"a girl rides in a car without a roof .", "girl | ride in | car"},
        {"a boy sits on a horse eating hay .", "boy | sit on | horse / horse | eat | hay"},
        {"a man wearing a red shirt is playing a guitar .",
         "man | wear | red shirt / man | play | guitar"},
        {"a man dressed as a clown juggles three balls .",
         "man | be dressed as | clown / man | juggle | three balls"},
        {"a cat looks at a box that is filled with toys .",
         "cat | look at | box / box | be filled with | toys"},
        {"a man falls off a chair while he is talking to a woman .",
         "man | fall off | chair / man | talk to | woman"},
        {"a woman laughs as a dog licks her face .",
         "woman | laugh |  / dog | lick | her face"},
        {"there is a man riding a bicycle down a hill .",
         "man | ride | bicycle / man | ride down | hill"},
        {"this is a cat jumping off a table .", "cat | jump off | table"},
        {"in a kitchen a cook is cutting onions .", "cook | cut | onions"},
        {"a man kisses a girl in a white dress .", "man | kiss | girl"},
        {"a man dancing in the rain", "man | dance in | rain"},
        {"a beautiful day .", ""},
    };
    (void)state;
    CHECK(list);
}

/* More than there is room for are left out, and nothing is written behind it. */
static void too_many(void **state)
{
    static gq_caption c;
    static gq_triple  list[GQ_TRIPLES + 1];
    char              text[1024];
    (void)state;
    need_reader();
    strcpy(text, "a man , a dog , a cat , a boy , a girl and a bird see");
    for (int verbs = 0; verbs < 12; verbs++)
        strcat(text, " a tree and a car and hear");
    list[GQ_TRIPLES].subject[0] = '!';
    read_words(text, &c);
    assert_int_equal(gq_triples(&c, list), GQ_TRIPLES);
    assert_int_equal(list[GQ_TRIPLES].subject[0], '!');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conjunctions),
        cmocka_unit_test(predicates),
        cmocka_unit_test(clauses),
        cmocka_unit_test(too_many),
    };
    return cmocka_run_group_tests_name("data/qagen/triples", tests, read_begin, read_end);
}
