// What every wiring of a stack must satisfy, whatever its options: gradients by central differences, and the equalities
// that hold bit for bit (chunked = whole, stream = sequence, padded = alone, resets = separate, one thread = several).
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "gradcheck.h"
#include "rnncore/rnncore.hpp"

namespace rnncore::test {

inline std::vector<Tensor> make_parameters(const RecurrentSpec& spec, DType dtype = DType::float64) {
  std::vector<Tensor> parameters;
  std::uint64_t salt = 10;
  for (const ParameterInfo& info : parameters_of(spec)) {
    Tensor t = numbers(info.shape, ++salt, dtype);
    t.mul_(0.8);
    parameters.push_back(t);
  }
  return parameters;
}

inline void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_EQ(a.defined(), b.defined()) << what;
  if (!a.defined()) return;
  ASSERT_EQ(a.shape(), b.shape()) << what;
  ASSERT_EQ(a.dtype(), b.dtype()) << what;
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.numel() * size_of(a.dtype()))), 0) << what;
}

// Every tensor of a state, in a fixed order.
inline std::vector<Tensor> parts(const RecurrentState& state) {
  std::vector<Tensor> all = state.h;
  all.insert(all.end(), state.c.begin(), state.c.end());
  all.insert(all.end(), state.past.begin(), state.past.end());
  all.push_back(state.clock);
  return all;
}

// The rows [first, last) of the batch.
inline RecurrentState rows_of(const RecurrentState& state, std::int64_t first, std::int64_t last) {
  RecurrentState out;
  for (const Tensor& h : state.h) out.h.push_back(slice(h, 0, first, last));
  for (const Tensor& c : state.c) out.c.push_back(c.defined() ? slice(c, 0, first, last) : c);
  for (const Tensor& p : state.past) out.past.push_back(p.defined() ? slice(p, 1, first, last) : p);
  if (state.clock.defined()) out.clock = slice(state.clock, 0, first, last);
  return out;
}

inline void expect_same_state(const RecurrentState& a, const RecurrentState& b, const std::string& what) {
  const std::vector<Tensor> x = parts(a), y = parts(b);
  ASSERT_EQ(x.size(), y.size()) << what;
  for (std::size_t i = 0; i < x.size(); ++i) expect_same_bits(x[i], y[i], what + ", part " + std::to_string(i));
}

inline Tensor steps_of(const Tensor& x, std::int64_t first, std::int64_t last) { return slice(x, 0, first, last); }
inline Tensor row_of(const Tensor& x, std::int64_t n) { return slice(x, 1, n, n + 1); }

// A state as a run over a few steps leaves it, cut off the tape.
inline RecurrentState some_state(const RecurrentSpec& spec, std::int64_t N, DType dtype, std::int64_t steps = 3) {
  const NoGradGuard guard;
  RecurrentInput input;
  input.x = numbers({steps, N, spec.input_size}, 31, dtype);
  return recurrent(spec, make_parameters(spec, dtype), input).state;
}

struct Masks {
  bool lengths = false, resets = false;
};
inline void add_masks(RecurrentInput& input, const Masks& masks, std::int64_t T, std::int64_t N) {
  if (masks.lengths) {
    std::vector<std::int64_t> lengths;
    for (std::int64_t n = 0; n < N; ++n) lengths.push_back(n == 0 ? T : (T * 7 + 3 * n) % (T + 1));
    input.lengths = Tensor::from(lengths, {N});
  }
  if (masks.resets) {
    std::vector<std::uint8_t> mask;
    for (std::int64_t i = 0; i < T * N; ++i) mask.push_back(i % 5 == 1 || i % 7 == 3);
    input.reset_mask = Tensor::from(mask, {T, N});
  }
}

