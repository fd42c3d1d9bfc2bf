# Optional parts: GIFQA_<PART> = AUTO | ON | OFF. AUTO uses a part that is there, ON insists on it,
# OFF leaves it out. The summary says what is lost without them.

set(GIFQA_PARTS CUDA MPI FETCH)
set(GIFQA_CUDA_LOST  "no GPU backend: training and inference run on the CPU")
set(GIFQA_MPI_LOST   "no second rank: a run is one process on one machine")
set(GIFQA_FETCH_LOST "no downloads: GIFs and weights are read from files that are there")
set(GIFQA_MPI_WHY    "not in this version")
set(GIFQA_FETCH_WHY  "not in this version")

foreach(part ${GIFQA_PARTS})
  set(GIFQA_${part} AUTO CACHE STRING "AUTO, ON or OFF")
  set_property(CACHE GIFQA_${part} PROPERTY STRINGS AUTO ON OFF)
  if(NOT GIFQA_${part} MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "GIFQA_${part} is '${GIFQA_${part}}': it is AUTO, ON or OFF")
  endif()
  if(GIFQA_${part} STREQUAL "ON" AND GIFQA_${part}_WHY)
    message(FATAL_ERROR "GIFQA_${part}=ON: this version of gifqa has no such part "
      "(${GIFQA_${part}_LOST}). Configure with -DGIFQA_${part}=AUTO or OFF.")
  endif()
endforeach()

# The CUDA toolkit, 12.4 to 13. Kernels and runtime are in libgifqa_cuda.so, which like cuBLASLt and cuDNN is opened
# when a GPU is used, so one binary serves machines with and without them.
set(GIFQA_CUDA_ARCHS "80;89;90a" CACHE STRING "GPUs to build for, as numbers of sm_*")
set(GIFQA_HAVE_CUDA FALSE)
if(GIFQA_CUDA STREQUAL "OFF")
  set(GIFQA_CUDA_WHY "left out")
else()
  find_program(GIFQA_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(GIFQA_NVCC)
    execute_process(COMMAND ${GIFQA_NVCC} --version OUTPUT_VARIABLE text ERROR_QUIET)
    string(REGEX MATCH "release ([0-9.]+)" text "${text}")
    set(GIFQA_CUDA_VERSION "${CMAKE_MATCH_1}")
    if(GIFQA_CUDA_VERSION VERSION_GREATER_EQUAL 12.4)
      set(GIFQA_HAVE_CUDA TRUE)
      get_filename_component(GIFQA_CUDA_BIN ${GIFQA_NVCC} DIRECTORY)
      get_filename_component(GIFQA_CUDA_HOME ${GIFQA_CUDA_BIN} DIRECTORY)
      find_library(GIFQA_CUDART cudart_static REQUIRED
        PATHS ${GIFQA_CUDA_HOME} PATH_SUFFIXES lib64 lib targets/x86_64-linux/lib)
    else()
      set(GIFQA_CUDA_WHY "CUDA toolkit ${GIFQA_CUDA_VERSION} is older than 12.4")
    endif()
  else()
    set(GIFQA_CUDA_WHY "no CUDA toolkit here")
  endif()
  if(GIFQA_CUDA STREQUAL "ON" AND NOT GIFQA_HAVE_CUDA)
    message(FATAL_ERROR "GIFQA_CUDA=ON: ${GIFQA_CUDA_WHY}. Install toolkit 12.4 or later and put nvcc on the PATH, "
      "or configure with -DGIFQA_CUDA=AUTO or OFF.")
  endif()
endif()

function(gifqa_summary)
  message(STATUS "gifqa ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}: programs go to "
    "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  foreach(part ${GIFQA_PARTS})
    if(GIFQA_HAVE_${part})
      message(STATUS "GIFQA_${part}=${GIFQA_${part}}: toolkit ${GIFQA_${part}_VERSION}, built for sm ${GIFQA_CUDA_ARCHS}")
    else()
      message(STATUS "GIFQA_${part}=${GIFQA_${part}}: ${GIFQA_${part}_WHY}; ${GIFQA_${part}_LOST}")
    endif()
  endforeach()
endfunction()
