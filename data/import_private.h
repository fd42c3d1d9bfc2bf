/* import_private.h - what both importers use. Private to data/import*.c. */
#ifndef GIFQA_DATA_IMPORT_PRIVATE_H
#define GIFQA_DATA_IMPORT_PRIVATE_H

#include "data/import.h"
#include "data/names.h"
#include "data/table.h"

/* gq_bad_row_fn with the file's path: any bad row ends the import. */
gq_status gq_import_bad_row(void *path, uint64_t line, const char *reason, gq_error *err);

/* The number of `text` in the set; NULL with GQ_ENOMEM. */
uint32_t *gq_import_name(gq_names *n, const char *text, gq_error *err);

#endif
