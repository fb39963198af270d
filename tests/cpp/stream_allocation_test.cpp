// What a step must not do: allocate (every malloc and operator new of the process is counted while it runs), take a
// lock (so is every pthread_mutex_lock), or make a system call and so start a thread (it runs under seccomp's strict
// mode, in which the kernel ends a thread that makes one).
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "rnncore/rnncore.hpp"

#if defined(__linux__)
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

// Sanitizers bring their own malloc and locks.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RNNCORE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RNNCORE_SANITIZED 1
#endif
#endif
#if defined(__GLIBC__) && !defined(RNNCORE_SANITIZED)
#define RNNCORE_COUNTS_MALLOC 1
#endif

namespace {
std::atomic<long> allocations{0}, locks{0};
}  // namespace

#ifdef RNNCORE_COUNTS_MALLOC
// The process's malloc: glibc's, counted. operator new comes here too.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* p, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
void* realloc(void* p, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(p, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  *out = __libc_memalign(alignment, size);
  return *out == nullptr ? ENOMEM : 0;
}

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  using Lock = int (*)(pthread_mutex_t*);
  static std::atomic<Lock> real{nullptr};
  Lock lock = real.load(std::memory_order_acquire);
  if (lock == nullptr) {
    lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    real.store(lock, std::memory_order_release);
  }
  locks.fetch_add(1, std::memory_order_relaxed);
  return lock(mutex);
}
}
#endif

namespace rnncore {
namespace {

constexpr std::int64_t kInputs = 19, kOutputs = 33;
const CellKind kCells[] = {CellKind::rnn_tanh, CellKind::rnn_relu, CellKind::rnn_sigmoid,
                           CellKind::lstm,     CellKind::gru,      CellKind::gru_reset_before};

RecurrentSpec stack_of(CellKind cell) {
  RecurrentSpec spec;
  spec.input_size = kInputs;
  spec.layers = {{cell, 70}, {cell, kOutputs}};
  return spec;
}

template <typename T>
class Steps {
 public:
  Steps(const RecurrentSpec& spec, std::int64_t N)
      : stream_(spec, parameters(spec), N),
        in_(static_cast<std::size_t>(N * kInputs), T(0.5)),
        out_(static_cast<std::size_t>(N * kOutputs)),
        state_(stream_.state_bytes()) {}

  void run() noexcept {
    for (int t = 0; t < 5; ++t) stream_.step(in_.data(), out_.data());
    stream_.save_state(state_.data());
    stream_.reset();
    stream_.reset(stream_.batch() - 1);
    stream_.restore_state(state_.data());
    stream_.save_state(stream_.batch() - 1, state_.data());
    stream_.restore_state(0, state_.data());
    stream_.step(in_.data(), out_.data());
  }

 private:
  static std::vector<Tensor> parameters(const RecurrentSpec& spec) {
    std::vector<Tensor> tensors;
    for (const ParameterInfo& info : parameters_of(spec))
      tensors.push_back(Tensor::full(info.shape, 0.01, dtype_of<T>::value));
    return tensors;
  }
  Stream stream_;
  std::vector<T> in_, out_;
  std::vector<unsigned char> state_;
};

// A whole model: embedding, stack, head. The output is so wide that a batch would be worth a team of threads.
class ModelSteps {
 public:
  ModelSteps(std::int64_t N, const SoftmaxSpec& softmax, std::int64_t projection = 0)
      : stream_(model(softmax, projection).stream(N)),
        ids_(static_cast<std::size_t>(N), 3),
        out_(static_cast<std::size_t>(N * 5000)) {}
  void run() noexcept {
    for (int t = 0; t < 3; ++t) stream_.step(ids_.data(), out_.data());
    ids_[0] = 5000;  // refused, as quietly
    stream_.step(ids_.data(), out_.data());
    ids_[0] = 3;
  }

