/* gifqa.h - questions about animated GIFs, answered by a trained model: the library's public header.
 *
 *     #include <gifqa.h>
 *     #include <stdio.h>
 *
 *     int main(void)
 *     {
 *         char         why[512];
 *         gifqa       *model;
 *         gifqa_answer answer;
 *
 *         if (gifqa_open("runs/nano", NULL, &model, why, sizeof why) != GIFQA_OK) {
 *             fprintf(stderr, "%s\n", why);
 *             return 1;
 *         }
 *         if (gifqa_ask(model, "cat.gif", "what is it licking?", &answer) == GIFQA_OK)
 *             printf("%s (%.2f)\n", answer.text, answer.confidence);
 *         else
 *             fprintf(stderr, "%s\n", gifqa_error(model));
 *         gifqa_close(model);
 *         return 0;
 *     }
 *
 *     cc example.c $(pkg-config --cflags --libs gifqa)
 *
 * Further questions about a GIF are cheap: with frames chosen by CLIP the first question looks at every frame, later
 * ones reuse the frames' embeddings, found by a hash of the GIF's bytes. Answers are the same either way, to the bit.
 *
 * No function prints, exits, or keeps anything in globals. Several models may be open; each handle is used by one
 * thread at a time. Strings are UTF-8, ended by NUL. Structs are to be zeroed before their fields are set.
 */
#ifndef GIFQA_H
#define GIFQA_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What functions return; the same numbers are the exit codes of the programs. */
enum {
    GIFQA_OK = 0,
    GIFQA_EBUG = 1,                     /* internal error                                         */
    GIFQA_EUSAGE = 2,                   /* wrong arguments, an empty question                     */
    GIFQA_ECONFIG = 3,                  /* the model's configuration does not work here           */
    GIFQA_EINPUT = 4,                   /* the GIF is missing, damaged or beyond a limit          */
    GIFQA_EWEIGHTS = 5,                 /* no model there, or part of it is missing or damaged    */
    GIFQA_ERESOURCE = 6,                /* out of memory, or an I/O error                         */
    GIFQA_ENUMERIC = 7                  /* a number that is not finite came up                    */
};

typedef struct gifqa gifqa;             /* an open model                                          */

typedef struct gifqa_options {
    int         threads;                /* 0: as configured, which is all cores unless changed    */
    int         beams;                  /* 0: as configured; 1: greedy                            */
    int         evenly;       /* not 0: take frames evenly instead of the nearest to the question */
    int         last;                   /* not 0: a run's newest state instead of its best        */
    const char *vocabulary;             /* CLIP's, when it is not with the model; NULL: none      */
    const char *cache;     /* directory that keeps what CLIP made of GIFs from process to process;
                              NULL: this handle remembers the last 16 GIFs, and that is all       */
    int         cache_mib;              /* most of it; the oldest files go first; 0: 256          */
} gifqa_options;

typedef struct gifqa_answer {           /* pointers are valid until the next call with the handle */
    const char *text;
    double      confidence;          /* 0..1, product of the probabilities of the answer's tokens */
    int         complete;               /* 0: cut at the longest length that was configured       */
    const int  *frame;                  /* [frames] that the model saw, ascending, from 0         */
    int         frames;
    int         gif_frames;             /* frames in the GIF                                      */
    double      seconds;                /* wall clock of this question                            */
} gifqa_answer;

/* Opens the directory of a run (gifqa-train) or of an export (gifqa-export). options may be NULL. On failure *model is
 * NULL and error (may be NULL) says why. */
int gifqa_open(const char *path, const gifqa_options *options, gifqa **model, char *error, size_t error_size);

/* Answers a question about a GIF in a file, or in memory. On failure gifqa_error() says why; the handle stays good. */
int gifqa_ask(gifqa *model, const char *gif_path, const char *question, gifqa_answer *answer);
int gifqa_ask_bytes(gifqa *model, const void *gif, size_t bytes, const char *question, gifqa_answer *answer);

/* Why the last call with this handle failed; "" when it did not. Valid until the next call. */
const char *gifqa_error(const gifqa *model);

void        gifqa_close(gifqa *model);  /* NULL is allowed                                        */
const char *gifqa_version(void);        /* "0.1.0"                                                */

#ifdef __cplusplus
}
#endif

#endif
