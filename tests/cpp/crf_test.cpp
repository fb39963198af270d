// Linear-chain CRF against the sum over all paths; gradients; constraints; pooling over time against each sequence
// alone.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "gradcheck.h"

namespace rnncore::test {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();

struct Case {
  std::int64_t T, N, K;
  std::vector<std::int64_t> lengths;
};
const Case kCases[] = {{1, 1, 1, {1}}, {4, 3, 3, {4, 2, 1}}, {5, 2, 4, {5, 3}}, {3, 3, 2, {3, 0, 2}}};

struct Problem {
  Tensor emissions, lengths, targets;
  CrfWeights weights;
};
Problem problem_of(const Case& c, DType dtype = DType::float64) {
  Problem p;
  p.emissions = numbers({c.T, c.N, c.K}, 1, dtype);
  p.weights = {numbers({c.K, c.K}, 2, dtype), numbers({c.K}, 3, dtype), numbers({c.K}, 4, dtype)};
  p.lengths = Tensor::from(c.lengths.data(), {c.N});
  p.targets = Tensor::full({c.T, c.N}, -100, DType::int64);
  for (std::int64_t n = 0; n < c.N; ++n)
    for (std::int64_t t = 0; t < c.lengths[static_cast<std::size_t>(n)]; ++t)
      p.targets.mutable_data<std::int64_t>()[t * c.N + n] = (2 * t + n) % c.K;
  return p;
}

double score(const Problem& p, std::int64_t n, const std::vector<std::int64_t>& path) {
  const std::int64_t N = p.emissions.size(1), K = p.emissions.size(2), L = static_cast<std::int64_t>(path.size());
  double total = p.weights.start.data<double>()[path[0]] + p.weights.end.data<double>()[path.back()];
  for (std::int64_t t = 0; t < L; ++t) {
    total += p.emissions.data<double>()[(t * N + n) * K + path[static_cast<std::size_t>(t)]];
    if (t > 0)
      total += p.weights.transitions
                   .data<double>()[path[static_cast<std::size_t>(t - 1)] * K + path[static_cast<std::size_t>(t)]];
  }
  return total;
}

// f(path) for all K^L paths.
void all_paths(std::int64_t K, std::int64_t L, const std::function<void(const std::vector<std::int64_t>&)>& f) {
  std::vector<std::int64_t> path(static_cast<std::size_t>(L), 0);
  while (true) {
    f(path);
    std::int64_t t = L - 1;
    while (t >= 0 && ++path[static_cast<std::size_t>(t)] == K) path[static_cast<std::size_t>(t--)] = 0;
    if (t < 0) return;
  }
}

TEST(Crf, LossAndBestPathAreThoseOfAllPaths) {
  for (const Case& c : kCases) {
    SCOPED_TRACE("K " + std::to_string(c.K));
    const Problem p = problem_of(c);
    const Tensor losses = crf_loss(p.emissions, p.weights, p.targets, p.lengths);
    const Tensor tags = crf_decode(p.emissions, p.weights, p.lengths);
    ASSERT_EQ(losses.shape(), Shape{c.N});
    for (std::int64_t n = 0; n < c.N; ++n) {
      const std::int64_t L = c.lengths[static_cast<std::size_t>(n)];
      for (std::int64_t t = L; t < c.T; ++t) EXPECT_EQ(tags.data<std::int64_t>()[t * c.N + n], -100);
      if (L == 0) {
        EXPECT_EQ(losses.data<double>()[n], 0.0);
        continue;
      }
      long double sum = 0;
      double best = kNever;
      std::vector<std::int64_t> gold, found, likeliest;
      for (std::int64_t t = 0; t < L; ++t) {
        gold.push_back(p.targets.data<std::int64_t>()[t * c.N + n]);
        found.push_back(tags.data<std::int64_t>()[t * c.N + n]);
      }
      all_paths(c.K, L, [&](const std::vector<std::int64_t>& path) {
        const double s = score(p, n, path);
        sum += std::exp(static_cast<long double>(s));
        if (s > best) {
          best = s;
          likeliest = path;
        }
      });
      EXPECT_NEAR(losses.data<double>()[n], static_cast<double>(std::log(sum)) - score(p, n, gold), 1e-12);
      EXPECT_EQ(found, likeliest);
    }
  }
}

TEST(Crf, Gradients) {
  for (const Case& c : kCases) {
    const Problem p = problem_of(c);
    expect_gradients(
        [&](const std::vector<Tensor>& in) { return crf_loss(in[0], {in[1], in[2], in[3]}, p.targets, p.lengths); },
        {p.emissions, p.weights.transitions, p.weights.start, p.weights.end});
  }
}

TEST(Crf, LongSequencesNeitherOverflowNorVanish) {
  const std::int64_t T = 2000;
  const Tensor emissions = mul(numbers({T, 1, 3}, 9), 500.0);
  const CrfWeights weights{numbers({3, 3}, 10), numbers({3}, 11), numbers({3}, 12)};
  const Tensor best = crf_decode(emissions, weights);
  const double loss = crf_loss(emissions, weights, best).item();
  EXPECT_GE(loss, 0.0);
  EXPECT_LT(loss, 1e3);
}

const std::vector<std::string> kLabels = {"O", "B-a", "I-a", "B-b", "I-b"};

bool is_bio(const std::vector<std::int64_t>& path) {
  std::int64_t before = 0;
  for (const std::int64_t tag : path) {
    if (tag == 2 && before != 1 && before != 2) return false;
    if (tag == 4 && before != 3 && before != 4) return false;
    before = tag;
  }
  return true;
}

TEST(Crf, PenaltiesLeaveBioSequencesAlone) {
  CrfWeights weights = bio_penalties(kLabels, DType::float64);
  Problem p;
  p.emissions = Tensor::zeros({4, 1, 5}, DType::float64);
  p.weights = weights;
  std::int64_t valid = 0;
  all_paths(5, 4, [&](const std::vector<std::int64_t>& path) {
    EXPECT_EQ(score(p, 0, path) == 0.0, is_bio(path));
    valid += is_bio(path) ? 1 : 0;
  });
  const Tensor outside = Tensor::zeros({4, 1}, DType::int64);
  EXPECT_NEAR(crf_loss(p.emissions, weights, outside).item(), std::log(static_cast<double>(valid)), 1e-12);
  const std::int64_t broken[] = {0, 2, 0, 0};
  EXPECT_THROW(crf_loss(p.emissions, weights, Tensor::from(broken, {4, 1})), ArgumentError);
}

TEST(Crf, GradientsWithForbiddenPairs) {
  const CrfWeights penalties = bio_penalties(kLabels, DType::float64);
  const std::int64_t path[] = {0, 3, 4, 1, 2, 0};
  const Tensor targets = Tensor::from(path, {6, 1});
  expect_gradients(
      [&](const std::vector<Tensor>& in) {
        return crf_loss(in[0], {add(in[1], penalties.transitions), add(in[2], penalties.start), in[3]}, targets);
      },
      {numbers({6, 1, 5}, 21), numbers({5, 5}, 22), numbers({5}, 23), numbers({5}, 24)});
}

// Whatever the scores say, decoding is BIO.
TEST(Crf, ConstrainedDecodingIsAlwaysBio) {
  const CrfWeights penalties = bio_penalties(kLabels, DType::float32);
  for (std::uint64_t salt = 0; salt < 50; ++salt) {
    Tensor emissions = mul(numbers({9, 7, 5}, 100 + salt, DType::float32), 30.0);
    const Tensor tags = crf_decode(emissions, penalties);
    for (std::int64_t n = 0; n < 7; ++n) {
      std::vector<std::int64_t> found;
      for (std::int64_t t = 0; t < 9; ++t) found.push_back(tags.data<std::int64_t>()[t * 7 + n]);
      ASSERT_TRUE(is_bio(found));
    }
  }
}

TEST(Crf, TheSameBitsForAnyNumberOfThreads) {
  const std::int64_t T = 60, N = 33, K = 20;
  std::vector<Tensor> found[2];
  const int before = get_num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    std::vector<Tensor> in = {leaf(numbers({T, N, K}, 31, DType::float32)), leaf(numbers({K, K}, 32, DType::float32)),
                              leaf(numbers({K}, 33, DType::float32)), leaf(numbers({K}, 34, DType::float32))};
    const Tensor targets = Tensor::full({T, N}, 3, DType::int64);
    const Tensor losses = crf_loss(in[0], {in[1], in[2], in[3]}, targets);
    sum(losses).backward();
    auto& result = found[threads == 1 ? 0 : 1];
    result.push_back(losses.detach());
    for (const Tensor& t : in) result.push_back(t.grad());
    result.push_back(max_over_time(in[0].detach()));
    result.push_back(mean_over_time(in[0].detach()));
  }
  set_num_threads(before);
  for (std::size_t i = 0; i < found[0].size(); ++i)
    EXPECT_EQ(std::memcmp(found[0][i].raw(), found[1][i].raw(), static_cast<std::size_t>(found[0][i].numel()) * 4), 0);
}

