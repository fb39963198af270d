#include "core/time_scales.h"

#include <algorithm>

#include "rnncore/ops.hpp"

namespace rnncore {
namespace {

struct Masks {
  const std::int64_t* lengths = nullptr;
  const std::uint8_t* reset = nullptr;
  bool reverse = false;
  std::int64_t T = 0, N = 0;

  Masks(const Tensor& lengths_given, const Tensor& reset_given, bool backwards, std::int64_t steps, std::int64_t rows)
      : lengths(lengths_given.defined() ? lengths_given.data<std::int64_t>() : nullptr),
        reset(reset_given.defined() ? reset_given.data<std::uint8_t>() : nullptr),
        reverse(backwards),
        T(steps),
        N(rows) {}

  // Calls visit(t, begins) for the steps of row n in the order of reading; begins: a reset stands before the step.
  template <class Visit>
  void walk(std::int64_t n, const Visit& visit) const {
    const std::int64_t length = lengths ? lengths[n] : T;
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t t = reverse ? length - 1 - i : i;
      // Going back in time, a sequence that starts at t + 1 separates t from it.
      const std::int64_t boundary = reverse ? t + 1 : t;
      visit(t, reset && boundary < length && reset[boundary * N + n]);
    }
  }
};

std::int64_t clock_of(const Tensor& clock, std::int64_t n) {
  return clock.defined() ? clock.data<std::int64_t>()[n] : 0;
}

// One row's steps that run, in the order of time, and for every step the number of the run it shows (-1: none yet).
struct RowPlan {
  std::vector<std::int64_t> steps, shown;
  std::vector<std::uint8_t> begins;
};

RowPlan plan_row(const Masks& masks, std::int64_t n, std::int64_t period, std::int64_t clock) {
  RowPlan plan;
  plan.shown.assign(static_cast<std::size_t>(masks.T), -1);
  masks.walk(n, [&](std::int64_t t, bool begins) {
    if (begins) clock = 0;
    if (clock % period == 0) {
      plan.steps.push_back(t);
      plan.begins.push_back(begins);
    }
    ++clock;
    plan.shown[static_cast<std::size_t>(t)] = static_cast<std::int64_t>(plan.steps.size()) - 1;
  });
  if (!masks.reverse) return plan;
  const std::int64_t count = static_cast<std::int64_t>(plan.steps.size());
  std::reverse(plan.steps.begin(), plan.steps.end());
  std::reverse(plan.begins.begin(), plan.begins.end());
  for (std::int64_t& shown : plan.shown)
    if (shown >= 0) shown = count - 1 - shown;
  return plan;
}

}  // namespace

StepFlags step_flags(const LayerInput& in, std::int64_t period, const Tensor& clock) {
  const Shape& steps = in.ids.defined() ? in.ids.shape() : in.x.shape();
  const Masks masks(in.lengths, in.reset_mask, in.reverse, steps[0], steps[1]);
  StepFlags flags;
  for (auto* part : {&flags.there, &flags.runs, &flags.begins})
    part->assign(static_cast<std::size_t>(masks.T * masks.N), 0);
  for (std::int64_t n = 0; n < masks.N; ++n) {
    std::int64_t now = clock_of(clock, n);
    masks.walk(n, [&](std::int64_t t, bool begins) {
      if (begins) now = 0;
      const std::size_t at = static_cast<std::size_t>(t * masks.N + n);
      flags.there[at] = 1;
      flags.runs[at] = now++ % period == 0;
      flags.begins[at] = begins;
    });
  }
  return flags;
}

LayerState restarted(const LayerState& state, const LayerState& fresh, const std::vector<std::uint8_t>& flags) {
  const std::int64_t N = static_cast<std::int64_t>(flags.size());
  std::vector<double> starts(flags.begin(), flags.end()), stays;
  for (const double value : starts) stays.push_back(1 - value);
  const auto blend = [&](const Tensor& old, const Tensor& start, const Shape& rows) {
    if (!old.defined()) return old;
    const Tensor kept = mul(old, Tensor::from(stays, rows).to(old.dtype()));
    if (!start.defined()) return add(kept, Tensor::zeros(rows, old.dtype()));  // no negative zeros
    return add(kept, mul(start, Tensor::from(starts, rows).to(old.dtype())));
  };
  return {blend(state.h, fresh.h, {N, 1}), blend(state.c, fresh.c, {N, 1}), blend(state.past, fresh.past, {1, N, 1})};
}

void start_from_reset(LayerInput& in, const std::vector<std::uint8_t>& flags) {
  if (!in.own_reset || std::find(flags.begin(), flags.end(), 1) == flags.end()) return;
  in.start = restarted(in.start, {in.reset.h, in.reset.c, {}}, flags);
}

Tensor advanced_clock(const Tensor& clock, const Tensor& lengths, const Tensor& reset_mask, bool reverse,
                      std::int64_t T, std::int64_t N) {
  const Masks masks(lengths, reset_mask, reverse, T, N);
  std::vector<std::int64_t> after;
  for (std::int64_t n = 0; n < N; ++n) {
    std::int64_t count = clock_of(clock, n);
    masks.walk(n, [&](std::int64_t, bool begins) { count = (begins ? 0 : count) + 1; });
    after.push_back(count);
  }
  return Tensor::from(after, {N});
}

