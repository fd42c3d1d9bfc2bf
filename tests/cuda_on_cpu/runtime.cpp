/* runtime.cpp - streams, events, graphs and memory of the stand-in for the CUDA runtime.
 *
 * A stream is a list of closures. They run when the host waits: only those of the stream it waits for
 * and of the events that stream waits for, so a forgotten wait between streams or before a read of the
 * host shows. During a capture the closures go to the graph.
 */
#include "tests/cuda_on_cpu/machine.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <thread>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

typedef std::function<void()> work;

struct gq_shim_graph {
    std::vector<work>     nodes;
    cudaStreamCaptureMode mode;
    std::thread::id       thread;        /* that began the capture                                */
    bool                  invalid = false;
};
struct gq_shim_exec { std::shared_ptr<std::vector<work>> nodes; };
struct gq_shim_stream {
    std::vector<work> list;
    size_t            done = 0;          /* list[done...] are to be run                           */
    uint64_t          base = 0;          /* number of list[0] since the stream was made           */
    gq_shim_graph    *capture = nullptr;
    bool              origin = false;    /* the capture began here                                */
};
struct gq_shim_event {
    gq_shim_stream *stream = nullptr;    /* recorded there, before its closure number `at`        */
    uint64_t        at = 0;
    gq_shim_graph  *capture = nullptr;
    double          seconds = -1;
};

