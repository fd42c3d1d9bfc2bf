/* The tables of a build without WordNet. */
#include "data/qagen/wordnet_table.h"

const char             gq__wordnet_text[] = "";
const gq__wordnet_row  gq__wordnet_rows[] = {{0, 0, 0}};
const size_t           gq__wordnet_words = 0;
const uint32_t         gq__wordnet_slots[] = {0};
const gq__wordnet_pair gq__wordnet_nouns[] = {{"", ""}}, gq__wordnet_verbs[] = {{"", ""}};
const size_t           gq__wordnet_nouns_pairs = 0, gq__wordnet_verbs_pairs = 0;