 private:
  static Model model(const SoftmaxSpec& softmax, std::int64_t projection) {
    ModelSpec spec;
    spec.projection_size = projection;
    spec.softmax = softmax;
    spec.vocab_size = 5000;
    spec.embedding_size = kInputs;
    spec.recurrent = stack_of(CellKind::lstm);
    Generator generator(1);
    return Model(spec, generator);
  }
  ModelStream stream_;
  std::vector<std::int64_t> ids_;
  std::vector<float> out_;
};

// f(steps, name) for every kind of stream.
template <typename F>
void each_stream(const F& f) {
  for (const std::int64_t N : {1, 4, 64}) {
    for (const CellKind cell : kCells) {
      const std::string name = std::string(name_of(cell)) + " N=" + std::to_string(N);
      Steps<float> single(stack_of(cell), N);
      f(single, name + " float32");
      Steps<double> wide(stack_of(cell), N);
      f(wide, name + " float64");
    }
    RecurrentSpec delayed = stack_of(CellKind::lstm);
    delayed.layers[0].delays = {2, 5};
    Steps<float> past(delayed, N);
    f(past, "delays N=" + std::to_string(N));
    RecurrentSpec projected = stack_of(CellKind::lstm);
    projected.layers[0].proj_size = 40;
    Steps<float> narrow(projected, N);
    f(narrow, "projected N=" + std::to_string(N));
    RecurrentSpec grouped = stack_of(CellKind::lstm);
    grouped.layers[0].options.group_periods = {1, 2};
    Steps<float> clockwork(grouped, N);
    f(clockwork, "clockwork groups N=" + std::to_string(N));
    for (const CellKind cell : kCells) {
      RecurrentSpec normalised = stack_of(cell);
      for (LayerSpec& layer : normalised.layers) layer.options.layer_norm = true;
      Steps<float> rows(normalised, N);
      f(rows, std::string(name_of(cell)) + " with layer_norm N=" + std::to_string(N));
    }
    ModelSteps model(N, {});
    f(model, "model N=" + std::to_string(N));
    ModelSteps bottleneck(N, {}, 24);
    f(bottleneck, "model with a projection N=" + std::to_string(N));
    ModelSteps adaptive(N, {SoftmaxKind::adaptive, {300, 1000}, 4.0});
    f(adaptive, "adaptive softmax N=" + std::to_string(N));
    ModelSteps classes(N, {SoftmaxKind::classes, {0, 100, 1000}, 4.0});
    f(classes, "softmax of classes N=" + std::to_string(N));
  }
}

#ifdef RNNCORE_COUNTS_MALLOC
TEST(StreamAllocation, TheCountersCount) {
  long before = allocations.load();
  void* volatile p = std::malloc(10);
  std::free(p);
  EXPECT_EQ(allocations.load(), before + 1);
  delete new volatile int(1);
  EXPECT_EQ(allocations.load(), before + 2);
  const Tensor t = Tensor::zeros({3});
  EXPECT_GT(allocations.load(), before + 2);
  before = locks.load();
  std::mutex mutex;
  mutex.lock();
  mutex.unlock();
  EXPECT_EQ(locks.load(), before + 1);
}

TEST(StreamAllocation, StepsAllocateNothingAndLockNothing) {
  each_stream([](auto& steps, const std::string& name) {
    const long allocated = allocations.load(), locked = locks.load();
    steps.run();
    EXPECT_EQ(allocations.load(), allocated) << name;
    EXPECT_EQ(locks.load(), locked) << name;
  });
}
#endif

#if defined(__linux__) && !defined(RNNCORE_SANITIZED)
// Whether f() comes to its end on a thread for which the kernel allows read, write and exit alone: it ends a thread
// that calls anything else. (No child process: after a fork the engine would not start threads anyway.)
enum class Ending : std::uint8_t { none, no_seccomp, reached };
template <typename F>
Ending ending_in_strict_mode(const F& f) {
  struct Call {
    const F& f;
    std::atomic<Ending> ending{Ending::none};
  } call{f};
  pthread_t thread;
  const auto body = [](void* argument) -> void* {
    auto* const call = static_cast<Call*>(argument);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) != 0) {
      call->ending = Ending::no_seccomp;
      return nullptr;
    }
    call->f();
    call->ending = Ending::reached;
    ::syscall(SYS_exit, 0);  // of this thread; the library's own way out makes other calls
    return nullptr;
  };
  if (::pthread_create(&thread, nullptr, body, &call) != 0) return Ending::no_seccomp;
  ::pthread_join(thread, nullptr);
  return call.ending;
}

TEST(StreamAllocation, StepsMakeNoSystemCall) {
  const Ending caught = ending_in_strict_mode([] { ::syscall(SYS_getpid); });
  if (caught == Ending::no_seccomp) GTEST_SKIP() << "no seccomp here";
  ASSERT_EQ(caught, Ending::none) << "a system call must be seen";
  each_stream([](auto& steps, const std::string& name) {
    EXPECT_EQ(ending_in_strict_mode([&] { steps.run(); }), Ending::reached) << name;
  });
}
#endif

}  // namespace
}  // namespace rnncore
