// rnncore_bench: the kernels one by one, so that a regression can be located.
// Threads and instruction set as everywhere: RNNCORE_NUM_THREADS, RNNCORE_TARGET. For the machine's limit run fma_peak.
#include "bench.h"

int main(int argc, char** argv) {
  benchmark::AddCustomContext("rnncore", rnncore::version());
  benchmark::AddCustomContext("target", rnncore::target_name());
  benchmark::AddCustomContext("threads", std::to_string(rnncore::get_num_threads()));
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