namespace {

/* PAGE: a huge one, so that taking the device's memory out of reach and back changes few entries of the page table */
enum { GUARD = 256, GUARD_BYTE = 0xA7, PAGE = 2 << 20 };
constexpr size_t TOTAL = (size_t)8 << 30;              /* its addresses; `memory` of it is there  */
struct block { size_t bytes, room; unsigned char *base; bool device; };

std::recursive_mutex           lock;
#define ENTER std::lock_guard<std::recursive_mutex> entered(lock)
std::map<void *, block>        blocks;
std::vector<gq_shim_stream *>  streams;
std::map<const void *, int>    dynamic_limit;         /* of a kernel, where it was set            */
gq_shim_stream                 stream0;
cudaError_t                    last = cudaSuccess;
int                            fail_in;
size_t                         memory = TOTAL;

cudaError_t result(cudaError_t code)
{
    if (code != cudaSuccess)
        last = code;
    return code;
}
gq_shim_stream *of(cudaStream_t s) { return s ? s : &stream0; }

void reach(bool yes);

void drain(gq_shim_stream *s, uint64_t upto)
{
    if (s->done == s->list.size())
        return;
    reach(true);
    while (s->done < s->list.size() && s->base + s->done < upto) {
        work w = std::move(s->list[s->done++]);
        w();
    }
    reach(false);
    if (s->done == s->list.size()) {
        s->base += s->done;
        s->done = 0;
        s->list.clear();
    }
}
void drain_all()
{
    for (size_t i = 0; i < streams.size(); i++)
        drain(streams[i], UINT64_MAX);
    drain(&stream0, UINT64_MAX);
}
void add(gq_shim_stream *s, work w)
{
    if (s->capture)
        s->capture->nodes.push_back(std::move(w));
    else
        s->list.push_back(std::move(w));
}
/* Is there a capture, by this thread or of the whole program, during which the host may not wait or take memory? It
 * ends with an error. */
bool spoils_capture()
{
    bool found = false;
    for (gq_shim_stream *s : streams)
        if (s->capture && (s->capture->mode == cudaStreamCaptureModeGlobal ||
                           (s->capture->mode == cudaStreamCaptureModeThreadLocal &&
                            s->capture->thread == std::this_thread::get_id())))
            found = s->capture->invalid = true;
    return found;
}
cudaError_t waiting()
{
    if (spoils_capture())
        return result(cudaErrorStreamCaptureUnsupported);
    gq_shim_counted.syncs++;
    return cudaSuccess;
}
/* What a wait returns: whether a kernel failed. */
cudaError_t ran()
{
    if (last != cudaErrorLaunchFailure)
        return cudaSuccess;
    last = cudaSuccess;
    return cudaErrorLaunchFailure;
}

/* ---- the memory of the device: out of the host's reach but while work runs --------------------- */

struct arena {
    unsigned char *base = nullptr;
    size_t         used = 0;             /* the highest end of a block so far                     */
    int            open = 0;
} device;

void reach(bool yes)
{
    if (yes ? device.open++ == 0 : --device.open == 0)
        if (device.used && mprotect(device.base, device.used, yes ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
            perror("cuda_on_cpu: mprotect");
            abort();
        }
}
/* The first gap of `room` bytes between the blocks, which are in the order of their addresses. */
unsigned char *device_room(size_t room)
{
    if (!device.base) {
        void *p = mmap(nullptr, TOTAL + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return nullptr;
        device.base = reinterpret_cast<unsigned char *>(((uintptr_t)p + PAGE - 1) / PAGE * PAGE);
        madvise(device.base, TOTAL, MADV_HUGEPAGE);
    }
    unsigned char *at = device.base;
    for (const auto &i : blocks) {
        if (!i.second.device)
            continue;
        if ((size_t)(i.second.base - at) >= room)
            break;
        at = i.second.base + i.second.room;
    }
    if (room > TOTAL - (size_t)(at - device.base))
        return nullptr;
    size_t end = ((size_t)(at - device.base) + room + PAGE - 1) / PAGE * PAGE;
    if (end > device.used)
        device.used = end;
    return at;
}

const block *find(const void *p)
{
    auto i = blocks.upper_bound(const_cast<void *>(p));
    if (i == blocks.begin())
        return nullptr;
    --i;
    const unsigned char *q = static_cast<const unsigned char *>(p), *b = static_cast<const unsigned char *>(i->first);
    return q < b + i->second.bytes ? &i->second : nullptr;
}
bool page_locked(const void *p)
{
    const block *b = find(p);
    return b && !b->device;
}

} // namespace

/* ---- errors, the device ------------------------------------------------------------------------ */

gq_shim_counts gq_shim_count(void)
{
    ENTER;
    return gq_shim_counted;
}
void gq_shim_fail_malloc(int n)
{
    ENTER;
    fail_in = n;
}

void gq_shim_memory(size_t bytes)
{
    ENTER;
    memory = bytes && bytes < TOTAL ? bytes : TOTAL;
}

#define CODES(X)                                                                                   \
    X(cudaSuccess, "no error") X(cudaErrorInvalidValue, "invalid argument")                        \
    X(cudaErrorMemoryAllocation, "out of memory") X(cudaErrorInvalidConfiguration, "invalid configuration argument") \
    X(cudaErrorNoDevice, "no CUDA-capable device is detected") X(cudaErrorInvalidDevice, "invalid device ordinal") \
    X(cudaErrorInvalidResourceHandle, "invalid resource handle") X(cudaErrorNotReady, "device not ready") \
    X(cudaErrorLaunchFailure, "unspecified launch failure")                                        \
    X(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing")       \
    X(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture") \
    X(cudaErrorIllegalState, "the operation cannot be performed in the present state")
const char *cudaGetErrorString(cudaError_t code)
{
    switch (code) {
#define TEXT(name, text) case name: return text;
    CODES(TEXT)
    }
    return "unrecognized error code";
}
const char *cudaGetErrorName(cudaError_t code)
{
    switch (code) {
#define NAME(name, text) case name: return #name;
    CODES(NAME)
    }
    return "unrecognized error code";
}
cudaError_t cudaGetLastError(void)
{
    ENTER;
    cudaError_t code = last;
    last = cudaSuccess;
    return code;
}
cudaError_t cudaPeekAtLastError(void) { return last; }

cudaError_t cudaGetDeviceCount(int *n) { return *n = 1, cudaSuccess; }
cudaError_t cudaGetDevice(int *index) { return *index = 0, cudaSuccess; }
cudaError_t cudaSetDevice(int index) { return result(index == 0 ? cudaSuccess : cudaErrorInvalidDevice); }
cudaError_t cudaRuntimeGetVersion(int *v) { return *v = 13000, cudaSuccess; }
cudaError_t cudaDriverGetVersion(int *v) { return *v = 13000, cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int index)
{
    if (index != 0)
        return result(cudaErrorInvalidDevice);
    memset(p, 0, sizeof *p);
    strcpy(p->name, "threads of a GPU as fibres");
    p->major = 9;
    p->multiProcessorCount = 132;
    p->sharedMemPerBlock = 48 * 1024;
    p->sharedMemPerBlockOptin = GQ_SHIM_SHARED_BYTES;
    p->sharedMemPerMultiprocessor = 228 * 1024;
    p->totalGlobalMem = memory;
    p->l2CacheSize = 50 << 20;
    p->warpSize = 32;
    p->maxThreadsPerBlock = GQ_SHIM_THREADS;
    return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    ENTER;
    *total_bytes = memory;
    *free_bytes = memory - std::min(memory, (size_t)gq_shim_counted.device_bytes);
    return cudaSuccess;
}

/* ---- memory ------------------------------------------------------------------------------------ */

cudaError_t gq_shim_malloc(void **p, size_t bytes, bool device)
{
    ENTER;
    *p = nullptr;
    if (spoils_capture())
        return result(cudaErrorStreamCaptureUnsupported);
    gq_shim_counted.mallocs += device;
    if (fail_in > 0 && --fail_in == 0)
        return result(cudaErrorMemoryAllocation);
    if (bytes == 0)
        return cudaSuccess;
    if (device && gq_shim_counted.device_bytes + bytes > memory)
        return result(cudaErrorMemoryAllocation);
    size_t room = bytes <= TOTAL ? (bytes + GUARD - 1) / GUARD * GUARD + 2 * GUARD : 0;
    void  *base = !room ? nullptr : device ? device_room(room) : aligned_alloc(GUARD, room);
    if (!base)
        return result(cudaErrorMemoryAllocation);
    block b = {bytes, room, static_cast<unsigned char *>(base), device};
    if (device)
        reach(true);
    ASAN_UNPOISON_MEMORY_REGION(b.base, room);
    memset(b.base, GUARD_BYTE, room);
    gq_shim_poison(b.base + GUARD, bytes);
    ASAN_POISON_MEMORY_REGION(b.base, GUARD);
    ASAN_POISON_MEMORY_REGION(b.base + GUARD + bytes, room - GUARD - bytes);
    if (device) {
        reach(false);
        gq_shim_counted.device_blocks++;
        gq_shim_counted.device_bytes += bytes;
    }
    *p = b.base + GUARD;
    blocks[*p] = b;
    return cudaSuccess;
}
static cudaError_t give_back(void *p, bool device)
{
    ENTER;
    if (!p)
        return cudaSuccess;
    if (spoils_capture())
        return result(cudaErrorStreamCaptureUnsupported);
    drain_all();                         /* cudaFree waits for all that may use it                */
    auto i = blocks.find(p);
    if (i == blocks.end() || i->second.device != device)
        return result(cudaErrorInvalidValue);
    block b = i->second;
    blocks.erase(i);
    if (device)
        reach(true);
    ASAN_UNPOISON_MEMORY_REGION(b.base, b.room);
    for (size_t k = 0; k < b.room; k++)
        if ((k < GUARD || k >= GUARD + b.bytes) && b.base[k] != GUARD_BYTE) {
            gq_shim_note("%s memory of %zu bytes: byte %ld was written", device ? "device" : "page-locked", b.bytes,
                         (long)k - GUARD);
            break;
        }
    if (device) {
        ASAN_POISON_MEMORY_REGION(b.base, b.room);
        reach(false);
        gq_shim_counted.device_blocks--;
        gq_shim_counted.device_bytes -= b.bytes;
    } else {
        free(b.base);
    }
    return cudaSuccess;
}
cudaError_t cudaFree(void *p) { return give_back(p, true); }
cudaError_t cudaFreeHost(void *p) { return give_back(p, false); }

/* From pageable memory the bytes are taken at the call; to pageable memory the call waits. */
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    ENTER;
    gq_shim_stream *s = of(stream);
    if (bytes == 0)
        return cudaSuccess;
    if (!dst || !src)
        return result(cudaErrorInvalidValue);
    if (!s->capture && kind == cudaMemcpyHostToDevice && !page_locked(src)) {
        std::shared_ptr<std::vector<unsigned char>> kept = std::make_shared<std::vector<unsigned char>>(bytes);
        memcpy(kept->data(), src, bytes);
        add(s, [=] { memcpy(dst, kept->data(), bytes); });
        return cudaSuccess;
    }
    add(s, [=] { memmove(dst, src, bytes); });
    if (!s->capture && kind == cudaMemcpyDeviceToHost && !page_locked(dst))
        return cudaStreamSynchronize(stream);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *dst, int byte, size_t bytes, cudaStream_t stream)
{
    ENTER;
    if (bytes)
        add(of(stream), [=] { memset(dst, byte, bytes); });
    return cudaSuccess;
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind)
{
    ENTER;
    cudaError_t code = waiting();
    if (code != cudaSuccess)
        return code;
    (void)kind;
    drain(&stream0, UINT64_MAX);
    reach(true);
    memmove(dst, src, bytes);
    reach(false);
    return cudaSuccess;
}
cudaError_t cudaMemset(void *dst, int byte, size_t bytes) { return cudaMemsetAsync(dst, byte, bytes, nullptr); }

/* ---- streams and events ------------------------------------------------------------------------ */

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    ENTER;
    (void)flags;
    streams.push_back(*s = new gq_shim_stream);
    return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithFlags(s, cudaStreamDefault); }
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    ENTER;
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == s) {
            drain_all();                 /* others may wait for it                                */
            streams.erase(streams.begin() + (long)i);
            delete s;
            return cudaSuccess;
        }
    return result(cudaErrorInvalidResourceHandle);
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    ENTER;
    cudaError_t code = waiting();
    if (code != cudaSuccess)
        return code;
    if (of(s)->capture) {
        s->capture->invalid = true;
        return result(cudaErrorStreamCaptureUnsupported);
    }
    drain(of(s), UINT64_MAX);
    return ran();
}
cudaError_t cudaDeviceSynchronize(void)
{
    ENTER;
    cudaError_t code = waiting();
    if (code != cudaSuccess)
        return code;
    drain_all();
    return ran();
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags)
{
    (void)flags;
    *e = new gq_shim_event;
    return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    ENTER;
    drain_all();                         /* closures hold the event                               */
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t stream)
{
    ENTER;
    gq_shim_stream *s = of(stream);
    e->stream = s;
    e->capture = s->capture;
    if (s->capture)
        return cudaSuccess;              /* nodes of a graph run in the order they were recorded  */
    add(s, [=] {
        e->seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                .count();
    });
    e->at = s->base + s->list.size();
    return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t e, unsigned flags)
{
    ENTER;
    (void)flags;
    gq_shim_stream *s = of(stream), *from = e->stream;
    uint64_t        at = e->at;
    if (e->capture) {
        s->capture = e->capture;
        return cudaSuccess;
    }
    if (s->capture) {
        s->capture->invalid = true;
        return result(cudaErrorIllegalState);
    }
    if (from && from != s)
        add(s, [=] { drain(from, at); });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    ENTER;
    cudaError_t code = waiting();
    if (code != cudaSuccess)
        return code;
    if (e->stream)
        drain(e->stream, e->at);
    return ran();
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    ENTER;
    if (from->seconds < 0 || to->seconds < 0)
        return result(from->stream && to->stream ? cudaErrorNotReady : cudaErrorInvalidResourceHandle);
    *ms = (float)((to->seconds - from->seconds) * 1e3);
    return cudaSuccess;
}

