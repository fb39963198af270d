// The pooling allocator: alignment, reuse, what it refuses, and that it does not keep everything for ever.
#include "backend/backend.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <new>
#include <vector>

namespace rnncore::backend {
namespace {

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST(Memory, BlocksAreAlignedDistinctAndWritable) {
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t bytes = 0; bytes < 40000000; bytes = bytes * 5 / 4 + 1) {
    void* p = allocate(Device::cpu, bytes);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(p) % 64, 0u) << bytes;
    std::memset(p, static_cast<int>(blocks.size()), bytes);
    blocks.emplace_back(p, bytes);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto* p = static_cast<const unsigned char*>(blocks[i].first);
    if (blocks[i].second > 0) {
      EXPECT_EQ(p[0], i % 256);
      EXPECT_EQ(p[blocks[i].second - 1], i % 256);
    }
    release(Device::cpu, blocks[i].first, blocks[i].second);
  }
}

TEST(Memory, AReleasedBlockIsTakenAgain) {
#ifdef RNNCORE_EXACT_MEMORY
  GTEST_SKIP() << "this build has no pool";
#endif
  void* first = allocate(Device::cpu, 123456);
  release(Device::cpu, first, 123456);
  void* second = allocate(Device::cpu, 123400);  // the same size class
  EXPECT_EQ(first, second);
  release(Device::cpu, second, 123400);
}

TEST(Memory, TheImpossibleIsRefused) { EXPECT_THROW(allocate(Device::cpu, std::size_t{1} << 50), std::bad_alloc); }

TEST(Memory, ChangingSizesDoNotPileUp) {
  if (resident_bytes() == 0) GTEST_SKIP() << "no /proc/self/statm here";
  const std::size_t before = resident_bytes();
  std::size_t bytes = std::size_t{8} << 20;
  for (int i = 0; i < 24; ++i, bytes = bytes * 19 / 16) {  // every size in a class of its own, only one alive at a time
    void* p = allocate(Device::cpu, bytes);
    std::memset(p, 1, bytes);
    release(Device::cpu, p, bytes);
    if (bytes > (std::size_t{192} << 20)) break;
  }
  // All of them together are above 1 GiB; what is kept is at most the peak (one block) and a fixed amount.
  EXPECT_LT(resident_bytes(), before + (std::size_t{600} << 20));
}

}  // namespace
}  // namespace rnncore::backend
