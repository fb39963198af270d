// Stream::step allocates nothing: every operator new of the process is counted while it runs.
// Not in builds with sanitizers, which bring their own operator new and check it against delete.
#ifndef RNNCORE_EXACT_MEMORY
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "rnncore/rnncore.hpp"

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t size, std::size_t alignment = 0) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* p = nullptr;
  if (alignment <= alignof(std::max_align_t))
    p = std::malloc(size ? size : 1);
  else if (posix_memalign(&p, alignment, size ? size : 1) != 0)
    p = nullptr;
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void* operator new(std::size_t size, std::align_val_t a) { return counted(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return counted(size, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace rnncore {
namespace {

template <typename T>
long allocations_of_steps(CellKind cell, DType dtype, std::int64_t N) {
  RecurrentSpec spec;
  spec.input_size = 19;
  spec.layers = {{cell, 70}, {cell, 33}};
  std::vector<Tensor> parameters;
  for (const ParameterInfo& info : parameters_of(spec)) parameters.push_back(Tensor::full(info.shape, 0.01, dtype));
  Stream stream(spec, parameters, N);
  const std::vector<T> in(static_cast<std::size_t>(N * 19), T(0.5));
  std::vector<T> out(static_cast<std::size_t>(N * 33));
  const long before = allocations.load();
  for (int t = 0; t < 5; ++t) stream.step(in.data(), out.data());
  stream.reset();
  if (N > 1) stream.reset(1);
  return allocations.load() - before;
}

TEST(StreamAllocation, TheCounterCounts) {
  const long before = allocations.load();
  const Tensor t = Tensor::zeros({3});
  EXPECT_GT(allocations.load(), before);
}

TEST(StreamAllocation, StepsAllocateNothing) {
  for (const CellKind cell : {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::rnn_sigmoid, CellKind::lstm,
                              CellKind::gru, CellKind::gru_reset_before})
    for (const std::int64_t N : {1, 4, 64}) {
      EXPECT_EQ(allocations_of_steps<float>(cell, DType::float32, N), 0) << name_of(cell) << " N=" << N;
      EXPECT_EQ(allocations_of_steps<double>(cell, DType::float64, N), 0) << name_of(cell) << " N=" << N;
    }
}

}  // namespace
}  // namespace rnncore
#endif  // RNNCORE_EXACT_MEMORY
