# Two components: "development" is what `cmake --install` puts under a prefix (headers, library, CMake package,
# pkg-config file); "python" is the content of the wheel, which carries the same development files inside rnncore/.

include(CMakePackageConfigHelpers)

set(RNNCORE_GENERATED ${PROJECT_BINARY_DIR}/package)
write_basic_package_version_file(${RNNCORE_GENERATED}/rnncoreConfigVersion.cmake COMPATIBILITY SameMinorVersion)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/rnncoreConfig.cmake.in
  ${RNNCORE_GENERATED}/rnncoreConfig.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/rnncore)
file(RELATIVE_PATH RNNCORE_PC_TO_PREFIX /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(${PROJECT_SOURCE_DIR}/cmake/rnncore.pc.in ${RNNCORE_GENERATED}/rnncore.pc @ONLY)

# rnncore_install(component libdir includedir library...): the libraries, their headers and their CMake package.
function(rnncore_install component libdir includedir)
  install(TARGETS ${ARGN} EXPORT rnncore_${component}
    LIBRARY DESTINATION ${libdir} COMPONENT ${component}
    ARCHIVE DESTINATION ${libdir} COMPONENT ${component}
    RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT ${component}
    INCLUDES DESTINATION ${includedir})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/include/rnncore DESTINATION ${includedir} COMPONENT ${component})
  install(EXPORT rnncore_${component} FILE rnncoreTargets.cmake NAMESPACE rnncore::
    DESTINATION ${libdir}/cmake/rnncore COMPONENT ${component})
  install(FILES ${RNNCORE_GENERATED}/rnncoreConfig.cmake ${RNNCORE_GENERATED}/rnncoreConfigVersion.cmake
    DESTINATION ${libdir}/cmake/rnncore COMPONENT ${component})
endfunction()

set(RNNCORE_LIBRARIES rnncore)
if(RNNCORE_KIND STREQUAL "SHARED_LIBRARY")
  list(APPEND RNNCORE_LIBRARIES rnncore_static)
endif()
rnncore_install(development ${CMAKE_INSTALL_LIBDIR} ${CMAKE_INSTALL_INCLUDEDIR} ${RNNCORE_LIBRARIES})
install(FILES ${RNNCORE_GENERATED}/rnncore.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

if(RNNCORE_PYTHON)
  install(TARGETS _core LIBRARY DESTINATION rnncore COMPONENT python)
  rnncore_install(python rnncore/lib rnncore/include rnncore)
endif()
