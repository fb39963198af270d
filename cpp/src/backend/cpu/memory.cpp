// Pooling allocator: blocks in quarter-power-of-two size classes, kept after release and reused, so that a training
// loop takes nothing from the operating system once warm (fresh large buffers cost a page fault per 4 KiB).
// What is kept is bounded by the peak of what was in use at once; beyond it the least recently released block goes.
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <mutex>
#include <new>

#include "backend/backend.h"

namespace rnncore::backend {
namespace {

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kHugeBlock = std::size_t{4} << 20;  // from here on, blocks ask for huge pages
constexpr std::size_t kAlwaysKept = std::size_t{64} << 20;
constexpr std::size_t kLargest = std::size_t{1} << 46;  // far beyond any machine: refused before arithmetic overflows

struct SizeClass {
  int index;
  std::size_t bytes;
};

// 64, 80 -> 128, ... : four classes between powers of two, each a multiple of the alignment.
SizeClass class_of(std::size_t bytes) {
  if (bytes <= kAlignment) return {0, kAlignment};
  const int top = 63 - __builtin_clzll(static_cast<unsigned long long>(bytes - 1));  // 2^top < bytes <= 2^(top+1)
  const std::size_t base = std::size_t{1} << top, quarter = base / 4;
  const std::size_t steps = (bytes - base + quarter - 1) / quarter;  // 1..4
  const std::size_t size = (base + steps * quarter + kAlignment - 1) / kAlignment * kAlignment;
  return {(top - 6) * 4 + static_cast<int>(steps), size};
}

// Lives in the first bytes of a free block: links in the list of its class and in the list by time of release.
struct FreeBlock {
  FreeBlock *older, *newer;
  FreeBlock *below, *above;  // stack of the class; `below` was released earlier
  int index;
  std::size_t bytes;
};
static_assert(sizeof(FreeBlock) <= kAlignment);

class Pool {
 public:
  void* take(std::size_t bytes) {
    if (bytes > kLargest) throw std::bad_alloc();
    const SizeClass size = class_of(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    void* block = tops_[static_cast<std::size_t>(size.index)];
    if (block != nullptr) {
      unlink(static_cast<FreeBlock*>(block));
    } else {
      block = system_block(size.bytes);
    }
    live_ += size.bytes;
    if (live_ > peak_) peak_ = live_;
    return block;
  }

  void give(void* pointer, std::size_t bytes) noexcept {
    const SizeClass size = class_of(bytes);
    const std::lock_guard<std::mutex> lock(mutex_);
    live_ -= size.bytes;
    link(new (pointer)
             FreeBlock{newest_, nullptr, tops_[static_cast<std::size_t>(size.index)], nullptr, size.index, size.bytes});
    while (kept_ > kAlwaysKept + peak_ && oldest_ != nullptr) drop_oldest();
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  void link(FreeBlock* block) {
    (newest_ != nullptr ? newest_->newer : oldest_) = block;
    newest_ = block;
    if (block->below != nullptr) block->below->above = block;
    tops_[static_cast<std::size_t>(block->index)] = block;
    kept_ += block->bytes;
  }

  void unlink(FreeBlock* block) {
    (block->newer != nullptr ? block->newer->older : newest_) = block->older;
    (block->older != nullptr ? block->older->newer : oldest_) = block->newer;
    (block->above != nullptr ? block->above->below : tops_[static_cast<std::size_t>(block->index)]) = block->below;
    if (block->below != nullptr) block->below->above = block->above;
    kept_ -= block->bytes;
  }

  void drop_oldest() {
    FreeBlock* block = oldest_;
    unlink(block);
    free(block);
  }

  void* system_block(std::size_t bytes) {
    const bool huge = bytes >= kHugeBlock;
    for (;;) {
      void* block = nullptr;
      if (posix_memalign(&block, huge ? kHugePage : kAlignment, bytes) == 0) {
        if (huge) madvise(block, bytes, MADV_HUGEPAGE);  // advice only: failure changes nothing
        return block;
      }
      if (oldest_ == nullptr) throw std::bad_alloc();
      while (oldest_ != nullptr) drop_oldest();
    }
  }

  std::mutex mutex_;
  std::array<FreeBlock*, 4 * 64> tops_{};
  FreeBlock *oldest_ = nullptr, *newest_ = nullptr;
  std::size_t live_ = 0, peak_ = 0, kept_ = 0;
};

// Never destroyed: tensors of static storage duration may be released after it would be.
Pool& pool() {
  static Pool* const instance = [] {
    auto* made = new Pool();
    // A fork while another thread holds the lock must not leave it held in the child.
    pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });
    return made;
  }();
  return *instance;
}

// For sanitizers: the block ends where it was asked to, and is gone when released.
void* exact_block(std::size_t bytes) {
  void* block = nullptr;
  if (bytes > kLargest || posix_memalign(&block, kAlignment, bytes) != 0) throw std::bad_alloc();
  return block;
}

#ifdef RNNCORE_EXACT_MEMORY
constexpr bool kPooled = false;
#else
constexpr bool kPooled = true;
#endif

}  // namespace

void* allocate(Device /*device*/, std::size_t bytes) { return kPooled ? pool().take(bytes) : exact_block(bytes); }

void release(Device /*device*/, void* pointer, std::size_t bytes) noexcept {
  if (pointer == nullptr) return;
  kPooled ? pool().give(pointer, bytes) : free(pointer);
}

}  // namespace rnncore::backend
