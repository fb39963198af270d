// How the engine runs: number of threads and instruction set. One default context exists; nothing else is global.
// Environment, read once at load: RNNCORE_NUM_THREADS, RNNCORE_TARGET (e.g. AVX3, AVX2, SSE4, NEON, BASELINE).
#pragma once

#include <string>
#include <vector>

#include "rnncore/export.hpp"

namespace rnncore {

// ArgumentError if one of these variables has a value that cannot be used (the default is used then). Python calls it
// at import; a C++ program may call it first thing in main().
RNNCORE_EXPORT void check_environment();

RNNCORE_EXPORT void set_num_threads(int threads);  // >= 1
RNNCORE_EXPORT int get_num_threads();
RNNCORE_EXPORT std::string target_name();                     // the instruction set in use
RNNCORE_EXPORT std::vector<std::string> supported_targets();  // best first
RNNCORE_EXPORT void set_target(const std::string& name);      // tests and benchmarks; drops packed weights
RNNCORE_EXPORT std::string version();

// While alive, this thread flushes denormal numbers to zero, as the engine's kernels do in any case. A loop of
// Stream::step() inside one saves each step the reading and writing of the processor's control register (about 9 ns on
// x86). Ends on the thread that it began on.
class RNNCORE_EXPORT FlushDenormalsGuard {
 public:
  FlushDenormalsGuard();
  ~FlushDenormalsGuard();
  FlushDenormalsGuard(const FlushDenormalsGuard&) = delete;
  FlushDenormalsGuard& operator=(const FlushDenormalsGuard&) = delete;

 private:
  unsigned long long saved_;
};

}  // namespace rnncore
