#include "data/shard_h5.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/io.h"
#include "core/mem.h"
#include "data/shard_h5_pack.h"

enum {
    GROW = 1024,                        /* rows a dataset grows by */
    TEXT_LIMIT = 8192,                  /* bytes of a text attribute */
    CHUNK = 256 << 10,                  /* bytes of a chunk of plain rows, when they are smaller */
    META_BLOCK = 256 << 10, /* libhdf5's own structures lie in few blocks: see extents in shard.h */
};

/* Declared sizes beyond both are refused: a file of a few kB can declare terabytes. zlib packs at
 * most 1032:1; zstd 128 KiB, its largest block, in 4 bytes. */
static const uint64_t max_declared = 4ull << 30, max_deflate = 1100, max_zstd = 32768;

struct gq_h5 {
    hid_t    file;
    uint64_t bytes;                     /* size of the file, when reading */
    char    *path;
};

struct gq_h5_rows {
    gq_h5      *f;
    hid_t       set;
    gq_h5_shape all;                    /* [rows allocated, row shape...] */
    uint64_t    n;                      /* rows added */
    uint64_t    per_chunk;              /* rows of a chunk */
    uint8_t    *chunk; /* plain rows that wait for theirs to be full; NULL: one each */
    size_t      row_bytes;
    char        name[64];
};

/* ---- errors and types ------------------------------------------------------------------------ */

static herr_t innermost(unsigned n, const H5E_error2_t *e, void *text)
{
    if (n == 0)
        snprintf(text, 200, "%s", e->desc ? e->desc : "");
    return 0;
}

/* " (N bytes free)" where `path` lies, or "". */
static void free_beside(const char *path, char out[48])
{
    char    *dir = gq_strdup(path), *slash = dir ? strrchr(dir, '/') : NULL;
    uint64_t left;

    *out = 0;
    if (slash)
        *slash = 0;
    if (dir && gq_free_space(!slash ? "." : *dir ? dir : "/", &left, NULL) == GQ_OK)
        snprintf(out, 48, " (%llu bytes free)", (unsigned long long)left);
    gq_free(dir);
}

static gq_status h5_fail(gq_error *err, gq_status code, const gq_h5 *f, const char *name,
                         const char *what)
{
    char why[200] = "", room[48] = "", failed[24], broken_off[24];
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, why);
    snprintf(failed, sizeof failed, "errno = %d,", EIO);
    snprintf(broken_off, sizeof broken_off, "errno = %d,", EINTR);
    if (code == GQ_EINPUT && (strstr(why, failed) || strstr(why, broken_off)))
        code = GQ_EDISK;                /* the device or the call, not what is in the file */
    else if (code == GQ_EDISK)
        free_beside(f->path, room);
    return gq_fail(err, code, "%s: %s: %s%s%s%s", f->path, name, what, room,
                   *why ? ": libhdf5: " : "", why);
}

/* libhdf5 prints by itself unless told not to, once per thread. After a write that failed it
 * keeps the file among its open ones and crashes on it in its exit handler, so that must never
 * be registered: nothing we need happens there. */
static void quiet(void)
{
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
}

size_t gq_h5_size(gq_h5_type type)
{
    static const size_t size[GQ_H5_TYPES] = {1, 2, 4, 4, 8, 8, 4, 2};
    return size[type];
}

/* A type of its own, to be closed. */
static hid_t make_type(gq_h5_type type)
{
    const hid_t base[GQ_H5_TYPES] = {H5T_STD_U8LE,  H5T_STD_U16LE, H5T_STD_I32LE,  H5T_STD_U32LE,
                                     H5T_STD_I64LE, H5T_STD_U64LE, H5T_IEEE_F32LE, H5T_IEEE_F32LE};
    hid_t t = H5Tcopy(base[type]);
    if (t >= 0 && type == GQ_H5_BF16 &&
        (H5Tset_fields(t, 15, 7, 8, 0, 7) < 0 || H5Tset_precision(t, 16) < 0 ||
         H5Tset_size(t, 2) < 0)) {
        H5Tclose(t);
        return -1;
    }
    return t;
}

