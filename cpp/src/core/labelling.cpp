// Texts to labels: words and letters become ids as Python's `batch_of` makes them.
#include "rnncore/labelling.hpp"

#include <algorithm>
#include <unordered_map>

#include "core/lower_case.h"
#include "core/words.h"
#include "rnncore/error.hpp"

namespace rnncore {
namespace {

using Ids = std::vector<std::int64_t>;

// Side by side (T, N), T at least 1, zeros beyond each length.
Tensor padded(const std::vector<Ids>& columns) {
  std::size_t longest = 1;
  for (const Ids& ids : columns) longest = std::max(longest, ids.size());
  const auto N = static_cast<std::int64_t>(columns.size());
  Tensor out = Tensor::zeros({static_cast<std::int64_t>(longest), N}, DType::int64);
  auto* const at = out.mutable_data<std::int64_t>();
  for (std::size_t n = 0; n < columns.size(); ++n)
    for (std::size_t t = 0; t < columns[n].size(); ++t) at[t * columns.size() + n] = columns[n][t];
  return out;
}

Tensor lengths_of(const std::vector<Ids>& columns) {
  Tensor out = Tensor::empty({static_cast<std::int64_t>(columns.size())}, DType::int64);
  std::transform(columns.begin(), columns.end(), out.mutable_data<std::int64_t>(),
                 [](const Ids& ids) { return static_cast<std::int64_t>(ids.size()); });
  return out;
}

// The words of texts as they are, as they are looked up, and the different ones in the order of their first place.
struct Words {
  std::vector<std::string> looked_up;  // of each text, with blanks between
  std::vector<Ids> places;             // of each text's words in `different`
  std::vector<Ids> different;          // their letters
};

Words words_of(const Model& model, const std::vector<std::string>& texts) {
  Words words;
  std::unordered_map<std::string, std::int64_t> known;
  const Vocabulary* const letters = model.character_vocabulary();
  for (const std::string& text : texts) {
    std::string line;
    Ids places;
    each_word(text, 0, [&](std::string_view word) {
      line += line.empty() ? "" : " ";
      line += model.lower() ? lower_case(word) : std::string(word);
      if (letters == nullptr) return;
      const auto [found, is_new] = known.emplace(word, static_cast<std::int64_t>(known.size()));
      if (is_new) words.different.push_back(letters->encode(word, false));
      places.push_back(found->second);
    });
    words.looked_up.push_back(std::move(line));
    words.places.push_back(std::move(places));
  }
  if (words.different.empty()) words.different.emplace_back();
  return words;
}

}  // namespace

ModelInput text_input(const Model& model, const std::vector<std::string>& texts) {
  const ModelKind kind = model.spec().kind;
  if (kind != ModelKind::classifier && kind != ModelKind::tagger)
    throw_argument("text_input", "model", "a classifier or a tagger", name_of(kind));
  if (texts.empty()) throw_argument("text_input", "texts", "at least one", "none");
  const bool letters = model.spec().characters.vocab_size > 0;
  if (letters && model.character_vocabulary() == nullptr)
    throw_argument("text_input", "model", "one with a vocabulary of characters", "none");
  const bool tagger = kind == ModelKind::tagger;
  const Words words = tagger ? words_of(model, texts) : Words{};
  std::vector<Ids> columns;
  for (const std::string& text : tagger ? words.looked_up : texts)
    columns.push_back(model.vocabulary().encode(text, false));
  ModelInput input;
  input.ids = padded(columns);
  input.lengths = lengths_of(columns);
  if (letters) {
    input.char_ids = padded(words.different);
    input.char_lengths = lengths_of(words.different);
    input.char_index = padded(words.places);
  }
  return input;
}

std::vector<std::vector<std::string>> label(const Model& model, const std::vector<std::string>& texts) {
  const ModelInput input = text_input(model, texts);
  const Tensor best = model.decode(input);
  const auto* const ids = best.data<std::int64_t>();
  const auto* const lengths = input.lengths.data<std::int64_t>();
  const bool tagger = model.spec().kind == ModelKind::tagger;
  std::vector<std::vector<std::string>> result(texts.size());
  for (std::size_t n = 0; n < texts.size(); ++n)
    for (std::size_t t = 0; t < (tagger ? static_cast<std::size_t>(lengths[n]) : 1); ++t) {
      const std::int64_t id = ids[t * texts.size() + n];
      result[n].push_back(model.labels().empty() ? std::to_string(id) : model.labels()[static_cast<std::size_t>(id)]);
    }
  return result;
}

}  // namespace rnncore
