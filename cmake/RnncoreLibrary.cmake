# The engine. Its objects are compiled once; the library, and the tests and benchmarks (which also use what the
# library hides), are linked from them.

set(RNNCORE_WARNINGS -Wall -Wextra)
if(RNNCORE_WERROR)
  list(APPEND RNNCORE_WARNINGS -Werror)
endif()
# The arithmetic is a contract (one fused chain per element, the same bits everywhere): no contraction behind the
# code's back and no -march; kernels are compiled for several instruction sets and chosen when the library loads.
set(RNNCORE_FLAGS ${RNNCORE_WARNINGS} -ffp-contract=off -fno-math-errno $<$<NOT:$<CONFIG:Debug>>:-O3>)
set(RNNCORE_TEAM OpenMP::OpenMP_CXX)
set(RNNCORE_SANITIZE_FLAGS "")
set(RNNCORE_SANITIZE_DEFINITIONS "")
if(RNNCORE_SANITIZE)
  set(RNNCORE_SANITIZE_FLAGS -fsanitize=${RNNCORE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1)
  # backend/cpu/memory.cpp, backend/cpu/targets.h
  set(RNNCORE_SANITIZE_DEFINITIONS RNNCORE_EXACT_MEMORY RNNCORE_FEW_TARGETS)
  if(RNNCORE_SANITIZE MATCHES thread)
    find_package(Threads REQUIRED)
    set(RNNCORE_TEAM Threads::Threads)
    list(APPEND RNNCORE_SANITIZE_DEFINITIONS RNNCORE_STD_TEAM)  # backend/cpu/team.h
  endif()
endif()

file(GLOB_RECURSE RNNCORE_SOURCES CONFIGURE_DEPENDS
  ${PROJECT_SOURCE_DIR}/cpp/src/backend/*.cpp
  ${PROJECT_SOURCE_DIR}/cpp/src/core/*.cpp
  ${PROJECT_SOURCE_DIR}/cpp/src/io/*.cpp)
add_library(rnncore_objects OBJECT ${RNNCORE_SOURCES})
# Double precision is for checks more than for speed; files, checks, start values and the tape's bookkeeping run once a
# pass, not once a step: -Os there keeps the library below 5 MB (tests/python/test_package.py).
set(RNNCORE_SMALL_SOURCES ${RNNCORE_SOURCES})
list(FILTER RNNCORE_SMALL_SOURCES INCLUDE REGEX "_kernels_f64\\.cpp$|recurrent_gates\\.cpp$|/src/io/|/core/(attention|c_api|cell|clustered_softmax|explain|linalg|losses|losses_value|model|model_head|model_stream|ops_product|optim|output_stream|probed_layer|recurrent|recurrent_spec|tape|text|vocabulary)\\.cpp$")
set_source_files_properties(${RNNCORE_SMALL_SOURCES} PROPERTIES COMPILE_OPTIONS "$<$<NOT:$<CONFIG:Debug>>:-Os>")
set_target_properties(rnncore_objects PROPERTIES
  CXX_EXTENSIONS OFF
  CXX_VISIBILITY_PRESET hidden
  VISIBILITY_INLINES_HIDDEN ON
  POSITION_INDEPENDENT_CODE ON)
target_compile_features(rnncore_objects PUBLIC cxx_std_17)
target_compile_definitions(rnncore_objects PRIVATE RNNCORE_VERSION="${PROJECT_VERSION}")
target_compile_definitions(rnncore_objects PUBLIC ${RNNCORE_SANITIZE_DEFINITIONS})
target_compile_options(rnncore_objects PRIVATE ${RNNCORE_FLAGS} PUBLIC ${RNNCORE_SANITIZE_FLAGS})
target_link_options(rnncore_objects PUBLIC ${RNNCORE_SANITIZE_FLAGS})
target_include_directories(rnncore_objects PUBLIC ${PROJECT_SOURCE_DIR}/cpp/include ${PROJECT_SOURCE_DIR}/cpp/src)
target_include_directories(rnncore_objects SYSTEM PUBLIC
  ${RNNCORE_HWY_INCLUDE} ${RNNCORE_JSON_INCLUDE} ${RNNCORE_EIGEN_INCLUDE})
target_link_libraries(rnncore_objects PUBLIC ${RNNCORE_TEAM})

# rnncore_library(target [kind]): a library of these objects.
function(rnncore_library target)
  add_library(${target} ${ARGN} $<TARGET_OBJECTS:rnncore_objects>)
  add_library(rnncore::${target} ALIAS ${target})
  target_compile_features(${target} PUBLIC cxx_std_17)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/cpp/include>)
  target_link_libraries(${target} PRIVATE ${RNNCORE_TEAM})
  target_link_options(${target} PRIVATE ${RNNCORE_SANITIZE_FLAGS})
endfunction()

rnncore_library(rnncore)
get_target_property(RNNCORE_KIND rnncore TYPE)
if(RNNCORE_KIND STREQUAL "SHARED_LIBRARY" AND NOT APPLE)
  set(RNNCORE_MAP ${PROJECT_SOURCE_DIR}/cmake/rnncore.map)
  target_link_options(rnncore PRIVATE -Wl,--version-script=${RNNCORE_MAP})
  set_target_properties(rnncore PROPERTIES LINK_DEPENDS ${RNNCORE_MAP})
  if(NOT RNNCORE_SANITIZE)  # a sanitizer's names come with the program
    target_link_options(rnncore PRIVATE -Wl,--no-undefined $<$<CONFIG:Release>:-Wl,--strip-all>)
  endif()
endif()
if(NOT SKBUILD)  # a wheel holds no symbolic links, so the library inside it has one plain name
  set_target_properties(rnncore PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR})
endif()

# Beside a shared library, the static one too where both are installed: from the same objects it costs an archive.
# Without a shared library rnncore::rnncore_static is another name of rnncore::rnncore.
if(RNNCORE_KIND STREQUAL "STATIC_LIBRARY")
  add_library(rnncore::rnncore_static ALIAS rnncore)
elseif(RNNCORE_INSTALL)
  rnncore_library(rnncore_static STATIC)
  set_target_properties(rnncore_static PROPERTIES OUTPUT_NAME rnncore)
endif()
