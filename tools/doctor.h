/* doctor.h - private to gifqa-doctor: what it finds out, in four parts. */
#ifndef GIFQA_TOOLS_DOCTOR_H
#define GIFQA_TOOLS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

enum { GQ_DOCTOR_FLAGS = 16, GQ_DOCTOR_LIBS = 16, GQ_DOCTOR_ADVICE = 16 };

typedef struct gq_doctor {
    struct {
        char        model[96];
        int         usable;             /* cores this process may use                           */
        const char *flag[GQ_DOCTOR_FLAGS]; /* instruction sets that matter here and are there   */
        int         flags;
        const char *rung[4];            /* CPU kernels that run here, slowest first             */
        int         rungs;
        const char *chosen;             /* rung                                                 */
    } cpu;
    struct {                            /* 0: not measured                                      */
        double gemm1, gemm;             /* GFLOP/s, one thread and all                          */
        double memory;                  /* GB/s, all threads                                    */
    } peak;
    struct {
        uint64_t total, available;      /* bytes; what the machine has                          */
        uint64_t allowed;               /* bytes this process may use, 0: no limit of its own  */
    } memory;
    struct {
        char     dir[512];
        uint64_t free;                  /* bytes for this user                                  */
        double   write_mib_s;           /* a large file, synced; 0: not measured                */
        double   sync_ms;               /* a small file: write, sync, rename, sync directory   */
    } disk;
    struct { const char *name; char version[48]; } lib[GQ_DOCTOR_LIBS];
    int libs;
    char advice[GQ_DOCTOR_ADVICE][256]; /* what should be changed, one sentence each            */
    int  advices;
} gq_doctor;

void gq_doctor_advise(gq_doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* rung: what engine.cpu or GIFQA_CPU asks for, NULL: the best. seconds: of each measurement, 0:
 * none. */
gq_status gq_doctor_cpu(gq_doctor *d, const char *rung, double seconds, gq_error *err);
void      gq_doctor_memory(gq_doctor *d);
gq_status gq_doctor_disk(gq_doctor *d, const char *dir, bool measure, gq_error *err);
void      gq_doctor_libraries(gq_doctor *d);

typedef struct gq_doctor_part {         /* an optional part of the build                        */
    const char *name, *cost;            /* cost: what is lost without it                        */
    bool        present;
} gq_doctor_part;
extern const gq_doctor_part gq_doctor_parts[];
extern const int            gq_doctor_part_count;

typedef struct gq_doctor_limit {        /* of this process                                      */
    const char *name, *flag;            /* flag: of ulimit                                      */
    uint64_t    value;                  /* UINT64_MAX: unlimited                                */
} gq_doctor_limit;
/* Fills at most `cap`; returns how many there are. */
int gq_doctor_limits(gq_doctor_limit *out, int cap);

#endif
