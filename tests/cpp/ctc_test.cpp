// CTC: loss and decoding against the sum over all paths, the gradient against central differences, edges and errors.
#include <map>

#include "gradcheck.h"

namespace rnncore::test {
namespace {

using Inputs = std::vector<Tensor>;
using Labels = std::vector<std::int64_t>;

Tensor ids(const Labels& values, Shape shape) { return Tensor::from(values, std::move(shape)); }
Tensor row(const Labels& values) { return ids(values, {static_cast<std::int64_t>(values.size())}); }

Labels collapse(const Labels& path, std::int64_t blank) {
  Labels result;
  for (std::size_t t = 0; t < path.size(); ++t)
    if (path[t] != blank && (t == 0 || path[t] != path[t - 1])) result.push_back(path[t]);
  return result;
}

// p(labelling) of one sequence by visiting all C^T paths.
std::map<Labels, double> all_labellings(const Tensor& log_probs, std::int64_t n, std::int64_t steps,
                                        std::int64_t blank) {
  const std::int64_t N = log_probs.size(1), C = log_probs.size(2);
  std::map<Labels, double> sums;
  Labels path(static_cast<std::size_t>(steps), 0);
  for (;;) {
    double log_p = 0;
    for (std::int64_t t = 0; t < steps; ++t)
      log_p += log_probs.data<double>()[(t * N + n) * C + path[static_cast<std::size_t>(t)]];
    sums[collapse(path, blank)] += std::exp(log_p);
    std::size_t t = 0;
    while (t < path.size() && ++path[t] == C) path[t++] = 0;
    if (t == path.size()) return sums;
  }
}

TEST(Ctc, LossIsTheSumOverAllPaths) {
  const Tensor y = log_softmax(mul(numbers({6, 2, 4}, 1), 2.0));
  for (const std::int64_t blank : {0, 2}) {
    for (const std::int64_t steps : {0, 1, 3, 6}) {
      const auto sums = all_labellings(y, 1, steps, blank);
      double total = 0;
      for (const auto& [labels, p] : sums) {
        total += p;
        Labels both = labels;  // sequence 0 has the same labels in all its frames
        both.insert(both.end(), labels.begin(), labels.end());
        const auto S = static_cast<std::int64_t>(labels.size());
        CtcOptions options;
        options.blank = blank;
        options.reduction = Reduction::none;
        const Tensor loss = ctc_loss(y, row(both), row({6, steps}), row({S, S}), options);
        ASSERT_NEAR(loss.data<double>()[1], -std::log(p), 1e-12) << "labels " << S << ", frames " << steps;
      }
      EXPECT_NEAR(total, 1.0, 1e-12);
    }
  }
}

TEST(Ctc, Gradient) {
  const Tensor x = mul(numbers({7, 3, 5}, 2), 2.0);
  const Tensor targets = ids({1, 1, 3, 4, 9, 9, 2, 1, 2}, {3, 3}), lengths = row({3, 1, 3});
  for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
    expect_gradients(
        [&](const Inputs& in) {
          return ctc_loss(log_softmax(in[0]), targets, row({7, 4, 5}), lengths, {0, reduction, false});
        },
        {x});
  expect_gradients(  // no labels at all, and frames that are just enough
      [&](const Inputs& in) { return ctc_loss(log_softmax(in[0]), row({1, 1}), row({7, 0, 3}), row({0, 0, 2})); }, {x});
}

TEST(Ctc, FramesBeyondALengthCountNothing) {
  Tensor y = log_softmax(numbers({5, 2, 3}, 3)), other = y.clone();
  for (std::int64_t t = 3; t < 5; ++t)
    for (std::int64_t k = 0; k < 3; ++k) other.mutable_data<double>()[(t * 2 + 1) * 3 + k] = NAN;
  const Tensor a = leaf(y), b = leaf(other);
  const Tensor one = ctc_loss(a, row({1, 2, 2}), row({5, 3}), row({2, 1})),
               two = ctc_loss(b, row({1, 2, 2}), row({5, 3}), row({2, 1}));
  EXPECT_EQ(one.item(), two.item());
  one.backward();
  two.backward();
  for (std::int64_t i = 0; i < y.numel(); ++i) ASSERT_EQ(a.grad().data<double>()[i], b.grad().data<double>()[i]);
  EXPECT_EQ(a.grad().data<double>()[(4 * 2 + 1) * 3], 0.0);
}

TEST(Ctc, TooFewFrames) {
  const Tensor y = log_softmax(numbers({4, 2, 3}, 4));
  const Tensor targets = row({1, 1, 1, 2}), frames = row({4, 4}), lengths = row({3, 1});  // 1 1 1 needs five frames
  const Tensor strict = leaf(y), lenient = leaf(y);
  const Tensor loss = ctc_loss(strict, targets, frames, lengths, {0, Reduction::none, false});
  EXPECT_EQ(loss.data<double>()[0], std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isfinite(loss.data<double>()[1]));
  sum(loss).backward();
  EXPECT_TRUE(std::isnan(strict.grad().data<double>()[0]));
  EXPECT_TRUE(std::isfinite(strict.grad().data<double>()[3]));
  const Tensor zero = ctc_loss(lenient, targets, frames, lengths, {0, Reduction::none, true});
  EXPECT_EQ(zero.data<double>()[0], 0.0);
  EXPECT_EQ(zero.data<double>()[1], loss.data<double>()[1]);
  sum(zero).backward();
  EXPECT_EQ(lenient.grad().data<double>()[0], 0.0);
  EXPECT_EQ(lenient.grad().data<double>()[3], strict.grad().data<double>()[3]);
}

TEST(Ctc, NotANumberIsNotHiddenByZeroInfinity) {
  Tensor y = log_softmax(numbers({4, 1, 3}, 5));
  y.mutable_data<double>()[4] = NAN;
  EXPECT_TRUE(std::isnan(ctc_loss(y, row({1, 2}), row({4}), row({2}), {0, Reduction::mean, true}).item()));
}

TEST(Ctc, AnyNumberOfThreadsGivesTheSameBits) {
  const Tensor y = log_softmax(mul(numbers({80, 9, 12}, 6, DType::float32), 3.0));
  Labels labels, frames, lengths;
  for (std::int64_t n = 0; n < 9; ++n) {
    frames.push_back(80 - 3 * n);
    lengths.push_back(5 + n);
    for (std::int64_t s = 0; s < lengths.back(); ++s) labels.push_back(1 + (s * 5 + n) % 11);
  }
  const int before = get_num_threads();
  std::vector<float> first;
  for (const int threads : {1, 2, 3, 5}) {
    set_num_threads(threads);
    const Tensor x = leaf(y);
    const Tensor loss = ctc_loss(x, row(labels), row(frames), row(lengths));
    loss.backward();
    std::vector<float> got(x.grad().data<float>(), x.grad().data<float>() + y.numel());
    got.push_back(loss.data<float>()[0]);
    if (first.empty()) first = got;
    EXPECT_EQ(got, first) << threads << " threads";
  }
  set_num_threads(before);
}

TEST(Ctc, GreedyIsTheBestPath) {
  // Best classes: 1 1 0 1 2 2 | the second sequence ends after two frames.
  const Labels best = {1, 1, 0, 1, 2, 2};
  Tensor x = Tensor::zeros({6, 2, 3}, DType::float64);
  for (std::int64_t t = 0; t < 6; ++t)
    for (std::int64_t n = 0; n < 2; ++n) x.mutable_data<double>()[(t * 2 + n) * 3 + best[t]] = 1.0;
  const Tensor y = log_softmax(x);
  const auto found = ctc_greedy_search(y, row({6, 2}));
  EXPECT_EQ(found[0].labels, (Labels{1, 1, 2}));
  EXPECT_EQ(found[1].labels, (Labels{1}));
  EXPECT_NEAR(found[1].log_prob, 2 * y.data<double>()[1], 1e-12);
}

TEST(Ctc, AWideBeamFindsTheExactProbabilities) {
  for (const std::int64_t blank : {0, 3}) {
    for (std::uint64_t salt = 10; salt < 16; ++salt) {
      const Tensor y = log_softmax(mul(numbers({5, 1, 4}, salt), 1.5));
      const auto sums = all_labellings(y, 0, 5, blank);
      const auto beam = ctc_beam_search(y, row({5}), 10000, 10000, blank)[0];
      ASSERT_EQ(beam.size(), sums.size());
      double before = 0.0;
      for (const CtcHypothesis& h : beam) {
        ASSERT_NEAR(std::exp(h.log_prob), sums.at(h.labels), 1e-12);
        ASSERT_LE(h.log_prob, before);
        before = h.log_prob;
      }
      const auto narrow = ctc_beam_search(y, row({5}), 8, 1, blank)[0];
      ASSERT_EQ(narrow.size(), 1u);
      EXPECT_LE(std::exp(narrow[0].log_prob), sums.at(narrow[0].labels) + 1e-12);
    }
  }
}

// Two frames, P(blank) = 0.6: the best path says nothing, but "a" is more probable than nothing (0.64 to 0.36).
TEST(Ctc, PrefixSearchBeatsTheBestPath) {
  const Tensor y = log(Tensor::from(std::vector<double>{0.6, 0.4, 0.6, 0.4}, {2, 1, 2}));
  EXPECT_TRUE(ctc_greedy_search(y, row({2}))[0].labels.empty());
  const auto best = ctc_beam_search(y, row({2}), 4, 2)[0];
  EXPECT_EQ(best[0].labels, (Labels{1}));
  EXPECT_NEAR(std::exp(best[0].log_prob), 0.64, 1e-12);
  EXPECT_NEAR(std::exp(best[1].log_prob), 0.36, 1e-12);
}

void expect_refused(const std::function<void()>& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "accepted, expected: " << part;
  } catch (const std::invalid_argument& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
  }
}

TEST(Ctc, BadInputIsOneClearError) {
  const Tensor y = log_softmax(numbers({4, 2, 3}, 7)), frames = row({4, 4}), lengths = row({1, 2});
  const auto loss = [&](const Tensor& targets, const Tensor& T, const Tensor& S, CtcOptions options = {}) {
    return [=] { ctc_loss(y, targets, T, S, options); };
  };
  expect_refused(loss(row({1, 2, 3}), frames, lengths), "[ctc_loss] targets of sequence 1, label 1: expected a class");
  expect_refused(loss(row({1, 0, 2}), frames, lengths), "other than blank 0, got 0");
  expect_refused(loss(row({1, 2, 2}), row({4, 5}), lengths), "input_lengths[1]: expected a length in [0, 4], got 5");
  expect_refused(loss(row({1, 2}), frames, lengths), "targets: expected the sum of target_lengths, 3 labels, got 2");
  expect_refused(loss(ids({1, 1, 2, 2}, {2, 2}), frames, row({1, 3})), "target_lengths[1]");
  expect_refused(loss(ids({1, 1, 2}, {3, 1}), frames, lengths), "targets: expected shape (N, S) with N = 2");
  expect_refused(loss(row({1, 2, 2}), row({4}), lengths), "input_lengths: expected shape (N,) = (2,)");
  expect_refused(loss(row({1, 2, 2}), frames, lengths, {3, Reduction::mean, false}), "blank: expected a class");
  expect_refused([&] { ctc_loss(y.reshape({8, 3}), row({1}), frames, lengths); },
                 "log_probs: expected shape (T, N, C)");
  expect_refused([&] { ctc_beam_search(y, frames, 2, 3); }, "[ctc_beam_search] top: expected in [1, beam = 2], got 3");
  expect_refused([&] { ctc_beam_search(y, frames, 0); }, "beam: expected at least 1");
  expect_refused([&] { ctc_greedy_search(y, row({4, -1})); }, "input_lengths[1]");
}

}  // namespace
}  // namespace rnncore::test
