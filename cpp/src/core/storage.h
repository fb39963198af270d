// Storage: the bytes behind tensors, a version that every write bumps, and the packed copies made of them.
#pragma once

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

  // The packed copy for `key`, made by `make()` when there is none for the current version and target epoch.
  template <typename Make>
  backend::PackedPtr packed(std::uint64_t key, std::uint64_t epoch, const Make& make) {
    if (shared_.load(std::memory_order_acquire)) return make();
    const std::lock_guard<std::mutex> lock(pack_mutex_);
    const std::uint64_t now = version();
    for (auto& p : packs_) {
      if (p.key != key) continue;
      if (p.version != now || p.epoch != epoch) {
        p.value = make();
        p.version = now;
        p.epoch = epoch;
      }
      return p.value;
    }
    packs_.push_back({key, now, epoch, make()});
    return packs_.back().value;
  }

 private:
  struct Pack {
    std::uint64_t key, version, epoch;
    backend::PackedPtr value;
  };
  Device device_;
  std::size_t bytes_;
  void* data_;
  std::shared_ptr<void> owner_;
  std::atomic<std::uint64_t> version_{0};
  std::atomic<bool> shared_{false};
  std::mutex pack_mutex_;
  std::vector<Pack> packs_;
};

}  // namespace rnncore
