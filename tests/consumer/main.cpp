// Uses the installed package as a stranger would: saves and loads a model, streams it, trains it a little and meets an
// error. Exits with 0 only if everything came out right.
#include <rnncore/rnncore.hpp>

#include <cstdio>
#include <iostream>
#include <vector>

namespace {

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::cerr << "consumer: failed: " << what << "\n";
  ++failures;
}

rnncore::ModelFile new_model() {
  rnncore::ModelFile file;
  file.spec.vocab_size = 7;
  file.spec.embedding_size = 4;
  file.spec.recurrent.input_size = 4;
  file.spec.recurrent.layers = {{rnncore::CellKind::lstm, 6}, {rnncore::CellKind::lstm, 5}};
  rnncore::Generator generator(1);
  for (const rnncore::ParameterInfo& info : rnncore::parameters_of(file.spec)) {
    rnncore::Tensor parameter = rnncore::Tensor::empty(info.shape);
    generator.uniform_(parameter, -0.5, 0.5);
    file.parameters.emplace_back(info.name, parameter);
  }
  return file;
}

std::vector<rnncore::Tensor> stack_parameters(const rnncore::ModelFile& model) {
  std::vector<rnncore::Tensor> parameters;
  for (const auto& [name, tensor] : model.parameters)
    if (name.rfind("rnn.", 0) == 0) parameters.push_back(tensor);
  return parameters;
}

void stream_equals_sequence(const rnncore::ModelFile& model) {
  const std::int64_t T = 9, I = 4, H = 5;
  rnncore::Generator generator(2);
  rnncore::RecurrentInput input;
  input.x = rnncore::Tensor::empty({T, 1, I});
  generator.uniform_(input.x, -1, 1);
  const rnncore::Tensor y = rnncore::recurrent(model.spec.recurrent, stack_parameters(model), input).y;
  rnncore::Stream stream(model.spec.recurrent, stack_parameters(model));
  std::vector<float> out(H);
  for (std::int64_t t = 0; t < T; ++t) {
    stream.step(input.x.data<float>() + t * I, out.data());
    for (std::int64_t j = 0; j < H; ++j)
      expect(out[static_cast<std::size_t>(j)] == y.data<float>()[t * H + j], "a streamed step has the sequence's bits");
  }
}

void training_lowers_the_loss(const rnncore::ModelFile& model) {
  std::vector<rnncore::Tensor> parameters = stack_parameters(model);
  for (rnncore::Tensor& parameter : parameters) parameter.set_requires_grad(true);
  rnncore::OptimizerOptions options;
  options.kind = rnncore::OptimizerKind::adam;
  options.lr = 0.01;
  rnncore::Optimizer optimizer(parameters, options);
  rnncore::RecurrentInput input;
  input.x = rnncore::Tensor::full({6, 3, 4}, 0.5);
  double first = 0, last = 0;
  for (int step = 0; step < 30; ++step) {
    optimizer.zero_grad();
    const rnncore::Tensor error = rnncore::add(rnncore::recurrent(model.spec.recurrent, parameters, input).y, -0.3);
    const rnncore::Tensor loss = rnncore::mean(rnncore::mul(error, error));
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item();
  }
  expect(last < 0.5 * first, "thirty updates halve the loss");
}

void errors_are_typed() {
  try {
    rnncore::load_model("/nonexistent/model.safetensors");
    expect(false, "a missing file is an error");
  } catch (const rnncore::IoError& e) {
    expect(std::string(e.what()).find("/nonexistent/model.safetensors") != std::string::npos,
           "the error names the file");
  }
}

}  // namespace

int main() {
  std::cout << "rnncore " << rnncore::version() << " on " << rnncore::target_name() << "\n";
  const char* path = "consumer.safetensors";
  rnncore::save_model(path, new_model());
  const rnncore::ModelFile model = rnncore::load_model(path);
  std::remove(path);
  expect(model.parameters.size() == 11, "the model has its parameters");
  stream_equals_sequence(model);
  training_lowers_the_loss(model);
  errors_are_typed();
  return failures == 0 ? 0 : 1;
}
