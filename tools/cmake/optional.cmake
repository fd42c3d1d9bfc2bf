# Optional parts: GIFQA_<PART> = AUTO | ON | OFF. AUTO uses a part that is there, ON insists on it,
# OFF leaves it out. None of the three exists yet, so ON is an error that says so, and the summary
# says what is lost without them.

set(GIFQA_PARTS CUDA MPI FETCH)
set(GIFQA_CUDA_LOST  "no GPU backend: training and inference run on the CPU")
set(GIFQA_MPI_LOST   "no second rank: a run is one process on one machine")
set(GIFQA_FETCH_LOST "no downloads: GIFs and weights are read from files that are there")

foreach(part ${GIFQA_PARTS})
  set(GIFQA_${part} AUTO CACHE STRING "AUTO, ON or OFF")
  set_property(CACHE GIFQA_${part} PROPERTY STRINGS AUTO ON OFF)
  if(NOT GIFQA_${part} MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "GIFQA_${part} is '${GIFQA_${part}}': it is AUTO, ON or OFF")
  endif()
  if(GIFQA_${part} STREQUAL "ON")
    message(FATAL_ERROR "GIFQA_${part}=ON: this version of gifqa has no such part "
      "(${GIFQA_${part}_LOST}). Configure with -DGIFQA_${part}=AUTO or OFF.")
  endif()
endforeach()

function(gifqa_summary)
  message(STATUS "gifqa ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}: programs go to "
    "${CMAKE_RUNTIME_OUTPUT_DIRECTORY}")
  foreach(part ${GIFQA_PARTS})
    message(STATUS "GIFQA_${part}=${GIFQA_${part}}: not in this version; ${GIFQA_${part}_LOST}")
  endforeach()
endfunction()
