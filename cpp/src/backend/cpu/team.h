// The one seam to threads: run_team(threads, f) calls f(member) on every thread; members meet at barrier().
// f must not throw. Inside, denormals are flushed. After a fork the child runs on one thread (never hangs).
// The team is OpenMP's; with RNNCORE_STD_TEAM it is made of std::thread, which a thread sanitizer understands (it
// reports every hand-over through libgomp as a race).
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#ifndef RNNCORE_STD_TEAM
#include <omp.h>
#endif
#if defined(__SSE__) || defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rnncore::cpu {

// The processor's floating-point control register.
inline std::uint64_t read_float_mode() {
#if defined(__SSE__) || defined(__x86_64__)
  return _mm_getcsr();
#elif defined(__aarch64__)
  std::uint64_t mode;
  asm volatile("mrs %0, fpcr" : "=r"(mode));
  return mode;
#else
  return 0;
#endif
}
inline void write_float_mode([[maybe_unused]] std::uint64_t mode) {
#if defined(__SSE__) || defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(mode));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(mode));
#endif
}
#if defined(__SSE__) || defined(__x86_64__)
constexpr std::uint64_t kFlushMode = 0x8040;  // flush to zero, denormals are zero
#else
constexpr std::uint64_t kFlushMode = std::uint64_t{1} << 24;
#endif

// How many rnncore::FlushDenormalsGuards are alive on this thread.
#if defined(__linux__)
__attribute__((tls_model("initial-exec")))  // one load, also in a shared library
#endif
extern __thread int flush_guards;  // not thread_local, whose uses from other files go through a function

// Denormals are flushed while alive.
class FlushDenormals {
 public:
  FlushDenormals() : own_(flush_guards == 0) {
    if (!own_) return;
    saved_ = read_float_mode();
    write_float_mode(saved_ | kFlushMode);
  }
  ~FlushDenormals() {
    if (own_) write_float_mode(saved_);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  bool own_;
  std::uint64_t saved_ = 0;
};

struct Range {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
// Part `rank` of `size` equal parts of [0, n), sizes differing by at most one `grain`.
inline Range part_of(std::int64_t n, int rank, int size, std::int64_t grain = 1) {
  const std::int64_t grains = (n + grain - 1) / grain;
  const std::int64_t begin = grains * rank / size * grain, end = grains * (rank + 1) / size * grain;
  return {std::min(begin, n), std::min(end, n)};
}

// Members spin for a few microseconds, then give their processor away between looks: on a machine with other work, a
// member that is not running must get a processor before the others can go on (libgomp's barrier spins for
// milliseconds). Each announces its arrival in a cache line of its own and watches the others' lines: between cores
// that are far apart a line that all write would cross several times.
class Barrier {
 public:
  explicit Barrier(int members) {
    if (members > kFew) many_ = std::make_unique<Arrival[]>(static_cast<std::size_t>(members));
    arrivals_ = many_ ? many_.get() : few_;
  }
  void wait(int rank, int size) {
    const unsigned phase = arrivals_[rank].phase.load(std::memory_order_relaxed) + 1;
    arrivals_[rank].phase.store(phase, std::memory_order_release);
    constexpr int kSpins = 1000;
    for (int other = 0, spins = 0; other < size; ++other)
      while (other != rank && !reached(arrivals_[other], phase)) ++spins < kSpins ? pause() : std::this_thread::yield();
  }

 private:
  struct alignas(128) Arrival {  // two lines: they are fetched in pairs
    std::atomic<unsigned> phase{0};
  };
  static constexpr int kFew = 16;
  // A member may be one phase ahead.
  static bool reached(const Arrival& other, unsigned phase) {
    return static_cast<int>(other.phase.load(std::memory_order_acquire) - phase) >= 0;
  }
  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
  }
  friend struct Member;
  double nanoseconds_ = 0;  // what a meeting took, as member 0 measured it
  Arrival few_[kFew];
  std::unique_ptr<Arrival[]> many_;
  Arrival* arrivals_;
};

struct Member {
  int rank = 0;
  int size = 1;
  Barrier* meeting = nullptr;  // set where size > 1
  void barrier() const {
    if (size > 1) meeting->wait(rank, size);
  }
  // Nanoseconds that a barrier takes here and now: cores may be far apart, and a virtual machine's may move. A
  // collective call: all members get the same number.
  double barrier_time() const {
    if (size == 1) return 0;
    constexpr int kMeetings = 4;
    barrier();
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kMeetings; ++i) barrier();
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    if (rank == 0) meeting->nanoseconds_ = taken.count() / kMeetings;
    barrier();
    return meeting->nanoseconds_;
  }
  Range share(std::int64_t n, std::int64_t grain = 1) const { return part_of(n, rank, size, grain); }
};

// Threads worth starting for `work` multiply-adds or element visits (1 if small, or after a fork, or nested).
int threads_for(double work);

// body(rank, size) on each thread of a new team, and whether the caller is inside one.
#ifdef RNNCORE_STD_TEAM
inline thread_local bool inside_team = false;
inline bool in_team() { return inside_team; }
inline int processors() { return static_cast<int>(std::thread::hardware_concurrency()); }

template <typename F>
void fork_join(int threads, const F& body) {
  const auto member = [&body, threads](int rank) {
    inside_team = true;
    body(rank, threads);
    inside_team = false;
  };
  std::vector<std::thread> others;
  for (int rank = 1; rank < threads; ++rank) others.emplace_back(member, rank);
  member(0);
  for (std::thread& other : others) other.join();
}
#else
inline bool in_team() { return omp_in_parallel() != 0; }
inline int processors() { return omp_get_num_procs(); }

template <typename F>
void fork_join(int threads, const F& body) {
#pragma omp parallel num_threads(threads)
  body(omp_get_thread_num(), omp_get_num_threads());
}
#endif

template <typename F>
void run_team(int threads, const F& f) {
  if (threads <= 1) {
    FlushDenormals flush;
    f(Member{});
    return;
  }
  Barrier meeting(threads);
  // The team may get fewer threads than asked for; every member must know the true size before it starts.
  fork_join(threads, [&f, &meeting](int rank, int size) {
    FlushDenormals flush;
    Member member;
    member.rank = rank;
    member.size = size;
    member.meeting = &meeting;
    f(member);
  });
}

}  // namespace rnncore::cpu
