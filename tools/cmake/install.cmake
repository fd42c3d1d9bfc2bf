# cmake --install: programs, configurations, the library with its one public header, gifqa.pc and
# what find_package(gifqa) reads.

set(GIFQA_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/gifqa)
set_target_properties(gifqa PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_include_directories(gifqa INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

install(FILES train/gifqa.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS gifqa EXPORT gifqaTargets)
install(EXPORT gifqaTargets NAMESPACE gifqa:: DESTINATION ${GIFQA_CMAKE_DIR})
install(DIRECTORY configs/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gifqa/configs)
install(DIRECTORY data/qagen/english/ DESTINATION ${CMAKE_INSTALL_DATADIR}/gifqa)
install(FILES LICENSE README.md ARCHITECTURE.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

list(JOIN GIFQA_DEPS_NAMES " " GIFQA_PC_DEPS)
configure_package_config_file(tools/cmake/gifqaConfig.cmake.in ${CMAKE_BINARY_DIR}/gifqaConfig.cmake
  INSTALL_DESTINATION ${GIFQA_CMAKE_DIR})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/gifqaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/gifqaConfig.cmake ${CMAKE_BINARY_DIR}/gifqaConfigVersion.cmake
  DESTINATION ${GIFQA_CMAKE_DIR})

# gifqa.pc: paths are relative to the file, so an installed tree may be moved
file(RELATIVE_PATH GIFQA_PC_UP /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
set(GIFQA_PKGS "${GIFQA_PC_DEPS} ${GIFQA_HDF5_NAME} libpng zlib")
set(GIFQA_LIBS "-lgif -lm -pthread")              # giflib as published has no .pc file
set(GIFQA_PC_REQUIRES Requires)
set(GIFQA_PC_LIBS " ${GIFQA_LIBS}")
if(BUILD_SHARED_LIBS)
  set(GIFQA_PC_REQUIRES Requires.private)
  set(GIFQA_PC_LIBS "")
endif()
configure_file(tools/cmake/gifqa.pc.in ${CMAKE_BINARY_DIR}/gifqa.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/gifqa.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
