# What the engine is built with: Eigen, Highway and nlohmann-json (headers alone) and OpenMP.
# A missing one stops with the name of its package.

function(rnncore_missing what apt brew)
  message(FATAL_ERROR "rnncore needs ${what}, which was not found.\n"
    "  Debian, Ubuntu: sudo apt-get install ${apt}\n"
    "  macOS:          brew install ${brew}\n"
    "or all that is needed at once: scripts/install-system-packages")
endfunction()

find_package(Eigen3 3.3 QUIET CONFIG)
if(TARGET Eigen3::Eigen)
  get_target_property(RNNCORE_EIGEN_INCLUDE Eigen3::Eigen INTERFACE_INCLUDE_DIRECTORIES)
else()
  find_path(RNNCORE_EIGEN_INCLUDE Eigen/Core PATH_SUFFIXES eigen3)
  if(NOT RNNCORE_EIGEN_INCLUDE)
    rnncore_missing("Eigen 3.3 or newer" libeigen3-dev eigen)
  endif()
endif()

# The headers alone: instruction sets are chosen by the engine, so libhwy.so is never linked.
find_path(RNNCORE_HWY_INCLUDE hwy/highway.h)
if(NOT RNNCORE_HWY_INCLUDE)
  rnncore_missing("Highway (hwy/highway.h)" libhwy-dev highway)
endif()

find_path(RNNCORE_JSON_INCLUDE nlohmann/json.hpp)
if(NOT RNNCORE_JSON_INCLUDE)
  rnncore_missing("nlohmann-json (nlohmann/json.hpp)" nlohmann-json3-dev nlohmann-json)
endif()

if(APPLE AND NOT OpenMP_ROOT)  # Homebrew keeps libomp out of the default search path
  find_program(BREW_PROGRAM brew)
  if(BREW_PROGRAM)
    execute_process(COMMAND ${BREW_PROGRAM} --prefix libomp OUTPUT_VARIABLE OpenMP_ROOT
                    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
find_package(OpenMP QUIET COMPONENTS CXX)
if(NOT OpenMP_CXX_FOUND)
  rnncore_missing("OpenMP for C++" "g++ (clang: libomp-dev)" libomp)
endif()
