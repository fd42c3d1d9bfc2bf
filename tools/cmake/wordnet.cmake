# The tables of data/qagen/wordnet.c, made from the files of WordNet by a program of the build; without them empty ones.
# DATA_SOURCES grows by the object, so that the fuzz targets wait for it and for nothing else of the
# library. The program runs where it is built.
set(table ${CMAKE_BINARY_DIR}/wordnet_table.c)
if(GIFQA_HAVE_WORDNET)
  add_executable(make-wordnet ${CMAKE_SOURCE_DIR}/data/qagen/wordnet/make.c)
  set_target_properties(make-wordnet PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
  target_include_directories(make-wordnet PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(make-wordnet PRIVATE -Wall -Wextra -Wno-format-truncation -O1)
  add_custom_command(OUTPUT ${table} COMMAND make-wordnet ${GIFQA_WORDNET_DIR} ${table} DEPENDS make-wordnet)
else()
  set(table ${CMAKE_SOURCE_DIR}/data/qagen/wordnet/none.c)
endif()
add_library(gifqa_wordnet OBJECT ${table})
target_link_libraries(gifqa_wordnet PRIVATE gifqa_flags)
list(APPEND DATA_SOURCES $<TARGET_OBJECTS:gifqa_wordnet>)
# what programs look for beside their directory, in the build tree as where it is installed
configure_file(${CMAKE_SOURCE_DIR}/data/qagen/english/english.tagger ${CMAKE_BINARY_DIR}/share/gifqa/english.tagger COPYONLY)
