# The Python module. In a wheel: rnncore/_core.*.so, rnncore/lib/librnncore.so beside it (found through $ORIGIN),
# and the headers and CMake package of the C++ library (RnncoreInstall).

find_package(Python 3.10 REQUIRED COMPONENTS Interpreter Development.Module)
find_package(pybind11 CONFIG)
if(NOT pybind11_FOUND)
  message(FATAL_ERROR "rnncore's Python module needs pybind11: pip install pybind11, and pass "
    "-Dpybind11_DIR=$(python -m pybind11 --cmakedir)")
endif()

file(GLOB RNNCORE_PYTHON_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/python/src/*.cpp)
if(NOT RNNCORE_PYTHON_SOURCES)
  message(FATAL_ERROR "RNNCORE_PYTHON: there is no source in python/src")
endif()
pybind11_add_module(_core MODULE NO_EXTRAS ${RNNCORE_PYTHON_SOURCES})
target_compile_options(_core PRIVATE ${RNNCORE_WARNINGS} ${RNNCORE_SANITIZE_FLAGS})
target_link_libraries(_core PRIVATE rnncore)
target_link_options(_core PRIVATE ${RNNCORE_SANITIZE_FLAGS})
if(NOT APPLE)
  set(RNNCORE_PYTHON_MAP ${PROJECT_SOURCE_DIR}/cmake/rnncore_python.map)
  target_link_options(_core PRIVATE -Wl,--version-script=${RNNCORE_PYTHON_MAP})
  set_target_properties(_core PROPERTIES LINK_DEPENDS ${RNNCORE_PYTHON_MAP})
endif()
if(APPLE)
  set_target_properties(_core PROPERTIES INSTALL_RPATH "@loader_path/lib")
else()
  set_target_properties(_core PROPERTIES INSTALL_RPATH "$ORIGIN/lib")
endif()