// d(y and the final state) / d(x, every parameter, the initial state) against central differences, in float64.
inline void expect_wiring_gradients(const RecurrentSpec& spec, std::int64_t T, std::int64_t N, const Masks& masks,
                                    bool with_state, double tol = 3e-6) {
  std::vector<Tensor> values = {numbers({T, N, spec.input_size}, 1)};
  for (const Tensor& p : make_parameters(spec)) values.push_back(p);
  const std::size_t first_state = values.size();
  RecurrentInput fixed;
  add_masks(fixed, masks, T, N);
  if (with_state) {
    fixed.state = some_state(spec, N, DType::float64);
    for (const Tensor& t : parts(fixed.state))
      if (t.defined() && is_float(t.dtype())) values.push_back(t);
  }
  expect_gradients(
      [&](const std::vector<Tensor>& v) {
        RecurrentInput input = fixed;
        input.x = v[0];
        std::size_t at = first_state;
        for (std::vector<Tensor>* kind : {&input.state.h, &input.state.c, &input.state.past})
          for (Tensor& t : *kind)
            if (t.defined()) t = v[at++];
        const RecurrentOutput out =
            recurrent(spec, {v.begin() + 1, v.begin() + static_cast<std::ptrdiff_t>(first_state)}, input);
        std::vector<Tensor> joined = {out.y.reshape({-1})};
        for (const Tensor& t : parts(out.state))
          if (t.defined() && is_float(t.dtype())) joined.push_back(t.reshape({-1}));
        return cat(joined, 0);
      },
      values, tol);
}

// Forward and backward of a weighted sum; y, the final state and every gradient.
inline std::vector<Tensor> evaluate(const RecurrentSpec& spec, const std::vector<Tensor>& values,
                                    RecurrentInput input) {
  std::vector<Tensor> parameters;
  for (const Tensor& v : values) parameters.push_back(leaf(v));
  input.x = leaf(input.x);
  const RecurrentOutput out = recurrent(spec, parameters, input);
  sum(mul(out.y, numbers(out.y.shape(), 5, out.y.dtype()))).backward();
  std::vector<Tensor> results = {out.y, input.x.grad()};
  for (const Tensor& t : parts(out.state)) results.push_back(t);
  for (const Tensor& p : parameters) results.push_back(p.grad());
  return results;
}

inline void expect_threads_agree(const RecurrentSpec& spec, std::int64_t T, std::int64_t N, const Masks& masks) {
  const int before = get_num_threads();
  const std::vector<Tensor> parameters = make_parameters(spec, DType::float32);
  RecurrentInput input;
  input.x = numbers({T, N, spec.input_size}, 3, DType::float32);
  add_masks(input, masks, T, N);
  set_num_threads(1);
  const std::vector<Tensor> one = evaluate(spec, parameters, input);
  for (const int threads : {2, 3}) {
    set_num_threads(threads);
    const std::vector<Tensor> many = evaluate(spec, parameters, input);
    for (std::size_t i = 0; i < one.size(); ++i)
      expect_same_bits(one[i], many[i], std::to_string(threads) + " threads, result " + std::to_string(i));
  }
  set_num_threads(before);
}

// Pieces of uneven length, the state carried, and (unless refused) a stream give the bits of the whole.
inline void expect_chunks_and_stream_agree(const RecurrentSpec& spec, std::int64_t T, std::int64_t N, bool stream,
                                           DType dtype = DType::float32) {
  const NoGradGuard guard;
  const std::vector<Tensor> parameters = make_parameters(spec, dtype);
  RecurrentInput input;
  input.x = numbers({T, N, spec.input_size}, 3, dtype);
  const RecurrentOutput whole = recurrent(spec, parameters, input);
  RecurrentInput chunk;
  std::vector<Tensor> pieces;
  std::int64_t length = 1;
  for (std::int64_t t = 0; t < T; t += length, length = length % 5 + 2) {
    if (t > 0) length = std::min(length, T - t);
    chunk.x = steps_of(input.x, t, t + length);
    RecurrentOutput out = recurrent(spec, parameters, chunk);
    pieces.push_back(out.y);
    chunk.state = out.state;
  }
  expect_same_bits(cat(pieces, 0), whole.y, "chunks");
  expect_same_state(chunk.state, whole.state, "state after the chunks");
  if (!stream) return;
  Stream steps(spec, parameters, N);
  const std::int64_t O = spec.output_size(), I = spec.input_size;
  const auto run = [&](std::int64_t first, std::int64_t last) {
    Tensor y = Tensor::zeros({last - first, N, O}, dtype);
    for (std::int64_t t = first; t < last; ++t)
      if (dtype == DType::float32)
        steps.step(input.x.data<float>() + t * N * I, y.mutable_data<float>() + (t - first) * N * O);
      else
        steps.step(input.x.data<double>() + t * N * I, y.mutable_data<double>() + (t - first) * N * O);
    return y;
  };
  expect_same_bits(run(0, T), whole.y, "stream");
  expect_same_state(steps.state(), whole.state, "state of the stream");
  steps.reset();
  const std::int64_t half = T / 2;
  expect_same_bits(run(0, half), steps_of(whole.y, 0, half), "stream after a reset");
  const RecurrentState saved = steps.state();
  run(0, T);
  steps.set_state(saved);
  expect_same_bits(run(half, T), steps_of(whole.y, half, T), "stream with its state set");
  if (N < 2) return;
  steps.reset(1);
  const Tensor fresh = run(0, half);
  expect_same_bits(row_of(fresh, 1), row_of(steps_of(whole.y, 0, half), 1), "one stream reset");
}

