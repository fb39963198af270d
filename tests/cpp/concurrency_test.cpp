// Several threads of the caller's in the engine at once, each with a team of its own. Under a thread sanitizer
// (`make sanitize`) this is what shows races between calls; without one it still compares the bits.
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "gradcheck.h"
#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

using test::numbers;

constexpr int kCallers = 4;

class Concurrency : public testing::TestWithParam<CellKind> {
 protected:
  void SetUp() override {
    threads_ = get_num_threads();
    set_num_threads(2);
  }
  void TearDown() override { set_num_threads(threads_); }
  int threads_ = 1;
};
std::string cell_label(const testing::TestParamInfo<CellKind>& info) {
  std::string name = name_of(info.param);
  for (char& c : name)
    if (c == '-') c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Cells, Concurrency,
                         testing::Values(CellKind::rnn_tanh, CellKind::lstm, CellKind::gru, CellKind::gru_reset_before),
                         cell_label);

template <class F>
void from_all_callers(const F& f) {
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) callers.emplace_back(f, i);
  for (std::thread& caller : callers) caller.join();
}

void expect_same_bits(const Tensor& a, const Tensor& b, const char* what) {
  ASSERT_EQ(a.shape(), b.shape()) << what;
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.numel() * size_of(a.dtype()))), 0) << what;
}

// Packs the shared weights, runs teams and adds into the same gradients, all at once.
TEST_P(Concurrency, StepsOnSharedParametersEqualOneAfterTheOther) {
  RecurrentSpec spec;
  spec.input_size = 40;
  spec.layers = {{GetParam(), 96}};
  const auto make_parameters = [&] {
    std::vector<Tensor> parameters;
    std::uint64_t salt = 0;
    for (const ParameterInfo& info : parameters_of(spec))
      parameters.push_back(numbers(info.shape, ++salt, DType::float32).set_requires_grad(true));
    return parameters;
  };
  const auto step = [&](const std::vector<Tensor>& parameters, Tensor& x) {
    RecurrentInput input;
    x = numbers({5, 24, 40}, 7, DType::float32).set_requires_grad(true);
    input.x = x;
    const Tensor y = recurrent(spec, parameters, input).y;
    sum(mul(y, y)).backward();
  };
  const std::vector<Tensor> serial = make_parameters(), shared = make_parameters();
  std::vector<Tensor> serial_x(kCallers), shared_x(kCallers);
  const auto steps = [&](const std::vector<Tensor>& parameters, Tensor& x) {
    for (int repeat = 0; repeat < 12; ++repeat) step(parameters, x);
  };
  for (int i = 0; i < kCallers; ++i) steps(serial, serial_x[static_cast<std::size_t>(i)]);
  from_all_callers([&](int i) { steps(shared, shared_x[static_cast<std::size_t>(i)]); });
  for (std::size_t i = 0; i < kCallers; ++i) expect_same_bits(serial_x[i].grad(), shared_x[i].grad(), "dx");
  // Equal contributions have the same sum in every order.
  for (std::size_t i = 0; i < serial.size(); ++i) expect_same_bits(serial[i].grad(), shared[i].grad(), "dW");
}

TEST(ConcurrentCalls, LossesAndUpdatesOfSeparateModels) {
  std::vector<Tensor> weights(kCallers);
  from_all_callers([&](int i) {
    Tensor weight = numbers({300, 64}, 3, DType::float32).set_requires_grad(true);
    std::vector<std::int64_t> ids;
    for (std::int64_t n = 0; n < 200; ++n) ids.push_back(n * 7 % 300);
    const Tensor targets = Tensor::from(ids, {200});
    OptimizerOptions options;
    options.kind = OptimizerKind::adam;
    Optimizer optimizer({weight}, options);
    Generator generator(5);
    for (int t = 0; t < 3; ++t) {
      optimizer.zero_grad();
      const Tensor x = dropout(embedding(weight, targets), 0.25, true, generator);
      linear_cross_entropy(x, weight, {}, targets).backward();
      optimizer.step({1.0, 0.0});
    }
    weights[static_cast<std::size_t>(i)] = weight;
  });
  for (std::size_t i = 1; i < kCallers; ++i) expect_same_bits(weights[0], weights[i], "weight");
}

}  // namespace
}  // namespace rnncore
