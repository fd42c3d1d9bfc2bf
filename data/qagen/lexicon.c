#include "data/qagen/lexicon.h"

#include <string.h>

#include "data/qagen/wordnet.h"

/* Each list is words between blanks. */
static const char colors[] =
    " black white red blue green yellow brown pink purple orange gray grey gold golden silver tan "
    "beige turquoise maroon violet teal navy blond blonde ";
static const char people[] =
    " person people someone somebody everyone couple band team group crowd audience police family "
    "gang trio duo pair kid kids model character guard player adult adults youth male female males "
    "females blonde brunette redhead lady ladies bride groom other others crew army class "
    "orchestra choir congregation guy guys cop cops individual individuals folks children men "
    "racer racers "
    "women "
    "majority teen teens human humans ";
static const char creatures[] =
    " pet pets flock herd creature creatures puppy kitty bunny mascot swarm pack fish insect "
    "animal animals ";
static const char lifeless[] =
    " tail paw paws hood egg forward head top face horn feather baseball back bat soft "
    "train right left side end light mouse-pad teddy cream chicken turkey shrimp bug monitor "
    "computer counter washer cooler heater bumper dresser hamburger mixer blender drawer cue guide "
    "host page cartoon figure shell drag dragon ball-player stripes stripe runner heel heels "
    "double "
    "bar block pop case kind sort game clip worm-hole match record player-piano cut number beat "
    "body hand hands arm arms leg legs eye eyes mouth stock beak scene mark target deck camel-hair "
    "volume content contents model-train phone cellphone telephone guitar guitars piano drum drums "
    "violin saxophone "
    "instrument microphone microphones mic mike laptop keyboard bike bicycle skateboard ";
static const char clothes[] =
    " glasses sunglasses goggles eyeglasses mask helmet necklace earrings bracelet ring watch tie "
    "scarf gloves belt hat cap crown uniform costume suit outfit clothes attire makeup headphones "
    "headband backpack jewelry wig bandana lingerie swimsuit bikini underwear tuxedo sweatshirt "
    "hoodie tshirt t-shirt shirt top tops jeans shorts pants stripes bow bowtie earphones headset "
    "veil badge lipstick braces shades tank armor cape skirt jersey bib fez cloak glove plaid "
    "tulle "
    "kit strip gear towel apron robe gown kilt ";
static const char places[] =
    " stage room field street road park beach water pool floor ground bed couch chair table car "
    "sofa bench kitchen bedroom bathroom studio hallway bus train plane boat house home school "
    "office club bar air sky crowd forest snow grass sand sidewalk sea ocean river lake court ring "
    "building corner door window wall counter desk elevator store shop restaurant theater theatre "
    "rain mirror shower tub bathtub fire camera front background ";
static const char times[] = " time times day night morning evening afternoon while moment second "
                            "seconds minute minutes hour "
                            "hours way turn bit lot ";

bool gq_word_among(const char *word, const char *list)
{
    size_t n = strlen(word);
    if (!n)
        return false;
    for (const char *p = list; (p = strstr(p, word)); p++)
        if (p[-1] == ' ' && p[n] == ' ')
            return true;
    return false;
}

/* The class of the form itself when WordNet has it, else of its singular. */
static unsigned class_of(const char *noun)
{
    char base[GQ_WN_WORD];
    unsigned class;
    gq_wordnet_noun(noun, base);
    gq_wordnet_find(base, &class);
    return class;
}

static bool listed_noun(const char *list, const char *noun)
{
    char base[GQ_WN_WORD];
    return gq_word_among(noun, list) || (gq_wordnet_noun(noun, base) && gq_word_among(base, list));
}

bool gq_word_is_color(const char *word)
{
    return gq_word_among(word, colors);
}

bool gq_word_is_human(const char *noun)
{
    if (listed_noun(lifeless, noun) || listed_noun(creatures, noun) || gq_word_is_clothing(noun))
        return false;
    unsigned class = class_of(noun);
    return listed_noun(people, noun) ||
           ((class & GQ_WN_LIVING) && (class & GQ_WN_CLASS) != GQ_WN_ANIMAL);
}

bool gq_word_is_living(const char *noun)
{
    if (listed_noun(people, noun) || listed_noun(creatures, noun))
        return true;
    return !listed_noun(lifeless, noun) && !gq_word_is_color(noun) && !gq_word_is_clothing(noun) &&
           (class_of(noun) & GQ_WN_LIVING);
}

bool gq_word_is_clothing(const char *noun)
{
    return listed_noun(clothes, noun) || (class_of(noun) & GQ_WN_CLOTHING);
}

bool gq_word_is_place(const char *noun)
{
    if (listed_noun(places, noun))
        return true;
    if (gq_word_is_clothing(noun) || gq_word_is_time(noun) || listed_noun(lifeless, noun))
        return false;
    switch (class_of(noun) & GQ_WN_CLASS) {
    case GQ_WN_ARTIFACT:
    case GQ_WN_LOCATION:
    case GQ_WN_OBJECT:
    case GQ_WN_SUBSTANCE:
    case GQ_WN_PLANT:
        return true;
    default:
        return false;
    }
}

bool gq_word_is_time(const char *noun)
{
    return listed_noun(times, noun) || (class_of(noun) & GQ_WN_CLASS) == GQ_WN_TIME;
}

bool gq_word_is_picture(const char *noun)
{
    return listed_noun(" image picture photo video clip scene gif shot ", noun);
}

bool gq_word_is_verb(const char *word, char *base)
{
    return gq_wordnet_verb(word, base);
}
