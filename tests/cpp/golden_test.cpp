// The recurrent layers against tests/golden (made by PyTorch): outputs and all gradients, float64 to 1e-10, on every
// instruction set that this machine supports. A wrong sign, gate order or boundary of a ragged batch fails here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "rnncore/rnncore.hpp"

namespace rnncore {
namespace {

std::vector<std::filesystem::path> golden_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(RNNCORE_GOLDEN_FOLDER))
    if (entry.path().filename().string().rfind("recurrent_", 0) == 0) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

struct Golden {
  std::map<std::string, Tensor> tensors;
  RecurrentSpec spec;

  explicit Golden(const std::filesystem::path& path) {
    const TensorFile file = load_tensors(path.string());
    for (const auto& [name, tensor] : file.tensors) tensors[name] = tensor;
    const auto json = nlohmann::json::parse(file.metadata.at("case"));
    spec.input_size = json.at("I").get<std::int64_t>();
    spec.bias = json.at("bias").get<bool>();
    spec.bidirectional = json.at("bidirectional").get<bool>();
    LayerSpec layer{cell_from_name(json.at("cell").get<std::string>()), json.at("H").get<std::int64_t>()};
    layer.proj_size = json.value("proj", std::int64_t{0});
    spec.layers.assign(json.at("layers").get<std::size_t>(), layer);
  }
  bool has(const std::string& name) const { return tensors.count(name) != 0; }
  Tensor leaf(const std::string& name) const { return tensors.at(name).clone().set_requires_grad(true); }
};

// (slots, N, H) -> one leaf (N, H) per layer and direction.
std::vector<Tensor> state_leaves(const Golden& golden, const std::string& name) {
  std::vector<Tensor> leaves;
  if (!golden.has(name)) return leaves;
  const Tensor& all = golden.tensors.at(name);
  const std::int64_t N = all.size(1), H = all.size(2);
  for (std::int64_t slot = 0; slot < all.size(0); ++slot)
    leaves.push_back(Tensor::from(all.data<double>() + slot * N * H, {N, H}).set_requires_grad(true));
  return leaves;
}

void expect_close(const std::string& name, const double* got, const double* wanted, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i)
    ASSERT_NEAR(got[i], wanted[i], 1e-10 * std::max(1.0, std::abs(wanted[i]))) << name << ", element " << i;
}

void expect_close(const std::string& name, const Tensor& got, const Tensor& wanted) {
  ASSERT_TRUE(got.defined()) << name;
  ASSERT_EQ(got.shape(), wanted.shape()) << name;
  expect_close(name, got.data<double>(), wanted.data<double>(), wanted.numel());
}

// Each (N, H) of `got` against its slot of wanted (slots, N, H); `pick` takes what is compared.
template <typename Pick>
void expect_slots(const std::string& name, const std::vector<Tensor>& got, const Tensor& wanted, const Pick& pick) {
  ASSERT_EQ(static_cast<std::int64_t>(got.size()), wanted.size(0)) << name;
  for (std::size_t slot = 0; slot < got.size(); ++slot) {
    const Tensor part = pick(got[slot]);
    ASSERT_TRUE(part.defined()) << name;
    expect_close(name, part.data<double>(), wanted.data<double>() + static_cast<std::int64_t>(slot) * part.numel(),
                 part.numel());
  }
}

// <value, seed> added to `loss`.
void feed(Tensor& loss, const Tensor& value, const Tensor& seed) {
  const Tensor term = sum(mul(value, seed.reshape(value.shape())));
  loss = loss.defined() ? add(loss, term) : term;
}

void feed_slots(Tensor& loss, const std::vector<Tensor>& values, const Tensor& seed) {
  for (std::size_t slot = 0; slot < values.size(); ++slot) {
    const Tensor part = slice(seed, 0, static_cast<std::int64_t>(slot), static_cast<std::int64_t>(slot) + 1);
    feed(loss, values[slot], part);
  }
}

void check_case(const Golden& golden) {
  std::vector<Tensor> parameters;
  for (const ParameterInfo& info : parameters_of(golden.spec))
    parameters.push_back(golden.leaf("parameter." + info.name));
  RecurrentInput input;
  input.x = golden.leaf("x");
  input.state.h = state_leaves(golden, "h_0");
  input.state.c = state_leaves(golden, "c_0");
  if (golden.has("lengths")) input.lengths = golden.tensors.at("lengths");
  if (golden.has("reset_mask")) input.reset_mask = golden.tensors.at("reset_mask");

  const RecurrentOutput output = recurrent(golden.spec, parameters, input);
  const auto itself = [](const Tensor& t) { return t; };
  expect_close("y", output.y, golden.tensors.at("y"));
  expect_slots("h_n", output.state.h, golden.tensors.at("h_n"), itself);
  if (golden.has("c_n")) expect_slots("c_n", output.state.c, golden.tensors.at("c_n"), itself);

  Tensor loss;
  feed(loss, output.y, golden.tensors.at("dy"));
  feed_slots(loss, output.state.h, golden.tensors.at("dh_n"));
  if (golden.has("dc_n")) feed_slots(loss, output.state.c, golden.tensors.at("dc_n"));
  loss.backward();

  const auto gradient = [](const Tensor& t) { return t.grad(); };
  expect_close("grad.x", input.x.grad(), golden.tensors.at("grad.x"));
  expect_slots("grad.h_0", input.state.h, golden.tensors.at("grad.h_0"), gradient);
  if (golden.has("grad.c_0")) expect_slots("grad.c_0", input.state.c, golden.tensors.at("grad.c_0"), gradient);
  std::size_t index = 0;
  for (const ParameterInfo& info : parameters_of(golden.spec))
    expect_close("grad." + info.name, parameters[index++].grad(), golden.tensors.at("grad." + info.name));
}

class GoldenTest : public testing::TestWithParam<std::filesystem::path> {
 protected:
  void TearDown() override { set_target(supported_targets().front()); }
};

TEST_P(GoldenTest, OutputsAndGradientsArePyTorchs) {
  const Golden golden(GetParam());
  for (const std::string& target : supported_targets()) {
    SCOPED_TRACE(target);
    set_target(target);
    check_case(golden);
  }
}

INSTANTIATE_TEST_SUITE_P(Recurrent, GoldenTest, testing::ValuesIn(golden_files()),
                         [](const auto& info) { return info.param.stem().string(); });

}  // namespace
}  // namespace rnncore
