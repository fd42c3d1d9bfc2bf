# Kernels are compiled several times from one source each.
#   kernels/ref  twice: storage float (backend "ref32") and double ("ref64"), accumulation always double
#   kernels/cpu  once per instruction set; the rung is chosen at run time (kernels/cpu/dispatch.c)
#   kernels/cuda once by nvcc where the toolkit is, and once for the host by tests/cuda_on_cpu

function(gifqa_kernel_objects target)             # gifqa_kernel_objects(<target> SOURCES ... OPTIONS ... DEFINES ...)
  cmake_parse_arguments(K "" "" "SOURCES;OPTIONS;DEFINES" ${ARGN})
  if(NOT K_SOURCES)
    return()
  endif()
  add_library(${target} OBJECT ${K_SOURCES})
  target_link_libraries(${target} PRIVATE gifqa_flags)
  target_compile_options(${target} PRIVATE ${K_OPTIONS})
  target_compile_definitions(${target} PRIVATE ${K_DEFINES})
  target_sources(gifqa PRIVATE $<TARGET_OBJECTS:${target}>)
endfunction()

gifqa_kernel_objects(gifqa_ref32 SOURCES ${REF_SOURCES} DEFINES GQ_REF_REAL=float  GQ_REF_NAME=ref32)
gifqa_kernel_objects(gifqa_ref64 SOURCES ${REF_SOURCES} DEFINES GQ_REF_REAL=double GQ_REF_NAME=ref64)

# kernels/cpu/dispatch.c and threads are compiled once, with the baseline instruction set; every other file is
# compiled per rung with GQ_RUNG naming its symbols. Fused multiply-add is written out by name (vec.h), so the
# compiler's contraction stays off here too.
set(CPU_ONCE ${CPU_SOURCES})
list(FILTER CPU_ONCE INCLUDE REGEX "kernels/cpu/(dispatch)\\.c$")
list(FILTER CPU_SOURCES EXCLUDE REGEX "kernels/cpu/(dispatch)\\.c$")
target_sources(gifqa PRIVATE ${CPU_ONCE})
set(CPU_FLAGS -O3)
gifqa_kernel_objects(gifqa_cpu_scalar SOURCES ${CPU_SOURCES} OPTIONS ${CPU_FLAGS} DEFINES GQ_RUNG=scalar GQ_VLEN=4)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  gifqa_kernel_objects(gifqa_cpu_avx2 SOURCES ${CPU_SOURCES} OPTIONS ${CPU_FLAGS} -mavx2 -mfma -mf16c
    DEFINES GQ_RUNG=avx2 GQ_VLEN=8)
  gifqa_kernel_objects(gifqa_cpu_avx512 SOURCES ${CPU_SOURCES} OPTIONS ${CPU_FLAGS}
    -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c -mprefer-vector-width=512 DEFINES GQ_RUNG=avx512 GQ_VLEN=16)
  # No compiler writes tile instructions by itself: they are where tile_amx.c names them, and the rung runs without.
  include(CheckCCompilerFlag)
  check_c_compiler_flag("-mamx-tile -mamx-bf16" GIFQA_CC_HAS_AMX)
  set(AMX_FLAGS "")
  set(AMX_DEFINES "")
  if(GIFQA_CC_HAS_AMX)
    set(AMX_FLAGS -mamx-tile -mamx-bf16)
    set(AMX_DEFINES GQ_AMX=1)
    target_compile_definitions(gifqa PRIVATE GQ_HAVE_AMX)
  endif()
  gifqa_kernel_objects(gifqa_cpu_avx512bf16 SOURCES ${CPU_SOURCES} OPTIONS ${CPU_FLAGS}
    -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 ${AMX_FLAGS} -mfma -mf16c -mprefer-vector-width=512
    DEFINES GQ_RUNG=avx512bf16 GQ_VLEN=16 GQ_BF16_DOT=1 ${AMX_DEFINES})
  target_compile_definitions(gifqa PRIVATE GQ_HAVE_X86_RUNGS)
endif()

# nvcc is called as a command: CMake's own CUDA language would need a compiler test with a driver's stub libraries and
# passes the C flags on.
if(GIFQA_HAVE_CUDA)
  set(NVCC_FLAGS -std=c++17 -O3 -lineinfo -D_GNU_SOURCE -I${CMAKE_SOURCE_DIR} -Xcompiler=-fPIC,-Wall,-Wextra,-Wno-unused-parameter,-Wno-format-truncation
    -Xcompiler=-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/= --ptxas-options=-warn-spills -diag-suppress=1675)
  if(GIFQA_WERROR)
    list(APPEND NVCC_FLAGS -Werror=all-warnings)
  endif()
  foreach(arch ${GIFQA_CUDA_ARCHS})
    list(APPEND NVCC_FLAGS -gencode=arch=compute_${arch},code=sm_${arch})
  endforeach()
  set(CUDA_OBJECTS "")
  foreach(source ${CUDA_SOURCES})
    get_filename_component(name ${source} NAME_WE)
    set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
    add_custom_command(OUTPUT ${object} DEPENDS ${source} DEPFILE ${object}.d
      COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
      COMMAND ${GIFQA_NVCC} ${NVCC_FLAGS} -MMD -MF ${object}.d -c ${source} -o ${object}
      COMMENT "nvcc kernels/cuda/${name}.cu" VERBATIM)
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
    list(APPEND CUDA_OBJECTS ${object})
  endforeach()
  # A library of its own, opened when a GPU is asked for (kernels/cuda/open.c). It shows one function and has its own
  # copies of what it needs of core. Attention by cuDNN is plain C; its declarations are compared with cuDNN's where
  # the toolkit has those.
  add_library(gifqa_cuda MODULE ${CUDA_OBJECTS} ${CUDNN_SOURCES} core/status.c core/mem.c)
  set_source_files_properties(kernels/cuda/cudnn_plan.c PROPERTIES INCLUDE_DIRECTORIES ${GIFQA_CUDA_HOME}/include)
  set_target_properties(gifqa_cuda PROPERTIES LINKER_LANGUAGE C LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
    LINK_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/cuda/exports.map)
  target_link_options(gifqa_cuda PRIVATE -Wl,-Bsymbolic -Wl,--version-script=${CMAKE_SOURCE_DIR}/kernels/cuda/exports.map)
  target_link_libraries(gifqa_cuda PRIVATE gifqa_flags ${GIFQA_CUDART} Threads::Threads ${CMAKE_DL_LIBS} rt stdc++)
  target_compile_definitions(gifqa PRIVATE GQ_CUDA_MODULE="libgifqa_cuda.so")
  add_dependencies(gifqa gifqa_cuda)
  install(TARGETS gifqa_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
target_sources(gifqa PRIVATE kernels/cuda/open.c)
target_link_libraries(gifqa PRIVATE ${CMAKE_DL_LIBS})