inline void expect_padded_equals_alone(const RecurrentSpec& spec, bool with_state, DType dtype = DType::float32) {
  const NoGradGuard guard;
  const std::int64_t T = 11, N = 4;
  const std::vector<Tensor> parameters = make_parameters(spec, dtype);
  RecurrentInput padded;
  padded.x = numbers({T, N, spec.input_size}, 3, dtype);
  padded.lengths = Tensor::from(std::vector<std::int64_t>{11, 4, 0, 7}, {N});
  if (with_state) padded.state = some_state(spec, N, dtype);
  const RecurrentOutput all = recurrent(spec, parameters, padded);
  for (const std::int64_t n : {0, 1, 3}) {
    const std::int64_t length = padded.lengths.data<std::int64_t>()[n];
    RecurrentInput alone;
    alone.x = steps_of(row_of(padded.x, n), 0, length);
    if (with_state) alone.state = rows_of(padded.state, n, n + 1);
    const RecurrentOutput one = recurrent(spec, parameters, alone);
    expect_same_bits(steps_of(row_of(all.y, n), 0, length), one.y, "y of " + std::to_string(n));
    expect_same_state(rows_of(all.state, n, n + 1), one.state, "state of " + std::to_string(n));
    const Tensor beyond = steps_of(row_of(all.y, n), length, T).to(DType::float64);
    for (std::int64_t i = 0; i < beyond.numel(); ++i) EXPECT_EQ(beyond.data<double>()[i], 0.0);
  }
  if (with_state)  // a sequence of length 0 keeps its state
    expect_same_state(rows_of(all.state, 2, 3), rows_of(padded.state, 2, 3), "state of an empty sequence");
}

// Two resets inside one row; the other row goes on. Without a given state.
inline void expect_resets_equal_separate(const RecurrentSpec& spec, DType dtype = DType::float32) {
  const NoGradGuard guard;
  const std::int64_t T = 12;
  const std::vector<std::int64_t> cuts = {0, 5, 7, 12};
  const std::vector<Tensor> parameters = make_parameters(spec, dtype);
  RecurrentInput joined;
  joined.x = numbers({T, 2, spec.input_size}, 3, dtype);
  Tensor mask = Tensor::zeros({T, 2}, DType::uint8);
  for (const std::int64_t cut : {5, 7}) mask.mutable_data<std::uint8_t>()[cut * 2 + 1] = 1;
  joined.reset_mask = mask;
  const RecurrentOutput all = recurrent(spec, parameters, joined);
  RecurrentInput whole;
  whole.x = row_of(joined.x, 0);
  expect_same_bits(row_of(all.y, 0), recurrent(spec, parameters, whole).y, "the row without a reset");
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
    RecurrentInput part;
    part.x = steps_of(row_of(joined.x, 1), cuts[i], cuts[i + 1]);
    expect_same_bits(steps_of(row_of(all.y, 1), cuts[i], cuts[i + 1]), recurrent(spec, parameters, part).y,
                     "part " + std::to_string(i));
  }
}

// All of it.
inline void expect_sound_wiring(const RecurrentSpec& spec, bool stream = true) {
  for (const bool lengths : {false, true})
    for (const bool resets : {false, true}) {
      SCOPED_TRACE(std::string("lengths ") + (lengths ? "yes" : "no") + ", resets " + (resets ? "yes" : "no"));
      expect_wiring_gradients(spec, 6, 3, {lengths, resets}, false);
      // With a state given, learnt initial states get a gradient from resets alone.
      if (resets || !spec.learn_initial_state) expect_wiring_gradients(spec, 5, 2, {lengths, resets}, true);
      expect_threads_agree(spec, 9, 5, {lengths, resets});
    }
  if (spec.directions() == 1)
    for (const std::int64_t N : {1, 3}) expect_chunks_and_stream_agree(spec, 23, N, stream);
  expect_padded_equals_alone(spec, false);
  expect_padded_equals_alone(spec, true);
  expect_resets_equal_separate(spec);
}

}  // namespace rnncore::test
