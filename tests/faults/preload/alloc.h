/* alloc.h - the switchboard between the allocation rig and the library it preloads: a small file
 * that both map, named by GIFQA_ALLOC_RIG. Processes that the program forks share it.
 */
#ifndef GIFQA_TESTS_FAULTS_PRELOAD_ALLOC_H
#define GIFQA_TESTS_FAULTS_PRELOAD_ALLOC_H

#include <stdint.h>

enum alloc_who {
    ALLOC_OWN,                          /* calls made by the program itself, libgifqa included    */
    ALLOC_LIBRARIES,                    /* and those of the libraries it uses, but libc           */
};

struct alloc_rig {
    uint64_t at;                        /* number of the call that fails, from 1; 0: none         */
    uint32_t lasting;                   /* and all later ones                                     */
    uint32_t who;                       /* whose calls count: alloc_who                           */
    uint64_t count;                     /* calls so far                                           */
    uint64_t failed;                    /* of those refused                                       */
    char     library[64];               /* who made the call that was refused first               */
};

#endif