static bool shape_bytes(gq_h5_type type, const gq_h5_shape *s, size_t *bytes)
{
    *bytes = gq_h5_size(type);
    for (int k = 0; k < s->rank; k++)
        if (!gq_mul_size(*bytes, s->dim[k], bytes))
            return false;
    return true;
}

static void *dims_of(const gq_h5_shape *s, hsize_t dim[GQ_H5_RANK])
{
    for (int k = 0; k < s->rank; k++)
        dim[k] = s->dim[k];
    return dim;
}

/* "group/leaf" cut in two; false when it is no such name. */
static bool split_name(const char *name, char group[32], const char **leaf)
{
    const char *slash = strchr(name, '/');
    size_t      n = slash ? (size_t)(slash - name) : 0;
    if (!n || n >= 32 || strchr(slash + 1, '/'))
        return false;
    memcpy(group, name, n);
    group[n] = 0;
    *leaf = slash + 1;
    return true;
}

static gq_status h5_new(const char *path, gq_h5 **out, gq_error *err)
{
    gq_h5 *f = gq_calloc(1, sizeof *f);
    *out = NULL;
    if (!f || !(f->path = gq_strdup(path))) {
        gq_free(f);
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to open it", path);
    }
    f->file = -1;
    quiet();
    *out = f;
    return GQ_OK;
}

static void h5_free(gq_h5 *f)
{
    gq_free(f->path);
    gq_free(f);
}

static hid_t file_access(void)
{
    hid_t p = H5Pcreate(H5P_FILE_ACCESS);
    if (p >= 0 && (H5Pset_fapl_sec2(p) < 0 || H5Pset_fclose_degree(p, H5F_CLOSE_STRONG) < 0 ||
                   H5Pset_meta_block_size(p, META_BLOCK) < 0)) {
        H5Pclose(p);
        return -1;
    }
    return p;
}

/* ---- writing --------------------------------------------------------------------------------- */

gq_status gq_h5_create(const char *path, gq_h5 **out, gq_error *err)
{
    gq_status s = h5_new(path, out, err);
    if (s != GQ_OK)
        return s;
    hid_t access = file_access();
    if (access >= 0)
        (*out)->file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    if (access < 0 || (*out)->file < 0) {
        s = h5_fail(err, GQ_EDISK, *out, "file", "cannot create it");
        h5_free(*out);
        *out = NULL;
    }
    if (access >= 0)
        H5Pclose(access);
    return s;
}

static gq_status put_attribute(gq_h5 *f, hid_t object, const char *name, hid_t type,
                               const void *data, gq_error *err)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t a = space < 0 || type < 0
                  ? -1
                  : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool  ok = a >= 0 && H5Awrite(a, type, data) >= 0;
    if (a >= 0)
        ok = H5Aclose(a) >= 0 && ok;
    if (space >= 0)
        H5Sclose(space);
    return ok ? GQ_OK : h5_fail(err, GQ_EDISK, f, name, "cannot write the attribute");
}

static gq_status put_text(gq_h5 *f, hid_t object, const char *name, const char *text,
                          gq_error *err)
{
    size_t n = strlen(text);
    if (n >= TEXT_LIMIT)
        return gq_fail(err, GQ_EUSAGE, "%s: %s: longer than %d bytes", f->path, name, TEXT_LIMIT);
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0)                               /* a length of 0 is not allowed */
        type = H5Tset_size(type, n + 1) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0 ? -1 : type;
    gq_status s = put_attribute(f, object, name, type, text, err);
    if (type >= 0)
        H5Tclose(type);
    return s;
}

gq_status gq_h5_put_text(gq_h5 *f, const char *name, const char *text, gq_error *err)
{
    return put_text(f, f->file, name, text, err);
}

gq_status gq_h5_put_u64(gq_h5 *f, const char *name, uint64_t value, gq_error *err)
{
    return put_attribute(f, f->file, name, H5T_STD_U64LE, &value, err);
}

