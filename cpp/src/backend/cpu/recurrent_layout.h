// Helpers that the forward and backward drivers share: sizes, index maps, the order of steps, the split of work.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/gemm.h"
#include "backend/cpu/recurrent_steps.h"
#include "backend/cpu/targets.h"
#include "backend/recurrent.h"

namespace rnncore::cpu {

template <typename T>
const CellKernels<T>& kernels_of(CellKind cell, const CellOptions& options) {
  if constexpr (sizeof(T) == 4)
    return cell_kernels_f32(active_target(), kernel_of(cell, options));
  else
    return cell_kernels_f64(active_target(), kernel_of(cell, options));
}

// Derived sizes of one layer on one instruction set.
template <typename T>
struct Layout {
  const CellKernels<T>& k;
  CellNumbers numbers;
  bool has_unit_weights, dropped, projected;
  std::int64_t T_, N, I, H, R, V, blocks, units;
  std::int64_t state_units;  // R in whole blocks, as rows of its gradient have them; units but for a projection
  std::int64_t gate_values;  // of one row of gates
  std::int64_t gates_row;    // from one row to the next
  bool reverse, masked, training, own_reset, normalised;
  const std::vector<std::int64_t>& delays;
  RowParts rows;  // of the gates, of c, and of what walks along with the steps

  explicit Layout(const backend::RecurrentGeometry& g)
      : k(kernels_of<T>(g.cell, g.options)),
        numbers(numbers_of(g.cell, g.options)),
        has_unit_weights(unit_weights_of(g.cell, g.options) > 0),
        dropped(g.dropped),
        projected(g.P > 0),
        T_(g.T),
        N(g.N),
        I(g.I),
        H(g.H),
        R(g.R()),
        V(g.V),
        blocks((g.H + k.block - 1) / k.block),
        units(blocks * k.block),
        state_units(whole_blocks(R)),
        gate_values(units * k.slots),
        gates_row(gate_values + spread(gate_values)),
        reverse(g.reverse),
        masked(g.masked),
        training(g.training),
        own_reset(g.own_reset),
        normalised(g.options.layer_norm),
        delays(g.delays),
        rows{g.N, g.parts} {}

  std::int64_t whole_blocks(std::int64_t values) const { return (values + k.block - 1) / k.block * k.block; }
  // Rows a multiple of a page apart fall into the same few cache sets: one cache line between them spreads them.
  static std::int64_t spread(std::int64_t values) {
    constexpr std::int64_t kPage = 4096, kLine = 64, kSize = sizeof(T);
    return values * kSize % kPage == 0 ? kLine / kSize : 0;
  }