TEST(Crf, ArgumentsAreChecked) {
  const Problem p = problem_of(kCases[1]);
  const auto fails = [&](const Tensor& e, const CrfWeights& w, const Tensor& y, const Tensor& l, const char* part) {
    try {
      crf_loss(e, w, y, l);
      FAIL() << part;
    } catch (const std::invalid_argument& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  fails(p.emissions, {p.weights.start, p.weights.start, p.weights.end}, p.targets, p.lengths, "transitions");
  fails(p.emissions, p.weights, Tensor::zeros({2, 2}, DType::int64), p.lengths, "targets");
  fails(p.emissions, p.weights, Tensor::full({4, 3}, 3, DType::int64), p.lengths, "targets[0, 0]");
  fails(p.emissions, p.weights, p.targets, Tensor::full({3}, 5, DType::int64), "lengths[0]");
  fails(p.emissions.to(DType::float32), p.weights, p.targets, p.lengths, "float32");
}

TEST(PoolingOverTime, IsThatOfEachSequenceAlone) {
  const Tensor a = numbers({6, 4, 5}, 41);
  const std::int64_t lengths[] = {6, 1, 0, 3};
  const Tensor steps = Tensor::from(lengths, {4});
  const Tensor largest = max_over_time(a, steps), average = mean_over_time(a, steps);
  for (std::int64_t n = 0; n < 4; ++n)
    for (std::int64_t f = 0; f < 5; ++f) {
      double max = lengths[n] > 0 ? kNever : 0.0, total = 0;
      for (std::int64_t t = 0; t < lengths[n]; ++t) {
        max = std::max(max, a.data<double>()[(t * 4 + n) * 5 + f]);
        total += a.data<double>()[(t * 4 + n) * 5 + f];
      }
      EXPECT_EQ(largest.data<double>()[n * 5 + f], max);
      EXPECT_NEAR(average.data<double>()[n * 5 + f], total / std::max<double>(1.0, static_cast<double>(lengths[n])),
                  1e-15);
    }
}

TEST(PoolingOverTime, Gradients) {
  const std::int64_t lengths[] = {6, 1, 0, 3};
  const Tensor steps = Tensor::from(lengths, {4});
  for (const Tensor& l : {Tensor(), steps}) {
    expect_gradients([&](const std::vector<Tensor>& in) { return max_over_time(in[0], l); }, {numbers({6, 4, 5}, 42)});
    expect_gradients([&](const std::vector<Tensor>& in) { return mean_over_time(in[0], l); }, {numbers({6, 4, 5}, 43)});
  }
}

// Backward reads the lengths that forward checked: new ones would reach past the ends of the tensors.
TEST(PoolingOverTime, LengthsThatChangeBeforeBackwardAreNoticed) {
  const Problem p = problem_of(kCases[1]);
  const auto expect_noticed = [](const Tensor& loss, Tensor lengths, const char* name) {
    lengths.fill_(1000);
    try {
      loss.backward();
      ADD_FAILURE() << name << ": accepted";
    } catch (const ArgumentError& error) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    }
  };
  const auto fresh = [&] { return p.lengths.clone(); };
  Tensor lengths = fresh();
  expect_noticed(sum(crf_loss(leaf(p.emissions), p.weights, p.targets, lengths)), lengths, "[crf_loss backward]");
  lengths = fresh();
  expect_noticed(sum(max_over_time(leaf(p.emissions), lengths)), lengths, "[max_over_time backward]");
  lengths = fresh();
  expect_noticed(sum(mean_over_time(leaf(p.emissions), lengths)), lengths, "[mean_over_time backward]");
}

TEST(PoolingOverTime, ANanIsNotHiddenAndEqualsGoToTheFirst) {
  Tensor a = Tensor::zeros({3, 1, 2}, DType::float64);
  a.mutable_data<double>()[2] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(max_over_time(a).data<double>()[0]));
  const Tensor equal = leaf(Tensor::full({3, 1, 1}, 2.0, DType::float64));
  sum(max_over_time(equal)).backward();
  EXPECT_EQ(equal.grad().data<double>()[0], 1.0);
  EXPECT_EQ(equal.grad().data<double>()[1], 0.0);
}

}  // namespace
}  // namespace rnncore::test
