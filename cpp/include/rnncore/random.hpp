// Counter-based random numbers (Philox 4x32-10; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A Generator is a key (seed) and a call counter; element i of a call depends on (seed, call, i) alone,
// never on threads or addresses. There is no global generator.
#pragma once

#include <cstdint>

#include "rnncore/tensor.hpp"

namespace rnncore {

class RNNCORE_EXPORT Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) : seed_(seed) {}
  std::uint64_t seed() const { return seed_; }
  std::uint64_t call() const { return call_; }
  void set_state(std::uint64_t seed, std::uint64_t call) {
    seed_ = seed;
    call_ = call;
  }
  // Reserves the next call number; each random operation takes exactly one.
  std::uint64_t next_call() { return call_++; }

  void uniform_(Tensor& out, double low, double high);  // U[low, high)
  void normal_(Tensor& out, double mean, double stddev);
  std::int64_t below(std::int64_t bound);  // one integer in [0, bound)
  Tensor permutation(std::int64_t n);      // int64 (n,)

 private:
  std::uint64_t seed_ = 0;
  std::uint64_t call_ = 0;
};

// The raw generator: four 32-bit words for (seed, call, block).
struct PhiloxBlock {
  std::uint32_t word[4];
};
RNNCORE_EXPORT PhiloxBlock philox(std::uint64_t seed, std::uint64_t call, std::uint64_t block);

}  // namespace rnncore
