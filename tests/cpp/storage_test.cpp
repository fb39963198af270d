// Storage: packed copies are kept for the current version, bounded in number, and never waited for.
#include "core/storage.h"

#include <gtest/gtest.h>

#include <thread>

#include "core/tensor_impl.h"
#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

struct Packs {
  Storage storage{Device::cpu, 64};
  int made = 0;
  void use(std::uint64_t key, std::uint64_t epoch = 0) {
    storage.packed(key, epoch, [this] {
      ++made;
      return backend::PackedPtr();
    });
  }
};

TEST(Storage, ACopyIsMadeOncePerVersionAndEpoch) {
  Packs p;
  p.use(7);
  p.use(7);
  EXPECT_EQ(p.made, 1);
  p.storage.bump();
  p.use(7);
  p.use(7);
  EXPECT_EQ(p.made, 2);
  p.use(7, 1);
  EXPECT_EQ(p.made, 3);
  EXPECT_EQ(p.storage.packs(), 1u);
}

TEST(Storage, CopiesAreBoundedAndTheLeastRecentlyUsedGoes) {
  Packs p;
  constexpr auto kMost = static_cast<int>(Storage::kMostPacks);
  for (int key = 0; key < kMost; ++key) p.use(static_cast<std::uint64_t>(key));
  p.use(0);
  EXPECT_EQ(p.made, kMost);
  p.use(1000);  // takes the place of key 1
  EXPECT_EQ(p.storage.packs(), Storage::kMostPacks);
  p.use(0);
  p.use(2);
  EXPECT_EQ(p.made, kMost + 1);
  p.use(1);
  EXPECT_EQ(p.made, kMost + 2);
  for (std::uint64_t key = 0; key < 10000; ++key) p.use(2000 + key);
  EXPECT_EQ(p.storage.packs(), Storage::kMostPacks);
}

TEST(Storage, CopiesOfOlderVersionsMakeRoomFirst) {
  Packs p;
  p.use(1);
  p.use(2);
  p.storage.bump();
  p.use(3);
  p.use(4);
  p.use(5);
  EXPECT_EQ(p.storage.packs(), 3u);
}

TEST(Storage, AForgottenCopyIsMadeAnew) {
  Packs p;
  p.use(1);
  p.use(2);
  p.storage.forget_packed(1);
  p.storage.forget_packed(3);  // there is none
  EXPECT_EQ(p.storage.packs(), 1u);
  p.use(2);
  EXPECT_EQ(p.made, 2);
  p.use(1);
  EXPECT_EQ(p.made, 3);
}

// Backward over many rows gives the forward copies back before it makes its own; over few rows it keeps them.
TEST(Storage, BackwardOverManyRowsDropsForwardCopies) {
  const auto copies_after = [](std::int64_t steps) {
    RecurrentSpec spec;
    spec.input_size = 4;
    spec.layers = {{CellKind::lstm, 8}};
    std::vector<Tensor> weights;
    for (const ParameterInfo& info : parameters_of(spec)) {
      weights.push_back(Tensor::full(info.shape, 0.1));
      weights.back().set_requires_grad(true);
    }
    RecurrentInput input;
    input.x = Tensor::full({steps, 2, 4}, 1.0);
    sum(recurrent(spec, weights, input).y).backward();
    return weights[0].impl()->storage->packs();  // weight_ih, whose other orientation only x's gradient would need
  };
  EXPECT_EQ(copies_after(16), 1u);
  EXPECT_EQ(copies_after(256), 0u);
}

TEST(Storage, SlicesOfAWeightDoNotPileUp) {
  const Tensor weight = Tensor::full({200, 8}, 0.5), x = Tensor::full({2, 8}, 1.0);
  for (std::int64_t i = 0; i < 199; ++i) linear(x, slice(weight, 0, i, i + 1), {});
  EXPECT_LE(weight.impl()->storage->packs(), Storage::kMostPacks);
}

TEST(Storage, WhoCannotHaveTheLockMakesAnOwnCopy) {
  Packs p;
  int other = 0;
  p.storage.packed(1, 0, [&] {
    std::thread([&] {
      p.storage.packed(1, 0, [&] {
        ++other;
        return backend::PackedPtr();
      });
    }).join();  // would never end if it waited for the lock
    return backend::PackedPtr();
  });
  EXPECT_EQ(other, 1);
}

}  // namespace
}  // namespace rnncore
