/* inflect.h - forms of English verbs from their base. Bases and forms are lower case and shorter
 * than GQ_WN_WORD bytes; out holds GQ_WN_WORD. */
#ifndef GIFQA_DATA_QAGEN_INFLECT_H
#define GIFQA_DATA_QAGEN_INFLECT_H

void gq_third_person(const char *base, char *out);           /* go: goes                          */
void gq_gerund(const char *base, char *out);                 /* sit: sitting                      */

#endif