  // Whether the kernel for one row serves (recurrent_row.h): the one place where it is chosen for sequences.
  bool one_row() const { return N == 1 && !masked && !dropped && !projected && delays.empty() && k.row != nullptr; }
  // Each unit sees its own past alone (IndRNN): members that share the units need not meet between steps.
  bool independent() const { return k.recurrent_count == 0 && k.stages == 1 && !normalised && delays.empty(); }
  // Steps are numbered in the order of processing; time_of(step) is where they stand in x and y.
  std::int64_t time_of(std::int64_t step) const { return reverse ? T_ - 1 - step : step; }
  // c entering a step, row 0 of the batch as if it were in part p; in inference three buffers take turns (the first
  // keeps the initial state).
  std::int64_t c_steps() const { return training ? T_ + 1 : 3; }
  T* c_entering(T* c, std::int64_t p, std::int64_t step) const {
    return c + rows.origin(p, c_steps(), training || step == 0 ? step : 1 + (step & 1)) * units;
  }
  // h entering a step: states[0] is the initial state; with masks each step's own copy follows, in the order of time
  // (the first step's too, so that they form one matrix for the weight gradient); else it is the neighbour's y.
  T* h_entering(T* states, const T* y, std::int64_t step) const {
    if (!masked) return step == 0 ? states : const_cast<T*>(y) + time_of(step - 1) * N * R;
    return states + (1 + (training ? time_of(step) : (step & 1))) * N * R;
  }
  // h_{t-d} entering a step, for delay number i: copied there, since rows may lie in different sequences. In the order
  // of time (one matrix for the weight gradient); in inference two buffers take turns.
  T* delayed_entering(void* delayed, std::size_t i, std::int64_t step) const {
    const std::int64_t slots = training ? T_ : 2, slot = training ? time_of(step) : (step & 1);
    return static_cast<T*>(delayed) + (static_cast<std::int64_t>(i) * slots + slot) * N * R;
  }
  // What the step's recurrent product multiplies: the dropped states, in the order of time, or the states themselves.
  T* product_operand(T* states, T* entering, const T* y, std::int64_t step) const {
    return dropped ? entering + time_of(step) * N * R : h_entering(states, y, step);
  }
  // Steps whose input product is made at a time: enough rows to use the panels well, few enough to stay in cache.
  std::int64_t chunk_steps() const {
    constexpr std::int64_t kRows = 96;
    return std::max<std::int64_t>(1, std::min(T_, kRows / std::max<std::int64_t>(1, N)));
  }
  // Values of one row of unit weights or of their gradients; 0 where the options leave them out.
  std::int64_t unit_values() const { return has_unit_weights ? k.unit_weights * units : 0; }
  double input_work() const { return static_cast<double>(V > 0 ? V : T_ * N) * units * I * k.input_count; }
  double step_work() const {
    const double slots = k.recurrent_count + k.second_count + k.input_count * static_cast<double>(delays.size());
    return static_cast<double>(N) * (units * R * slots + (projected ? H * R : 0));
  }
};

// The sum of the biases of each slot, laid out as a row of gates. Either may be null.
template <typename T>
void fill_bias(const Layout<T>& l, const void* bias_ih, const void* bias_hh, T* bias) {
  const T* b_ih = static_cast<const T*>(bias_ih);
  const T* b_hh = static_cast<const T*>(bias_hh);
  for (std::int64_t b = 0; b < l.blocks; ++b)
    for (int s = 0; s < l.k.slots; ++s)
      for (std::int64_t i = 0; i < l.k.block; ++i) {
        const std::int64_t unit = b * l.k.block + i, at = l.k.gate[s] * l.H + unit;
        const bool from_input = s >= l.k.input_first && s < l.k.input_first + l.k.input_count;
        const bool from_state = (s >= l.k.recurrent_first && s < l.k.recurrent_first + l.k.recurrent_count) ||
                                (s >= l.k.second_first && s < l.k.second_first + l.k.second_count);
        T value = 0;
        if (unit < l.H && b_ih && from_input) value += b_ih[at];
        if (unit < l.H && b_hh && from_state) value += b_hh[at];
        bias[(b * l.k.slots + s) * l.k.block + i] = value;
      }
}

// How a team shares the time loop: by rows (each member walks its own sequences through time, and nobody waits or reads
// what another wrote: cores may be far apart) or by units (a barrier after every stage).
constexpr double kBarrier = 3e4;  // multiply-adds that a barrier costs

// Parts of the batch, one for each of `threads`; 1: shared by units, or not at all.
template <typename T>
std::int64_t parts_for(const Layout<T>& l, int threads) {
  if (threads <= 1) return 1;
  constexpr std::int64_t kFewRows = 4;  // fewer rows cost as much: a pass through the weights is bound by cache
  constexpr double kExchange = 100;     // multiply-adds that it costs to read a value that another member wrote
  const auto up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t rows_each = up(l.N, threads);
  const double block = l.step_work() / static_cast<double>(l.blocks * l.N);  // multiply-adds of a row
  // Weights beyond the second cache come from the third at every step: by rows each member reads all of them.
  constexpr double kSecondCache = 1 << 20, kRead = 4;  // bytes; multiply-adds that it costs to read a weight
  const double weights = block * static_cast<double>(l.blocks);
  const double reading = !l.training && weights * sizeof(T) > kSecondCache ? kRead * weights : 0;
  const double by_rows = block * static_cast<double>(l.blocks * std::max(kFewRows, rows_each)) + reading;
  const double by_units =
      block * static_cast<double>(up(l.blocks, threads) * l.N) + kBarrier + kExchange * l.N * l.H + reading / threads;
  return rows_each >= kFewRows && by_rows <= by_units ? threads : 1;
}
// Too little work a step for a barrier: one member walks through time while the others wait. With one row, whose steps
// take no longer than some round trips between distant cores, `barrier` is its time in nanoseconds.
constexpr double kRowRate = 28;       // multiply-adds a nanosecond with one row: bound by reading weights
constexpr double kMeetings = 2;       // barriers that a barrier and the exchange of h cost
constexpr double kNearBarrier = 60;   // nanoseconds between near cores
constexpr double kWorthWaking = 2e4;  // nanoseconds to gain over the sequence
template <typename T>
bool walks_alone(const Layout<T>& l, int threads, double barrier = kNearBarrier) {
  if (l.rows.parts > 1 || threads <= 1 || l.independent()) return false;
  if (l.N > 1) return l.step_work() / threads < kBarrier;
  const double gain = l.step_work() / kRowRate * (1 - 1.0 / threads) - kMeetings * barrier;
  return static_cast<double>(l.T_) * gain < kWorthWaking;
}
// Runs work(member, alone) on a team, where what a barrier takes here and now may decide that one member works alone
// after all. `input_work`: multiply-adds that all members share in any case; a team must be worth it for them.
template <typename T, typename Work>
void run_steps(const Layout<T>& l, int threads, double input_work, const Work& work) {
  constexpr double kWorthATeam = 2e7, kFarthest = 1000;
  const bool worth = input_work >= kWorthATeam, alone = walks_alone(l, threads);
  const bool measure = l.N == 1 && !alone && walks_alone(l, threads, kFarthest);
  run_team(alone && !worth ? 1 : threads, [&](const Member& m) {
    const bool by_one = alone || (measure && walks_alone(l, m.size, m.barrier_time()));
    if (worth || !by_one) return work(m, by_one);
    if (m.rank == 0) work(Member{}, true);
  });
}

}  // namespace rnncore::cpu
