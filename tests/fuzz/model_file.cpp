// The fuzzer's entry to everything that reads what others may have written: files, specifications, vocabularies.
// The first byte chooses; an input either gives something that can be used, or the one documented error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "rnncore/rnncore.hpp"

namespace {

using namespace rnncore;

// A model that was accepted runs, and is written and read again as it was.
void use(const Model& model) {
  std::int64_t elements = 0;
  for (const auto& [name, tensor] : model.named_parameters()) elements += tensor.numel();
  if (elements > 20000) return;
  const ModelSpec& spec = model.spec();
  ModelInput input;
  if (spec.reads_tokens())
    input.ids = Tensor::zeros({2, 1}, DType::int64);
  else
    input.x = Tensor::zeros({2, 1, spec.recurrent.input_size}, model.dtype());
  if (spec.characters.vocab_size > 0) {
    input.char_ids = Tensor::zeros({3, 1}, DType::int64);
    input.char_lengths = Tensor::full({1}, 3, DType::int64);
    input.char_index = Tensor::zeros({2, 1}, DType::int64);
  }
  const NoGradGuard guard;
  if (model.forward(input).y.numel() == 0) __builtin_trap();
  if (spec.kind == ModelKind::classifier || spec.kind == ModelKind::tagger) model.decode(input);
  if (to_json(model_spec_from_json(to_json(spec))) != to_json(spec)) __builtin_trap();
  if (model.has_vocabulary()) model.vocabulary().decode({0});
}

void read_file(const std::string& bytes) {
  try {
    use(parse_model(bytes.data(), bytes.size(), "fuzz"));
  } catch (const IoError&) {
  }
}

// Header text, a NUL, data: with a length in front that is right, so that mutations reach what lies behind it.
void read_with_length(const std::string& bytes) {
  const std::size_t end = bytes.find('\0');
  const std::uint64_t length = end == std::string::npos ? bytes.size() : end;
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(length >> (8 * i));
  file += bytes.substr(0, length);
  if (end != std::string::npos) file += bytes.substr(end + 1);
  read_file(file);
}

void read_text(const std::string& text) {
  try {
    const ModelSpec spec = model_spec_from_json(text);
    if (parameters_of(spec).empty()) __builtin_trap();
    if (to_json(model_spec_from_json(to_json(spec))) != to_json(spec)) __builtin_trap();
  } catch (const ArgumentError&) {
  }
  try {
    const Vocabulary vocabulary = Vocabulary::from_json(text);
    if (Vocabulary::from_json(vocabulary.to_json()).to_json() != vocabulary.to_json()) __builtin_trap();
    vocabulary.decode(vocabulary.encode(text));
  } catch (const ArgumentError&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      read_file(rest);
      break;
    case 1:
      read_with_length(rest);
      break;
    default:
      read_text(rest);
  }
  return 0;
}
