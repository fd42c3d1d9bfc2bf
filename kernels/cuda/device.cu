/* device.cu - one GPU: its streams, its memory, the step block, captured graphs, its errors.
 *
 * All work goes to one stream, so the order of calls is the order of work; a second one has pieces of an op
 * that run beside the rest of it, a third the inputs of the step after the one that runs. Memory is plain
 * cudaMalloc, all of it taken before the first step. Calls that the caller cannot check at once leave
 * their error in gq_cuda.error; gq_device.finish() reports the first. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/cuda/cuda.h"

enum { GQ_CUDA_DEVICES = 16 };

void gq_cuda_fail(gq_cuda *d, cudaError_t code, const char *call, const char *file, int line)
{
    if (d->error.code == GQ_OK)
        gq_fail(&d->error, code == cudaErrorMemoryAllocation ? GQ_ENOMEM : GQ_EBUG, "%s:%d: %s on GPU %d: %s",
                file, line, call, d->index, cudaGetErrorString(code));
}

static gq_cuda *self(gq_device *d)
{
    return reinterpret_cast<gq_cuda *>(d);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* No room is an answer here, not an error: the caller says what the memory was for. */
static void *device_alloc(gq_device *device, size_t bytes)
{
    gq_cuda *d = self(device);
    void    *p = NULL;

    if (cudaMalloc(&p, bytes ? bytes : 1) != cudaSuccess) {
        cudaGetLastError();
        return NULL;
    }
    GQ_CUDA(d, cudaMemsetAsync(p, 0, bytes, d->stream));
    return p;
}

static void device_release(gq_device *device, void *p)
{
    if (p)
        GQ_CUDA(self(device), cudaFree(p));
}

static void *device_alloc_host(gq_device *device, size_t bytes)
{
    void *p = NULL;

    (void)device;
    if (cudaMallocHost(&p, bytes ? bytes : 1) != cudaSuccess) {
        cudaGetLastError();
        return NULL;
    }
    return memset(p, 0, bytes);
}

static void device_release_host(gq_device *device, void *p)
{
    if (p)
        GQ_CUDA(self(device), cudaFreeHost(p));
}

static void device_upload(gq_device *device, void *dst, const void *src, size_t bytes)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, d->stream));
}

static void device_download(gq_device *device, void *dst, const void *src, size_t bytes)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, d->stream));
    GQ_CUDA(d, cudaStreamSynchronize(d->stream));
}

static void device_copy(gq_device *device, void *dst, const void *src, size_t bytes)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, d->stream));
}

static void device_fill(gq_device *device, void *dst, int byte, size_t bytes)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaMemsetAsync(dst, byte, bytes, d->stream));
}

