#include "tests/cuda_on_cpu/clipcut_on_cpu.h"

size_t gq_shim_clipcut_temp(int64_t n, int64_t dim, int32_t group) { return gq_cuda_clipcut_temp(n, dim, group); }

void gq_shim_clipcut(gq_device *device, const gq_cuda_clipcut_call *c) { gq_cuda_clipcut(device, c); }
