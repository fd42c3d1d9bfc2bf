/* gifqa-doctor: what this build is made of - libraries with their versions, and optional parts. */
#include <gif_lib.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <png.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>

#include "tools/doctor.h"

/* libhdf5 stays behind the fence of data/shard_h5.c, libcurl behind data/fetch_curl.c: their versions
 * are those the build found. */
#ifndef GIFQA_HDF5_VERSION
#define GIFQA_HDF5_VERSION "unknown"
#endif

#ifdef GIFQA_HAVE_CUDA
#define CUDA 1
#else
#define CUDA 0
#endif
#ifdef GIFQA_HAVE_ZSTD
#define ZSTD 1
#else
#define ZSTD 0
#endif
#ifdef GIFQA_HAVE_MPI
#define MPI 1
#else
#define MPI 0
#endif
#ifdef GIFQA_HAVE_FETCH
#define FETCH 1
#else
#define FETCH 0
#endif

const gq_doctor_part gq_doctor_parts[] = {
    {"CUDA", "training and answering run on the CPU", CUDA},
    {"ZSTD", "no shards of codec row-delta+zstd", ZSTD},
    {"MPI", "a run is one process on one machine", MPI},
    {"FETCH", "GIFs are not downloaded: put the files into a folder", FETCH},
};
const int gq_doctor_part_count = sizeof gq_doctor_parts / sizeof gq_doctor_parts[0];

static void add(gq_doctor *d, const char *name, const char *version)
{
    if (d->libs == GQ_DOCTOR_LIBS)
        return;
    d->lib[d->libs].name = name;
    snprintf(d->lib[d->libs++].version, sizeof d->lib[0].version, "%.*s",
             (int)strcspn(version, " -\n"), version);
}

void gq_doctor_libraries(gq_doctor *d)
{
    const char *openssl = OpenSSL_version(OPENSSL_VERSION); /* "OpenSSL 3.0.11 19 Sep 2023" */
    char        number[32];
    unsigned    xxh = XXH_versionNumber(), png = png_access_version_number();

    add(d, "hdf5", GIFQA_HDF5_VERSION);
    snprintf(number, sizeof number, "%d.%d.%d", GIFLIB_MAJOR, GIFLIB_MINOR, GIFLIB_RELEASE);
    add(d, "giflib", number);
    snprintf(number, sizeof number, "%u.%u.%u", png / 10000, png / 100 % 100, png % 100);
    add(d, "libpng", number);
    add(d, "zlib", zlibVersion());
    add(d, "libyaml", yaml_get_version_string());
    add(d, "jansson", jansson_version_str());
    add(d, "utf8proc", utf8proc_version());
    snprintf(number, sizeof number, "%u.%u.%u", xxh / 10000, xxh / 100 % 100, xxh % 100);
    add(d, "xxHash", number);
    add(d, "openssl", openssl + strcspn(openssl, "0123456789"));
#ifdef GIFQA_CURL_VERSION
    add(d, "libcurl", GIFQA_CURL_VERSION);
#endif
}