static void device_room(gq_device *device, size_t *free_bytes, size_t *total_bytes)
{
    *free_bytes = *total_bytes = 0;
    GQ_CUDA(self(device), cudaMemGetInfo(free_bytes, total_bytes));
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* The source is page-locked and may still be on its way when the next step is set, hence a ring: the host
 * is at most one step ahead. A captured step reads the block as it is when the graph runs. */
static void device_set_step(gq_device *device, const gq_step_block *step)
{
    gq_cuda       *d = self(device);
    gq_step_block *slot = reinterpret_cast<gq_step_block *>(d->step_host) + d->step_slot;

    if (d->capturing)
        return;
    d->step_slot = (d->step_slot + 1) % GQ_STEP_RING;
    *slot = *step;
    GQ_CUDA(d, cudaMemcpyAsync(d->step, slot, sizeof *slot, cudaMemcpyHostToDevice, d->stream));
}

/* The first error since the last time, which is told once. */
static gq_status told(gq_cuda *d, gq_error *err)
{
    gq_status s = d->error.code;

    if (s != GQ_OK) {
        gq_fail(err, s, "%s", d->error.text);
        d->error.code = GQ_OK;
    }
    return s;
}

static gq_status device_finish(gq_device *device, gq_error *err)
{
    gq_cuda *d = self(device);

    GQ_CUDA(d, cudaStreamSynchronize(d->copies));
    GQ_CUDA(d, cudaStreamSynchronize(d->stream));
    return told(d, err);
}

static double device_seconds(gq_device *device)
{
    gq_cuda        *d = self(device);
    struct timespec t;

    GQ_CUDA(d, cudaStreamSynchronize(d->stream));
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- two pieces side by side -------------------------------------------------------------------- */

static void change_lane(gq_cuda *d)
{
    cudaStream_t other = d->side;

    d->side = d->stream;
    d->stream = other;
    d->lane ^= 1;
}

void gq_cuda_fork(gq_cuda *d)
{
    GQ_CUDA(d, cudaEventRecord(d->forked, d->stream));
    GQ_CUDA(d, cudaStreamWaitEvent(d->side, d->forked, 0));
}

void gq_cuda_beside(gq_cuda *d)
{
    change_lane(d);
}

void gq_cuda_back(gq_cuda *d)
{
    GQ_CUDA(d, cudaEventRecord(d->joined, d->stream));
    change_lane(d);
}

void gq_cuda_join(gq_cuda *d)
{
    GQ_CUDA(d, cudaStreamWaitEvent(d->stream, d->joined, 0));
}

/* ---- running ahead ---------------------------------------------------------------------------- */

/* Events are used again: a point whose event has a newer one is passed, since the host has waited for it here. */
static uint64_t point_of(gq_cuda *d, cudaStream_t stream)
{
    cudaEvent_t e = d->event[++d->points % GQ_POINTS];

    if (d->points > GQ_POINTS)
        GQ_CUDA(d, cudaEventSynchronize(e));
    GQ_CUDA(d, cudaEventRecord(e, stream));
    return d->points;
}

static bool passed(const gq_cuda *d, uint64_t point)
{
    return point == 0 || point + GQ_POINTS <= d->points;
}

static uint64_t device_ahead(gq_device *device, void *dst, const void *src, size_t bytes, uint64_t after)
{
    gq_cuda *d = self(device);

    if (!passed(d, after))
        GQ_CUDA(d, cudaStreamWaitEvent(d->copies, d->event[after % GQ_POINTS], 0));
    GQ_CUDA(d, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyHostToDevice, d->copies));
    return point_of(d, d->copies);
}

static void device_follow(gq_device *device, uint64_t point)
{
    gq_cuda *d = self(device);

    if (!passed(d, point))
        GQ_CUDA(d, cudaStreamWaitEvent(d->stream, d->event[point % GQ_POINTS], 0));
}

static void device_fetch(gq_device *device, void *dst, const void *src, size_t bytes)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToHost, d->stream));
}

static uint64_t device_mark(gq_device *device)
{
    gq_cuda *d = self(device);
    return point_of(d, d->stream);
}

static gq_status device_wait(gq_device *device, uint64_t point, gq_error *err)
{
    gq_cuda *d = self(device);

    if (!passed(d, point))
        GQ_CUDA(d, cudaEventSynchronize(d->event[point % GQ_POINTS]));
    return told(d, err);
}

/* ---- graphs ---------------------------------------------------------------------------------- */

static void device_capture_begin(gq_device *device)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeThreadLocal));
    d->capturing = 1;
}

static void *device_capture_end(gq_device *device)
{
    gq_cuda        *d = self(device);
    cudaGraph_t     graph = NULL;
    cudaGraphExec_t exec = NULL;

    d->capturing = 0;
    GQ_CUDA(d, cudaStreamEndCapture(d->stream, &graph));
    if (!graph)
        return NULL;
    GQ_CUDA(d, cudaGraphInstantiate(&exec, graph, 0));
    GQ_CUDA(d, cudaGraphDestroy(graph));
    return exec;
}

static void device_graph_run(gq_device *device, void *graph)
{
    gq_cuda *d = self(device);
    GQ_CUDA(d, cudaGraphLaunch(reinterpret_cast<cudaGraphExec_t>(graph), d->stream));
}

static void device_graph_free(gq_device *device, void *graph)
{
    if (graph)
        GQ_CUDA(self(device), cudaGraphExecDestroy(reinterpret_cast<cudaGraphExec_t>(graph)));
}