namespace {

template <typename T>
void fill_running(const LayerSpec& layer, const Masks& masks, const Tensor& clock, T* to) {
  const std::int64_t H = layer.hidden_size;
  const std::vector<std::int64_t>& periods = layer.options.group_periods;
  for (std::int64_t n = 0; n < masks.N; ++n) {
    std::int64_t now = clock_of(clock, n);
    masks.walk(n, [&](std::int64_t t, bool begins) {
      if (begins) now = 0;
      rnncore::fill_running(periods, H, now++, to + (t * masks.N + n) * H);
    });
  }
}

}  // namespace

Tensor running_units(const LayerSpec& layer, const LayerInput& in, const Tensor& clock) {
  const Tensor& steps = in.ids.defined() ? in.ids : in.x;
  const Masks masks(in.lengths, in.reset_mask, in.reverse, steps.size(0), steps.size(1));
  Tensor running = Tensor::zeros({masks.T, masks.N, layer.hidden_size}, in.x.dtype());
  if (running.dtype() == DType::float64)
    fill_running(layer, masks, clock, running.mutable_data<double>());
  else
    fill_running(layer, masks, clock, running.mutable_data<float>());
  return running;
}

LayerResult layer_at_period(const LayerSpec& layer, const LayerParameters& p, LayerInput in, const Tensor& clock) {
  const bool tokens = in.ids.defined();
  const std::int64_t T = tokens ? in.ids.size(0) : in.x.size(0), N = tokens ? in.ids.size(1) : in.x.size(1);
  const std::int64_t R = layer.state_size();
  const Masks masks(in.lengths, in.reset_mask, in.reverse, T, N);
  std::vector<RowPlan> plans;
  std::int64_t K = 1;  // steps of the shorter sequence
  for (std::int64_t n = 0; n < N; ++n) {
    plans.push_back(plan_row(masks, n, layer.period, clock_of(clock, n)));
    K = std::max(K, static_cast<std::int64_t>(plans.back().steps.size()));
  }
  std::vector<std::int64_t> from(static_cast<std::size_t>(K * N)), to(static_cast<std::size_t>(T * N)), counts;
  std::vector<std::uint8_t> begins(static_cast<std::size_t>(K * N)), first(static_cast<std::size_t>(N));
  bool uneven = false, resets = false;
  for (std::int64_t n = 0; n < N; ++n) {
    const RowPlan& plan = plans[static_cast<std::size_t>(n)];
    const std::int64_t count = static_cast<std::int64_t>(plan.steps.size());
    counts.push_back(count);
    uneven = uneven || count < K;
    for (std::int64_t k = 0; k < count; ++k) {
      const std::size_t at = static_cast<std::size_t>(k * N + n), step = static_cast<std::size_t>(k);
      from[at] = plan.steps[step] * N + n;
      // In the layer's mask a boundary stands at the later step of the two that it separates.
      if (plan.begins[step] && !in.reverse) begins[at] = 1;
      if (plan.begins[step] && in.reverse && k + 1 < count) begins[at + static_cast<std::size_t>(N)] = 1;
      resets = resets || plan.begins[step];
    }
    if (count > 0) first[static_cast<std::size_t>(n)] = in.reverse ? plan.begins.back() : plan.begins.front();
    // Rows of [zeros; initial states; outputs].
    const std::int64_t length = masks.lengths ? masks.lengths[n] : T;
    for (std::int64_t t = 0; t < length; ++t) {
      const std::int64_t shown = plan.shown[static_cast<std::size_t>(t)];
      to[static_cast<std::size_t>(t * N + n)] = 1 + (shown < 0 ? n : N + shown * N + n);
    }
  }
  if (tokens) {
    std::vector<std::int64_t> ids(from.size());
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = in.ids.data<std::int64_t>()[from[i]];
    in.ids = Tensor::from(ids, {K, N});
  } else if (N > 0) {
    in.x = embedding(in.x.reshape({T * N, in.x.size(2)}), Tensor::from(from, {K, N}));
  } else {
    in.x = Tensor::zeros({K, N, in.x.size(2)}, in.x.dtype());
  }
  in.lengths = uneven ? Tensor::from(counts, {N}) : Tensor();
  in.reset_mask = resets ? Tensor::from(begins, {K, N}) : Tensor();
  const Tensor held = in.start.h.defined() ? in.start.h : Tensor::zeros({N, R}, in.x.dtype());
  start_from_reset(in, first);
  LayerResult out = recurrent_layer(layer, p, in);
  const Tensor table = cat({Tensor::zeros({1, R}, in.x.dtype()), held, out.y.reshape({K * N, R})}, 0);
  out.y = embedding(table, Tensor::from(to, {T, N}));
  return out;
}

}  // namespace rnncore
