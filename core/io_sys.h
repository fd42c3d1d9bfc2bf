/* io_sys.h - what the io*.c files share and nobody else includes: errno into text, full writes.
 *
 * errno is read on entry, so these are called straight after the failed system call.
 */
#ifndef GIFQA_CORE_IO_SYS_H
#define GIFQA_CORE_IO_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/status.h"

/* "<path>: cannot <what>: <reason>[; remedy]". GQ_EINPUT unless the device or memory failed. */
gq_status gq_sys_fail_read(gq_error *err, const char *path, const char *what);
/* The same for all that changes the disk: GQ_EDISK, with the free bytes when the disk is full. */
gq_status gq_sys_fail_write(gq_error *err, const char *path, const char *what);

/* write(2) until all is written; `*done` counts what reached the file, also when it fails: -1. */
int gq_sys_write_all(int fd, const void *data, size_t bytes, size_t *done);
int gq_sys_open(const char *path, int flags, mode_t mode); /* without EINTR, O_CLOEXEC added */

/* Directory part of a path: "." when it has none. Owned by the caller; NULL: no memory. */
char       *gq_sys_dirname(const char *path);
const char *gq_sys_basename(const char *path);               /* points into path */

#endif
