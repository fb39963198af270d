// Storage: the bytes behind tensors, a version that every write bumps, and the packed copies made of them.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "backend/backend.h"

namespace rnncore {

class Storage {
 public:
  Storage(Device device, std::size_t bytes) : device_(device), bytes_(bytes), data_(backend::allocate(device, bytes)) {}
  // Memory of somebody else's, kept alive by `owner`.
  Storage(Device device, std::size_t bytes, std::shared_ptr<void> owner)
      : device_(device), bytes_(bytes), data_(owner.get()), owner_(std::move(owner)) {}
  ~Storage() {
    if (owner_ == nullptr) backend::release(device_, data_, bytes_);
  }
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  Device device() const { return device_; }
  std::size_t bytes() const { return bytes_; }
  void* data() const { return data_; }
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  void bump() { version_.fetch_add(1, std::memory_order_acq_rel); }

  // From now on others may write to the memory unseen (DLPack): no packed copy outlives its use.
  void share() { shared_.store(true, std::memory_order_release); }

  // The packed copy for `key`, made by `make()` when there is none for the current version and target epoch. Copies of
  // older versions go first; at most kMostPacks are kept, the one that was used least recently goes.
  template <typename Make>
  backend::PackedPtr packed(std::uint64_t key, std::uint64_t epoch, const Make& make) {
    if (shared_.load(std::memory_order_acquire)) return make();
    const std::unique_lock<std::mutex> lock(pack_mutex_, std::try_to_lock);
    // Another thread is packing. After a fork it may be one that the child does not have: never wait for it.
    if (!lock.owns_lock()) return make();
    const std::uint64_t now = version();
    const auto stale = [now, epoch](const Pack& p) { return p.version != now || p.epoch != epoch; };
    packs_.erase(std::remove_if(packs_.begin(), packs_.end(), stale), packs_.end());  // first: their memory is reused
    auto found = std::find_if(packs_.begin(), packs_.end(), [key](const Pack& p) { return p.key == key; });
    if (found == packs_.end()) {
      const backend::PackedPtr value = make();
      found = room();
      *found = {key, now, epoch, 0, value};
    }
    found->last_use = ++uses_;
    return found->value;
  }
  // Whoever still uses the copy for `key` keeps it; the next one asked for is made anew.
  void forget_packed(std::uint64_t key) {
    const std::unique_lock<std::mutex> lock(pack_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    packs_.erase(std::remove_if(packs_.begin(), packs_.end(), [key](const Pack& p) { return p.key == key; }),
                 packs_.end());
  }
  static constexpr std::size_t kMostPacks = 32;  // a weight in every layout, and slices of it
  std::size_t packs() const { return packs_.size(); }

 private:
  struct Pack {
    std::uint64_t key = 0, version = 0, epoch = 0, last_use = 0;
    backend::PackedPtr value;
  };
  std::vector<Pack>::iterator room() {
    if (packs_.size() < kMostPacks) return packs_.insert(packs_.end(), Pack());
    return std::min_element(packs_.begin(), packs_.end(),
                            [](const Pack& a, const Pack& b) { return a.last_use < b.last_use; });
  }

  Device device_;
  std::size_t bytes_;
  void* data_;
  std::shared_ptr<void> owner_;
  std::atomic<std::uint64_t> version_{0};
  std::atomic<bool> shared_{false};
  std::mutex pack_mutex_;
  std::vector<Pack> packs_;
  std::uint64_t uses_ = 0;
};

}  // namespace rnncore
