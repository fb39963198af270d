// Attention against the equations written out, central differences, each sequence alone, and any number of threads.
#include <cmath>
#include <cstring>

#include "gradcheck.h"

namespace rnncore::test {
namespace {

struct Case {
  std::int64_t Tq, Ts, N, K, V;
  std::vector<std::int64_t> lengths;  // empty: undefined
  bool additive;
};
// Sizes around whole vectors (8 and 16 lanes), single steps, a sequence of no key.
const Case kCases[] = {{1, 1, 1, 1, 1, {}, false},         {3, 4, 2, 5, 3, {4, 2}, false},
                       {2, 9, 3, 8, 19, {1, 9, 0}, false}, {1, 1, 1, 1, 1, {}, true},
                       {3, 4, 2, 5, 3, {4, 2}, true},      {2, 3, 3, 19, 8, {1, 3, 0}, true},
                       {4, 10, 2, 16, 33, {10, 7}, false}};

struct Problem {
  std::vector<Tensor> in;  // query, keys, values and, additive, v
  Tensor lengths;
};
Problem problem_of(const Case& c, DType dtype = DType::float64) {
  Problem p;
  p.in = {numbers({c.Tq, c.N, c.K}, 1, dtype), numbers({c.Ts, c.N, c.K}, 2, dtype),
          numbers({c.Ts, c.N, c.V}, 3, dtype)};
  if (c.additive) p.in.push_back(numbers({c.K}, 4, dtype));
  if (!c.lengths.empty()) p.lengths = Tensor::from(c.lengths.data(), {c.N});
  return p;
}

Attended run(const std::vector<Tensor>& in, const Tensor& lengths) {
  return attention(in[0], in[1], in[2], lengths, in.size() > 3 ? in[3] : Tensor());
}

TEST(Attention, IsWhatTheEquationsSay) {
  for (const Case& c : kCases) {
    SCOPED_TRACE("K " + std::to_string(c.K) + (c.additive ? " additive" : " dot"));
    const Problem p = problem_of(c);
    const Attended got = run(p.in, p.lengths);
    const auto element = [&](std::size_t which, std::int64_t t, std::int64_t n, std::int64_t f) {
      return static_cast<long double>(p.in[which].data<double>()[(t * c.N + n) * p.in[which].size(2) + f]);
    };
    for (std::int64_t n = 0; n < c.N; ++n) {
      const std::int64_t steps = c.lengths.empty() ? c.Ts : c.lengths[static_cast<std::size_t>(n)];
      for (std::int64_t t = 0; t < c.Tq; ++t) {
        std::vector<long double> share;
        long double total = 0;
        for (std::int64_t s = 0; s < steps; ++s) {
          long double score = 0;
          for (std::int64_t k = 0; k < c.K; ++k)
            score += c.additive ? static_cast<long double>(p.in[3].data<double>()[k]) *
                                      std::tanh(element(0, t, n, k) + element(1, s, n, k))
                                : element(0, t, n, k) * element(1, s, n, k);
          share.push_back(std::exp(score));
          total += share.back();
        }
        for (std::int64_t s = 0; s < c.Ts; ++s) {
          const double want = s < steps ? static_cast<double>(share[static_cast<std::size_t>(s)] / total) : 0.0;
          EXPECT_NEAR(got.weights.data<double>()[(t * c.N + n) * c.Ts + s], want, 1e-14);
        }
        for (std::int64_t f = 0; f < c.V; ++f) {
          long double want = 0;
          for (std::int64_t s = 0; s < steps; ++s)
            want += share[static_cast<std::size_t>(s)] / total * element(2, s, n, f);
          EXPECT_NEAR(got.context.data<double>()[(t * c.N + n) * c.V + f], static_cast<double>(want), 1e-14);
        }
      }
    }
  }
}

TEST(Attention, Gradients) {
  for (const Case& c : kCases) {
    SCOPED_TRACE("K " + std::to_string(c.K) + (c.additive ? " additive" : " dot"));
    const Problem p = problem_of(c);
    using Inputs = std::vector<Tensor>;
    expect_gradients([&](const Inputs& in) { return run(in, p.lengths).context; }, p.in);
    expect_gradients(
        [&](const Inputs& in) {
          const Attended out = run(in, p.lengths);
          return cat({out.context, out.weights}, 2);
        },
        p.in);
  }
}

// No key depends on the values, so a gradient through the weights alone leaves them at zero.
TEST(Attention, GradientsThroughTheWeightsAlone) {
  const Problem p = problem_of(kCases[4]);
  std::vector<Tensor> in;
  for (const Tensor& t : p.in) in.push_back(leaf(t));
  const Attended out = run(in, p.lengths);
  sum(mul(out.weights, numbers(out.weights.shape(), 5))).backward();
  for (std::int64_t i = 0; i < in[2].numel(); ++i) ASSERT_EQ(in[2].grad().data<double>()[i], 0.0);
  EXPECT_NE(in[3].grad().data<double>()[0], 0.0);
}

// Padding and neighbours change no bit, forward or backward, whatever stands in the padding.
TEST(Attention, APaddedSequenceIsTheSequenceAlone) {
  for (const bool additive : {false, true}) {
    const Case c{5, 23, 3, 40, 24, {23, 17, 3}, additive};
    const Problem p = problem_of(c, DType::float32);
    std::vector<Tensor> in;
    for (const Tensor& t : p.in) in.push_back(leaf(t));
    const Attended all = run(in, p.lengths);
    sum(all.context).backward();
    for (std::int64_t n = 0; n < c.N; ++n) {
      const std::int64_t steps = c.lengths[static_cast<std::size_t>(n)];
      std::vector<Tensor> own = {leaf(slice(p.in[0], 1, n, n + 1)),
                                 leaf(slice(slice(p.in[1], 1, n, n + 1), 0, 0, steps)),
                                 leaf(slice(slice(p.in[2], 1, n, n + 1), 0, 0, steps))};
      if (additive) own.push_back(leaf(p.in[3]));
      const Attended alone = run(own, {});
      sum(alone.context).backward();
      const auto same = [&](const Tensor& whole, const Tensor& part) {
        const Tensor cut = slice(slice(whole, 1, n, n + 1), 0, 0, part.size(0)).clone();
        return std::memcmp(cut.raw(), part.raw(), static_cast<std::size_t>(part.numel()) * 4) == 0;
      };
      EXPECT_TRUE(same(all.context.detach(), alone.context.detach()));
      for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(same(in[i].grad(), own[i].grad())) << "input " << i;
    }
  }
}

TEST(Attention, TheSameBitsForAnyNumberOfThreads) {
  const Case c{12, 30, 9, 70, 50, {30, 29, 28, 20, 11, 5, 4, 2, 1}, true};
  std::vector<Tensor> found[2];
  const int before = get_num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const Problem p = problem_of(c, DType::float32);
    std::vector<Tensor> in;
    for (const Tensor& t : p.in) in.push_back(leaf(t));
    const Attended out = run(in, p.lengths);
    sum(add(sum(out.context), sum(mul(out.weights, out.weights)))).backward();
    auto& result = found[threads == 1 ? 0 : 1];
    result = {out.context.detach(), out.weights.detach()};
    for (const Tensor& t : in) result.push_back(t.grad());
  }
  set_num_threads(before);
  for (std::size_t i = 0; i < found[0].size(); ++i)
    EXPECT_EQ(std::memcmp(found[0][i].raw(), found[1][i].raw(), static_cast<std::size_t>(found[0][i].numel()) * 4), 0);
}

TEST(Attention, ArgumentsAreChecked) {
  const Problem p = problem_of(kCases[4]);
  const auto fails = [](const std::vector<Tensor>& in, const Tensor& lengths, const char* part) {
    try {
      run(in, lengths);
      FAIL() << part;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const std::int64_t long_ones[] = {5, 2}, three[] = {1, 1, 1};
  fails({numbers({3, 2}, 1), p.in[1], p.in[2]}, {}, "query: expected shape (Tq, N, K)");
  fails({p.in[0], numbers({4, 2, 6}, 1), p.in[2]}, {}, "keys: expected shape (Ts, N = 2, K = 5)");
  fails({p.in[0], p.in[1], numbers({3, 2, 3}, 1)}, {}, "values: expected shape (Ts = 4, N = 2, V)");
  fails({p.in[0], p.in[1], p.in[2], numbers({4}, 1)}, {}, "v: expected shape (K,)");
  fails(p.in, Tensor::from(long_ones, {2}), "lengths[0]");
  fails(p.in, Tensor::from(three, {3}), "lengths: expected shape (N,)");
  fails({p.in[0], numbers({4, 2, 5}, 1, DType::float32), p.in[2]}, {}, "keys: expected float64");
}

}  // namespace
}  // namespace rnncore::test
