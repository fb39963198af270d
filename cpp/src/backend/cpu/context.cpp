// Threads and instruction set of the default context.
#include "rnncore/context.hpp"

#include "backend/cpu/targets.h"  // before any Highway header

#include <hwy/detect_targets.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "backend/cpu/team.h"
#include "rnncore/error.hpp"

namespace rnncore {
namespace {

struct TargetName {
  const char* name;
  std::int64_t bit;
};

// Best first; the last one always runs.
std::vector<TargetName> machine_targets() {
  std::vector<TargetName> found;
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd");
  constexpr auto compiled = [](std::int64_t bit) { return (bit & HWY_DISABLED_TARGETS) == 0; };
  if (avx512 && compiled(HWY_AVX3)) found.push_back({"AVX3", HWY_AVX3});
  if (avx2) found.push_back({"AVX2", HWY_AVX2});
  if (__builtin_cpu_supports("sse4.2") && compiled(HWY_SSE4)) found.push_back({"SSE4", HWY_SSE4});
#elif defined(__aarch64__)
  found.push_back({"NEON", HWY_NEON});
#endif
  found.push_back({"BASELINE", 0});
  return found;
}

std::string names_of(const std::vector<TargetName>& targets) {
  std::string names;
  for (const auto& t : targets) names += (names.empty() ? "" : ", ") + std::string(t.name);
  return names;
}

constexpr long kMostThreads = 4096;

struct Context {
  std::atomic<int> threads{std::max(1, cpu::processors())};
  std::atomic<bool> forked{false};
  std::atomic<std::int64_t> target{0};
  std::atomic<std::uint64_t> epoch{0};
  std::string complaint;  // about the environment; thrown by check_environment(), since a constructor at load cannot

  Context() {
    read_threads();
    read_target();
  }
  void read_threads() {
    const char* const text = std::getenv("RNNCORE_NUM_THREADS");
    if (text == nullptr) return;
    char* end = nullptr;
    const long value = std::strtol(text, &end, 10);
    if (end != text && *end == '\0' && value >= 1 && value <= kMostThreads)
      threads = static_cast<int>(value);
    else
      complaint = error_message("environment", "RNNCORE_NUM_THREADS", "an integer from 1 to 4096", text);
  }
  void read_target() {
    const auto targets = machine_targets();
    target = targets.front().bit;
    const char* const wanted = std::getenv("RNNCORE_TARGET");
    if (wanted == nullptr) return;
    for (const auto& t : targets) {
      if (std::string(wanted) != t.name) continue;
      target = t.bit;
      return;
    }
    complaint = error_message("environment", "RNNCORE_TARGET", "one of " + names_of(targets), wanted,
                              "the machine or the build does not have it");
  }
};

Context& context() {
  static Context instance;
  return instance;
}

// libgomp's threads do not survive a fork; asking for them in the child would hang.
[[maybe_unused]] const int registered_fork_handler = pthread_atfork(nullptr, nullptr, [] { context().forked = true; });

}  // namespace

void check_environment() {
  if (!context().complaint.empty()) throw ArgumentError(context().complaint);
}

void set_num_threads(int threads) {
  if (threads < 1 || threads > kMostThreads)
    throw_argument("set_num_threads", "threads", "from 1 to 4096", std::to_string(threads));
  context().threads = threads;
}
int get_num_threads() { return context().threads; }

std::string target_name() {
  for (const auto& t : machine_targets())
    if (t.bit == context().target) return t.name;
  return "BASELINE";
}

std::vector<std::string> supported_targets() {
  std::vector<std::string> names;
  for (const auto& t : machine_targets()) names.emplace_back(t.name);
  return names;
}

void set_target(const std::string& name) {
  for (const auto& t : machine_targets()) {
    if (name != t.name) continue;
    context().target = t.bit;
    ++context().epoch;
    return;
  }
  throw_argument("set_target", "name", "one of " + names_of(machine_targets()), name,
                 "the machine or the build does not have it");
}

std::string version() { return RNNCORE_VERSION; }

FlushDenormalsGuard::FlushDenormalsGuard() : saved_(cpu::read_float_mode()) {
  cpu::write_float_mode(saved_ | cpu::kFlushMode);
  ++cpu::flush_guards;
}
FlushDenormalsGuard::~FlushDenormalsGuard() {
  --cpu::flush_guards;
  cpu::write_float_mode(saved_);
}

namespace cpu {

__thread int flush_guards = 0;

std::int64_t active_target() { return context().target.load(std::memory_order_relaxed); }
std::uint64_t target_epoch() { return context().epoch.load(std::memory_order_relaxed); }

int threads_for(double work) {
  constexpr double kWorkPerThread = 1e5;  // measured: docs/performance.md
  if (work < 2 * kWorkPerThread || context().forked || in_team()) return 1;
  return context().threads;
}

}  // namespace cpu
}  // namespace rnncore
