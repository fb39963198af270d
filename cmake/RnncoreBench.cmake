# The native benchmarks live in bench/native; their targets are listed in bench/CMakeLists.txt.
find_package(benchmark QUIET)
if(NOT benchmark_FOUND)
  rnncore_missing("Google Benchmark (for RNNCORE_BENCH)" libbenchmark-dev google-benchmark)
endif()
add_subdirectory(bench)