static void device_tune(gq_device *device, int on)
{
    gq_cuda_gemm_tune(self(device), on != 0);
}

static char *device_choices(gq_device *device)
{
    return gq_cuda_gemm_choices(self(device));
}

static gq_status device_choices_take(gq_device *device, const char *text, gq_error *err)
{
    return gq_cuda_gemm_choices_take(self(device), text, err);
}

static void device_attention(gq_device *device, int which)
{
    self(device)->attention = which;
}

/* ---- life ------------------------------------------------------------------------------------ */

static const gq_device operations = {
    device_alloc,        device_release,     device_alloc_host, device_release_host, device_upload,
    device_download,     device_copy,        device_fill,       device_set_step,     device_finish,
    device_room,         device_capture_begin, device_capture_end, device_graph_run, device_graph_free,
    device_seconds,      device_tune,        device_choices,    device_choices_take, device_attention,
    device_ahead,        device_follow,      device_fetch,      device_mark,         device_wait,
};

static gq_status no_gpu(int index, cudaError_t code, int count, gq_error *err)
{
    if (code != cudaSuccess)
        return gq_fail(err, GQ_EUSAGE, "no GPU: %s; --device cpu runs without one", cudaGetErrorString(code));
    return gq_fail(err, GQ_EUSAGE, "no GPU %d: this machine has %d", index, count);
}

static gq_status prepare(gq_cuda *d, gq_error *err)
{
    cudaDeviceProp p;

    GQ_CUDA(d, cudaSetDevice(d->index));
    GQ_CUDA(d, cudaGetDeviceProperties(&p, d->index));
    if (d->error.code != GQ_OK)
        return gq_fail(err, GQ_EUSAGE, "%s", d->error.text);
    if (p.major < 8)
        return gq_fail(err, GQ_EUSAGE,
                       "GPU %d (%s) has compute capability %d.%d; gifqa needs 8.0 or later (bfloat16)",
                       d->index, p.name, p.major, p.minor);
    snprintf(d->name, sizeof d->name, "%.63s", p.name);
    d->multiprocessors = p.multiProcessorCount;
    d->shared_bytes = p.sharedMemPerBlockOptin;
    GQ_CUDA(d, cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking));
    GQ_CUDA(d, cudaStreamCreateWithFlags(&d->side, cudaStreamNonBlocking));
    GQ_CUDA(d, cudaStreamCreateWithFlags(&d->copies, cudaStreamNonBlocking));
    GQ_CUDA(d, cudaEventCreateWithFlags(&d->forked, cudaEventDisableTiming));
    GQ_CUDA(d, cudaEventCreateWithFlags(&d->joined, cudaEventDisableTiming));
    for (cudaEvent_t &e : d->event)
        GQ_CUDA(d, cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    d->step = reinterpret_cast<gq_step_block *>(device_alloc(&d->device, sizeof *d->step));
    d->step_host = device_alloc_host(&d->device, GQ_STEP_RING * sizeof *d->step);
    if (d->error.code != GQ_OK || !d->step || !d->step_host)
        return gq_fail(err, GQ_ENOMEM, "GPU %d (%s): cannot be used: %s", d->index, d->name,
                       d->error.code != GQ_OK ? d->error.text : "no memory");
    return gq_lt_open(d, err);
}

gq_device *gq_cuda_open(int index, gq_error *err)
{
    static gq_cuda *opened[GQ_CUDA_DEVICES];
    int             count = 0;
    cudaError_t     code = cudaGetDeviceCount(&count);
    gq_cuda        *d;

    if (index < 0 || index >= GQ_CUDA_DEVICES || code != cudaSuccess || index >= count) {
        no_gpu(index, code, count, err);
        return NULL;
    }
    if (opened[index])
        return &opened[index]->device;
    d = reinterpret_cast<gq_cuda *>(calloc(1, sizeof *d));
    if (!d) {
        gq_fail(err, GQ_ENOMEM, "GPU %d: out of memory", index);
        return NULL;
    }
    d->device = operations;
    d->index = index;
    if (prepare(d, err) != GQ_OK) {
        free(d);
        return NULL;
    }
    opened[index] = d;
    return &d->device;
}