/* ---- launches and graphs ------------------------------------------------------------------------ */

cudaError_t gq_shim_set_attribute(const void *kernel, cudaFuncAttribute a, int value)
{
    ENTER;
    if (a != cudaFuncAttributeMaxDynamicSharedMemorySize)
        return cudaSuccess;
    if (value < 0 || value > GQ_SHIM_SHARED_BYTES)
        return result(cudaErrorInvalidValue);
    dynamic_limit[kernel] = value;
    return cudaSuccess;
}

void gq_shim_start(cudaStream_t stream, const char *name, const void *kernel, dim3 grid, dim3 block, size_t bytes,
                   const void *args, void (*call)(const void *), void (*drop)(const void *))
{
    ENTER;
    std::shared_ptr<const void> kept(args, drop);
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    auto     limit = dynamic_limit.find(kernel);
    if (threads == 0 || threads > GQ_SHIM_THREADS || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
        grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
        result(cudaErrorInvalidConfiguration);
        return;
    }
    if (bytes > (limit == dynamic_limit.end() ? 48u * 1024 : (size_t)limit->second)) {
        result(cudaErrorInvalidValue);
        return;
    }
    if (threads % 32 != 0) {             /* a rule of gpu.h, not of CUDA                          */
        gq_shim_note("%s: blocks of %u threads, it must be a multiple of 32", name, (unsigned)threads);
        return;
    }
    add(of(stream), [=] {
        if (!gq_shim_grid(name, grid, block, bytes, call, kept.get()))
            result(cudaErrorLaunchFailure);
    });
}
void gq_shim_host_start(cudaStream_t stream, const void *f, void (*call)(const void *), void (*drop)(const void *))
{
    ENTER;
    std::shared_ptr<const void> kept(f, drop);
    add(of(stream), [=] { call(kept.get()); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode mode)
{
    ENTER;
    if (!s || s->capture)
        return result(s ? cudaErrorIllegalState : cudaErrorStreamCaptureUnsupported);
    s->capture = new gq_shim_graph;
    s->capture->mode = mode;
    s->capture->thread = std::this_thread::get_id();
    s->origin = true;
    return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *graph)
{
    ENTER;
    *graph = nullptr;
    if (!s || !s->capture || !s->origin)
        return result(cudaErrorIllegalState);
    gq_shim_graph *g = s->capture;
    for (gq_shim_stream *other : streams)
        if (other->capture == g)
            other->capture = nullptr;
    s->origin = false;
    if (g->invalid) {
        delete g;
        return result(cudaErrorStreamCaptureInvalidated);
    }
    *graph = g;
    return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus *status)
{
    ENTER;
    gq_shim_stream *o = of(s);
    *status = !o->capture ? cudaStreamCaptureStatusNone : o->capture->invalid ? cudaStreamCaptureStatusInvalidated :
                                                                                 cudaStreamCaptureStatusActive;
    return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    (void)flags;
    *exec = nullptr;
    if (!graph)
        return result(cudaErrorInvalidValue);
    *exec = new gq_shim_exec{std::make_shared<std::vector<work>>(graph->nodes)};
    return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t s)
{
    ENTER;
    if (!exec)
        return result(cudaErrorInvalidValue);
    std::shared_ptr<std::vector<work>> nodes = exec->nodes;
    add(of(s), [=] {
        for (const work &w : *nodes)
            w();
    });
    return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

/* ---- the backend ------------------------------------------------------------------------------- */

const gq_backend *gq_backend_on_host(int bf16, gq_error *err) { return gq_backend_cuda(0, bf16, err); }
