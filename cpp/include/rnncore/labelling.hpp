// Texts to labels by a classifier or a tagger: the same ids, numbers and labels as Python's `predict`.
#pragma once

#include <string>
#include <vector>

#include "rnncore/model.hpp"

namespace rnncore {

// What such a model reads: texts (UTF-8) as padded ids with their lengths. A tagger's texts fall into words at white
// space; where it was trained so, words are looked up in lower case, and each different word is read letter by letter.
// At least one text. ArgumentError for a model of another kind or without a vocabulary, and for what
// `Vocabulary::encode` refuses.
RNNCORE_EXPORT ModelInput text_input(const Model& model, const std::vector<std::string>& texts);

// The labels of each text: one of a classifier, one a word of a tagger. Names of labels, or their numbers where the
// model has none.
RNNCORE_EXPORT std::vector<std::vector<std::string>> label(const Model& model, const std::vector<std::string>& texts);

}  // namespace rnncore