/* The group of "group/leaf", open; to be closed. */
static hid_t make_group(gq_h5 *f, const char *name, const char **leaf)
{
    char group[32];
    if (!split_name(name, group, leaf))
        return -1;
    if (H5Lexists(f->file, group, H5P_DEFAULT) > 0)
        return H5Gopen2(f->file, group, H5P_DEFAULT);
    return H5Gcreate2(f->file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
}

static hid_t creation_list(const gq_h5_shape *chunk, gq_h5_pack pack, size_t stride)
{
    hsize_t dim[GQ_H5_RANK];
    hid_t   p = H5Pcreate(H5P_DATASET_CREATE);
    bool    ok = p >= 0 && H5Pset_fill_time(p, H5D_FILL_TIME_NEVER) >= 0 &&
              H5Pset_obj_track_times(p, false) >= 0;
    if (ok && chunk)
        ok = H5Pset_chunk(p, chunk->rank, dims_of(chunk, dim)) >= 0;
    ok = ok && gq__h5_set_pack(p, pack, stride);
    if (!ok && p >= 0)
        H5Pclose(p);
    return ok ? p : -1;
}

/* chunk NULL: contiguous. max: the first axis may grow. */
static hid_t make_set(gq_h5 *f, const char *name, hid_t type, const gq_h5_shape *shape,
                      const gq_h5_shape *chunk, gq_h5_pack pack, size_t stride)
{
    hsize_t     dim[GQ_H5_RANK], max[GQ_H5_RANK];
    const char *leaf = NULL;
    hid_t       set = -1, group = make_group(f, name, &leaf);
    hid_t       list = creation_list(chunk, pack, stride);
    dims_of(shape, dim);
    memcpy(max, dim, sizeof max);
    if (chunk)
        max[0] = H5S_UNLIMITED;
    hid_t space = H5Screate_simple(shape->rank, dim, max);
    if (group >= 0 && list >= 0 && space >= 0)
        set = H5Dcreate2(group, leaf, type, space, H5P_DEFAULT, list, H5P_DEFAULT);
    if (space >= 0)
        H5Sclose(space);
    if (list >= 0)
        H5Pclose(list);
    if (group >= 0)
        H5Gclose(group);
    return set;
}

gq_status gq_h5_put_array(gq_h5 *f, const char *name, gq_h5_type type, const gq_h5_shape *shape,
                          const void *data, gq_error *err)
{
    size_t    bytes;
    gq_status s = GQ_OK;
    if (!shape_bytes(type, shape, &bytes))
        return gq_fail(err, GQ_EUSAGE, "%s: %s: too large", f->path, name);
    uint64_t hash = gq_xxh64(data, bytes);
    hid_t    t = make_type(type);
    hid_t    set = t < 0 ? -1 : make_set(f, name, t, shape, NULL, GQ_H5_PLAIN, 0);
    if (set < 0 || (bytes && H5Dwrite(set, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0))
        s = h5_fail(err, GQ_EDISK, f, name, "cannot write it");
    if (s == GQ_OK)
        s = put_attribute(f, set, "xxh64", H5T_STD_U64LE, &hash, err);
    if (set >= 0 && H5Dclose(set) < 0 && s == GQ_OK)
        s = h5_fail(err, GQ_EDISK, f, name, "cannot close it");
    if (t >= 0)
        H5Tclose(t);
    return s;
}

static void rows_free(gq_h5_rows *r)
{
    gq_free(r->chunk);
    gq_free(r);
}

gq_status gq_h5_rows_begin(gq_h5 *f, const char *name, gq_h5_type type, const gq_h5_shape *row,
                           gq_h5_pack pack, size_t stride, gq_h5_rows **out, gq_error *err)
{
    gq_h5_rows *r = gq_calloc(1, sizeof *r);
    gq_h5_shape chunk = {.rank = row->rank + 1};
    *out = NULL;
    if (!r)
        return gq_fail(err, GQ_ENOMEM, "%s: no memory to write %s", f->path, name);
    memcpy(chunk.dim + 1, row->dim, (size_t)row->rank * sizeof *row->dim);
    r->f = f;
    snprintf(r->name, sizeof r->name, "%s", name);
    r->per_chunk = chunk.dim[0] = 1;
    if (!shape_bytes(type, &chunk, &r->row_bytes) || !r->row_bytes) {
        rows_free(r);
        return gq_fail(err, GQ_EUSAGE, "%s: %s: impossible size", f->path, name);
    }
    if (pack == GQ_H5_PLAIN && r->row_bytes <= CHUNK / 2) {
        r->per_chunk = chunk.dim[0] = CHUNK / r->row_bytes;
        if (!(r->chunk = gq_calloc(r->per_chunk, r->row_bytes))) {
            rows_free(r);
            return gq_fail(err, GQ_ENOMEM, "%s: no memory to write %s", f->path, name);
        }
    }
    r->all = chunk;
    hid_t t = make_type(type);
    r->set = t < 0 ? -1 : make_set(f, name, t, &r->all, &chunk, pack, stride);
    if (t >= 0)
        H5Tclose(t);
    if (r->set < 0) {
        rows_free(r);
        return h5_fail(err, GQ_EDISK, f, name, "cannot create it");
    }
    *out = r;
    return GQ_OK;
}

gq_status gq_h5_rows_put_text(gq_h5_rows *r, const char *name, const char *text, gq_error *err)
{
    return put_text(r->f, r->set, name, text, err);
}

static bool resize(gq_h5_rows *r, uint64_t rows)
{
    hsize_t dim[GQ_H5_RANK];
    r->all.dim[0] = rows;
    return H5Dset_extent(r->set, dims_of(&r->all, dim)) >= 0;
}

/* Writes the chunk that holds row `first`. */
static gq_status write_chunk(gq_h5_rows *r, uint64_t first, const void *stored, size_t bytes,
                             gq_error *err)
{
    hsize_t at[GQ_H5_RANK] = {first};
    if ((first >= r->all.dim[0] && !resize(r, first + GROW * r->per_chunk)) ||
        H5Dwrite_chunk(r->set, H5P_DEFAULT, 0, at, bytes, stored) < 0)
        return h5_fail(err, GQ_EDISK, r->f, r->name, "cannot write a row");
    return GQ_OK;
}

gq_status gq_h5_rows_add(gq_h5_rows *r, const void *stored, size_t bytes, gq_error *err)
{
    uint64_t in_chunk = r->n % r->per_chunk;
    r->n++;
    if (!r->chunk)
        return write_chunk(r, r->n - 1, stored, bytes, err);
    if (bytes != r->row_bytes)
        return gq_fail(err, GQ_EBUG, "%s: %s: a row of %zu bytes", r->f->path, r->name, bytes);
    memcpy(r->chunk + in_chunk * r->row_bytes, stored, bytes);
    if (in_chunk + 1 < r->per_chunk)
        return GQ_OK;
    return write_chunk(r, r->n - r->per_chunk, r->chunk, r->per_chunk * r->row_bytes, err);
}

gq_status gq_h5_rows_end(gq_h5_rows *r, gq_error *err)
{
    gq_status s = GQ_OK;
    if (!r)
        return GQ_OK;
    uint64_t rest = r->n % r->per_chunk;
    if (rest) {                                  /* a chunk is always whole in the file */
        memset(r->chunk + rest * r->row_bytes, 0, (r->per_chunk - rest) * r->row_bytes);
        s = write_chunk(r, r->n - rest, r->chunk, r->per_chunk * r->row_bytes, err);
    }
    bool ok = resize(r, r->n);
    ok = H5Dclose(r->set) >= 0 && ok;
    if (!ok && s == GQ_OK)
        s = h5_fail(err, GQ_EDISK, r->f, r->name, "cannot close it");
    rows_free(r);
    return s;
}

static gq_status sync_file(const char *path, gq_error *err)
{
    int  fd = gq_open_read(path);
    char room[48] = "";
    int  bad = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0 && close(fd) != 0 && errno != EINTR && !bad)     /* EINTR: closed all the same */
        bad = errno;
    if (!bad)
        return GQ_OK;
    free_beside(path, room);
    return gq_fail(err, GQ_EDISK, "%s: cannot sync it: %s%s", path, strerror(bad), room);
}

gq_status gq_h5_finish(gq_h5 *f, gq_error *err)
{
    gq_status s = GQ_OK;
    if (H5Fflush(f->file, H5F_SCOPE_GLOBAL) < 0)
        s = h5_fail(err, GQ_EDISK, f, "file", "cannot flush it");
    if (H5Fclose(f->file) < 0 && s == GQ_OK)
        s = h5_fail(err, GQ_EDISK, f, "file", "cannot close it");
    if (s == GQ_OK)
        s = sync_file(f->path, err);
    h5_free(f);
    return s;
}

/* ---- reading --------------------------------------------------------------------------------- */

static gq_status check_file(gq_h5 *f, gq_error *err)
{
    hsize_t block = 1;
    hid_t   list = H5Fget_create_plist(f->file);
    if (list < 0 || H5Pget_userblock(list, &block) < 0)
        block = 1;
    if (list >= 0)
        H5Pclose(list);
    return block ? gq_fail(err, GQ_EINPUT, "%s: has a user block before the HDF5 data: refused",
                           f->path)
                 : GQ_OK;
}

gq_status gq_h5_open(const char *path, gq_h5 **out, gq_error *err)
{
    struct stat st;
    gq_status   s;
    *out = NULL;
    if (stat(path, &st) != 0)
        return gq_fail(err, errno == EIO ? GQ_EDISK : GQ_EINPUT, "%s: cannot open it: %s", path,
                       strerror(errno));
    if (!S_ISREG(st.st_mode))
        return gq_fail(err, GQ_EINPUT, "%s: is not a regular file", path);
    if ((s = h5_new(path, out, err)) != GQ_OK)
        return s;
    (*out)->bytes = (uint64_t)st.st_size;
    hid_t access = file_access();
    if (access >= 0)
        (*out)->file = H5Fopen(path, H5F_ACC_RDONLY, access);
    if (access < 0 || (*out)->file < 0)
        s = h5_fail(err, GQ_EINPUT, *out, "file",
                    "is not a readable HDF5 file (unfinished or damaged)");
    if (access >= 0)
        H5Pclose(access);
    if (s == GQ_OK)
        s = check_file(*out, err);
    if (s != GQ_OK) {
        gq_h5_close(*out);
        *out = NULL;
    }
    return s;
}

void gq_h5_close(gq_h5 *f)
{
    if (!f)
        return;
    if (f->file >= 0)
        H5Fclose(f->file);                       /* strong close: nothing of it stays open */
    h5_free(f);
}

/* An attribute of an object: scalar, of this class, at most `limit` bytes. */
static gq_status get_attribute(gq_h5 *f, hid_t object, const char *owner, const char *name,
                               H5T_class_t class, void *data, size_t limit, gq_error *err)
{
    gq_status s = GQ_OK;
    hid_t     a = H5Aopen(object, name, H5P_DEFAULT), t = a < 0 ? -1 : H5Aget_type(a);
    hid_t     space = a < 0 ? -1 : H5Aget_space(a);
    if (a < 0 || t < 0 || space < 0)
        s = gq_fail(err, GQ_EINPUT, "%s: %s: the attribute '%s' is missing", f->path, owner, name);
    else if (H5Tget_class(t) != class || H5Tis_variable_str(t) > 0 ||
             H5Sget_simple_extent_type(space) != H5S_SCALAR)
        s = gq_fail(err, GQ_EINPUT, "%s: %s: the attribute '%s' has a type that is refused",
                    f->path, owner, name);
    else if (class == H5T_STRING ? H5Tget_size(t) > limit : H5Tget_size(t) != limit)
        s = gq_fail(err, GQ_EINPUT, "%s: %s: the attribute '%s' has %zu bytes", f->path, owner,
                    name, H5Tget_size(t));
    else if (class == H5T_STRING ? H5Aread(a, t, data) < 0
                                 : H5Aread(a, H5T_NATIVE_UINT64, data) < 0)
        s = h5_fail(err, GQ_EINPUT, f, name, "cannot read the attribute");
    if (s == GQ_OK && class == H5T_STRING)
        ((char *)data)[H5Tget_size(t) - 1] = 0;          /* ours end in NUL, a stranger's may not */
    if (space >= 0)
        H5Sclose(space);
    if (t >= 0)
        H5Tclose(t);
    if (a >= 0)
        H5Aclose(a);
    return s;
}

gq_status gq_h5_get_text(gq_h5 *f, const char *name, char *text, size_t size, gq_error *err)
{
    return get_attribute(f, f->file, "file", name, H5T_STRING, text, size, err);
}

gq_status gq_h5_get_u64(gq_h5 *f, const char *name, uint64_t *value, gq_error *err)
{
    return get_attribute(f, f->file, "file", name, H5T_INTEGER, value, sizeof *value, err);
}

bool gq_h5_has_attribute(gq_h5 *f, const char *name) { return H5Aexists(f->file, name) > 0; }

/* 1: hard link; 0: none; -1: a link of another kind. Looks at the link, never through it. */
static int hard_link(hid_t at, const char *name)
{
    H5L_info_t info;
    if (H5Lexists(at, name, H5P_DEFAULT) <= 0)
        return 0;
    return H5Lget_info(at, name, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD ? 1 : -1;
}

bool gq_h5_has(gq_h5 *f, const char *name)
{
    char        group[32];
    const char *leaf;
    if (!split_name(name, group, &leaf))
        return false;
    int kind = hard_link(f->file, group);
    if (kind <= 0)
        return kind < 0;
    hid_t g = H5Gopen2(f->file, group, H5P_DEFAULT);
    bool  there = g >= 0 && hard_link(g, leaf) != 0;
    if (g >= 0)
        H5Gclose(g);
    return there;
}

/* Storage of the dataset: what layout, filters and files it uses. pack NULL: an array. */
static gq_status check_storage(gq_h5 *f, const char *name, hid_t set, size_t element, size_t stride,
                               gq_h5_pack *pack, gq_error *err)
{
    const char *why = NULL;
    hid_t       list = H5Dget_create_plist(set);
    if (list < 0)
        return h5_fail(err, GQ_EINPUT, f, name, "cannot read how it is stored");
    H5D_layout_t layout = H5Pget_layout(list);
    if (layout == H5D_VIRTUAL)
        why = "is a virtual dataset, which reads other files";
    else if (H5Pget_external_count(list) != 0)
        why = "is stored in another file (external storage)";
    else if (layout != (pack ? H5D_CHUNKED : H5D_CONTIGUOUS))
        why = pack ? "is not chunked" : "is not contiguous";
    else if (pack)
        why = gq__h5_get_pack(list, element, stride, pack);
    else if (H5Pget_nfilters(list) != 0)
        why = "is an array with filters";
    H5Pclose(list);
    return why ? gq_fail(err, GQ_EINPUT, "%s: %s: %s: refused", f->path, name, why) : GQ_OK;
}

static gq_status check_type(gq_h5 *f, const char *name, hid_t set, gq_h5_type type, gq_error *err)
{
    hid_t want = make_type(type), have = H5Dget_type(set);
    bool  ok = want >= 0 && have >= 0 && H5Tequal(want, have) > 0;
    if (want >= 0)
        H5Tclose(want);
    if (have >= 0)
        H5Tclose(have);
    return ok ? GQ_OK
              : gq_fail(err, GQ_EINPUT,
                        "%s: %s: has another element type than a shard of this version", f->path,
                        name);
}

/* Dimensions as declared; nothing is allocated for them yet. */
static gq_status get_shape(gq_h5 *f, const char *name, hid_t set, gq_h5_shape *shape, gq_error *err)
{
    hsize_t dim[GQ_H5_RANK] = {0};
    hid_t   space = H5Dget_space(set);
    int     rank = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
    bool    ok =
        rank >= 1 && rank <= GQ_H5_RANK && H5Sget_simple_extent_dims(space, dim, NULL) == rank;
    if (space >= 0)
        H5Sclose(space);
    if (!ok)
        return gq_fail(err, GQ_EINPUT, "%s: %s: has %d dimensions, 1..%d are allowed", f->path,
                       name, rank, GQ_H5_RANK);
    shape->rank = rank;
    for (int k = 0; k < rank; k++)
        shape->dim[k] = dim[k];
    return GQ_OK;
}

/* An open dataset that passed every check but that of its shape; to be closed. */
static gq_status fenced_open(gq_h5 *f, const char *name, gq_h5_type type, size_t stride,
                             gq_h5_pack *pack, hid_t *set, gq_error *err)
{
    char        group[32];
    const char *leaf;
    gq_status   s;
    *set = -1;
    if (!split_name(name, group, &leaf))
        return gq_fail(err, GQ_EBUG, "%s: '%s' is no name of a dataset", f->path, name);
    int   kind = hard_link(f->file, group);
    hid_t g = kind == 1 ? H5Gopen2(f->file, group, H5P_DEFAULT) : -1;
    if (kind == 1 && g >= 0)
        kind = hard_link(g, leaf);
    if (kind < 0)
        s = gq_fail(err, GQ_EINPUT,
                    "%s: %s: is a soft or external link, only hard links are followed: refused",
                    f->path, name);
    else if (kind == 0)
        s = gq_fail(err, GQ_EINPUT, "%s: %s: is missing", f->path, name);
    else if (g < 0 || (*set = H5Dopen2(g, leaf, H5P_DEFAULT)) < 0)
        s = h5_fail(err, GQ_EINPUT, f, name, "cannot open it");
    else if ((s = check_storage(f, name, *set, gq_h5_size(type), stride, pack, err)) == GQ_OK)
        s = check_type(f, name, *set, type, err);
    if (g >= 0)
        H5Gclose(g);
    if (s != GQ_OK && *set >= 0) {
        H5Dclose(*set);
        *set = -1;
    }
    return s;
}

static gq_status match_shape(gq_h5 *f, const char *name, gq_h5_shape *want, const gq_h5_shape *have,
                             gq_error *err)
{
    if (want->rank != have->rank)
        return gq_fail(err, GQ_EINPUT, "%s: %s: has %d dimensions, not %d", f->path, name,
                       have->rank, want->rank);
    for (int k = 0; k < have->rank; k++)
        if (want->dim[k] && want->dim[k] != have->dim[k])
            return gq_fail(err, GQ_EINPUT, "%s: %s: dimension %d is %llu, not %llu", f->path, name,
                           k, (unsigned long long)have->dim[k], (unsigned long long)want->dim[k]);
    *want = *have;
    return GQ_OK;
}

static gq_status read_array(gq_h5 *f, const char *name, hid_t set, gq_h5_type type, size_t bytes,
                            void **data, gq_error *err)
{
    uint64_t  hash;
    gq_status s = get_attribute(f, set, name, "xxh64", H5T_INTEGER, &hash, sizeof hash, err);
    if (s != GQ_OK)
        return s;
    if (!(*data = gq_malloc(bytes, 1)))
        return gq_fail(err, GQ_ENOMEM, "%s: %s: no memory for %zu bytes", f->path, name, bytes);
    hid_t t = make_type(type);
    if (t < 0 || (bytes && H5Dread(set, t, H5S_ALL, H5S_ALL, H5P_DEFAULT, *data) < 0))
        s = h5_fail(err, GQ_EINPUT, f, name, "cannot read it");
    if (t >= 0)
        H5Tclose(t);
    if (s == GQ_OK && gq_xxh64(*data, bytes) != hash)
        s = gq_fail(err, GQ_EINPUT,
                    "%s: %s: the checksum differs, the file is damaged; build it again", f->path,
                    name);
    if (s != GQ_OK) {
        gq_free(*data);
        *data = NULL;
    }
    return s;
}

gq_status gq_h5_get_array(gq_h5 *f, const char *name, gq_h5_type type, gq_h5_shape *want,
                          void **data, gq_error *err)
{
    gq_h5_shape have;
    size_t      bytes = 0;
    hid_t       set;
    *data = NULL;
    gq_status s = fenced_open(f, name, type, 0, NULL, &set, err);
    if (s != GQ_OK)
        return s;
    if ((s = get_shape(f, name, set, &have, err)) == GQ_OK)
        s = match_shape(f, name, want, &have, err);
    if (s == GQ_OK && (!shape_bytes(type, &have, &bytes) || bytes > f->bytes ||
                       H5Dget_storage_size(set) != bytes))
        s = gq_fail(err, GQ_EINPUT,
                    "%s: %s: declares more than the %llu bytes that are stored: refused", f->path,
                    name, (unsigned long long)H5Dget_storage_size(set));
    if (s == GQ_OK)
        s = read_array(f, name, set, type, bytes, data, err);
    H5Dclose(set);
    return s;
}

/* Whole rows in each chunk, only one when packed, and nothing declared that is not there. */
static gq_status check_rows(gq_h5 *f, const char *name, hid_t set, gq_h5_type type,
                            const gq_h5_shape *all, gq_h5_pack pack, uint64_t *per_chunk,
                            gq_error *err)
{
    const bool  packed = pack != GQ_H5_PLAIN;
    uint64_t    ratio = pack == GQ_H5_SHUFFLE_ZSTD || pack == GQ_H5_DELTA_ZSTD ? max_zstd
                                                                               : max_deflate;
    hsize_t     dim[GQ_H5_RANK] = {0};
    size_t      bytes = 0;
    uint64_t    stored = H5Dget_storage_size(set);
    gq_h5_shape whole = *all;
    hid_t       list = H5Dget_create_plist(set);
    bool        fits =
        list >= 0 && H5Pget_chunk(list, GQ_H5_RANK, dim) == all->rank && (!packed || dim[0] == 1);
    for (int k = 1; fits && k < all->rank; k++)
        fits = dim[k] == all->dim[k];
    if (list >= 0)
        H5Pclose(list);
    if (!fits || !dim[0])
        return gq_fail(err, GQ_EINPUT,
                       "%s: %s: its chunks are not whole GIFs, or several of them packed: refused",
                       f->path, name);
    *per_chunk = dim[0];
    whole.dim[0] = all->dim[0] / dim[0] + (all->dim[0] % dim[0] != 0);
    bool sane = gq_mul_size(whole.dim[0], dim[0], &whole.dim[0]) &&
                shape_bytes(type, &whole, &bytes) && stored <= f->bytes;
    if (!sane || (packed ? bytes > max_declared && bytes / ratio > stored : bytes != stored))
        return gq_fail(err, GQ_EINPUT, "%s: %s: declares %s%zu bytes but %llu are stored: refused",
                       f->path, name, packed ? "" : "exactly ", bytes, (unsigned long long)stored);
    return GQ_OK;
}

static gq_status find_rows(gq_h5 *f, const char *name, hid_t set, uint64_t n, uint64_t per_chunk,
                           size_t row_bytes, gq_h5_chunk *row, gq_error *err)
{
    for (uint64_t i = 0; i < n; i += per_chunk) {
        hsize_t  at[GQ_H5_RANK] = {i}, bytes = 0;
        unsigned mask = 1;
        haddr_t  where = HADDR_UNDEF;
        if (H5Dget_chunk_info_by_coord(set, at, &mask, &where, &bytes) < 0 ||
            where == HADDR_UNDEF || mask || bytes > f->bytes || where > f->bytes - bytes ||
            (per_chunk > 1 && bytes != per_chunk * row_bytes))
            return gq_fail(err, GQ_EINPUT, "%s: %s: row %llu is not in the file", f->path, name,
                           (unsigned long long)i);
        for (uint64_t k = 0; k < per_chunk && i + k < n; k++)
            row[i + k] = (gq_h5_chunk){where + k * row_bytes, per_chunk > 1 ? row_bytes : bytes};
    }
    return GQ_OK;
}

gq_status gq_h5_get_rows(gq_h5 *f, const char *name, gq_h5_type type, const gq_h5_shape *row,
                         uint64_t n, size_t stride, gq_h5_pack *pack, gq_h5_chunk **chunk,
                         gq_error *err)
{
    gq_h5_shape have, want = {.rank = row->rank + 1, .dim = {n}};
    hid_t       set;
    uint64_t    per_chunk = 1;
    size_t      row_bytes = 0;
    *chunk = NULL;
    if (!shape_bytes(type, row, &row_bytes))
        return gq_fail(err, GQ_EINPUT, "%s: %s: impossible size", f->path, name);
    memcpy(want.dim + 1, row->dim, (size_t)row->rank * sizeof *row->dim);
    gq_status s = fenced_open(f, name, type, stride, pack, &set, err);
    if (s != GQ_OK)
        return s;
    if ((s = get_shape(f, name, set, &have, err)) == GQ_OK)
        s = match_shape(f, name, &want, &have, err);
    if (s == GQ_OK)
        s = check_rows(f, name, set, type, &have, *pack, &per_chunk, err);
    if (s == GQ_OK && !(*chunk = gq_malloc(n, sizeof **chunk)))
        s = gq_fail(err, GQ_ENOMEM, "%s: %s: no memory for %llu rows", f->path, name,
                    (unsigned long long)n);
    if (s == GQ_OK)
        s = find_rows(f, name, set, n, per_chunk, row_bytes, *chunk, err);
    H5Dclose(set);
    if (s != GQ_OK) {
        gq_free(*chunk);
        *chunk = NULL;
    }
    return s;
}
