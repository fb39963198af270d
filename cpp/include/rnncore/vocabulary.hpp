// Vocabulary: text to ids 0..V-1 and back, for characters, bytes and words; the same ids and texts as in Python.
// Texts are UTF-8. Standard library only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "rnncore/export.hpp"

namespace rnncore {

enum class TextLevel : std::uint8_t { character, byte, word };
RNNCORE_EXPORT const char* name_of(TextLevel level);  // "char", "byte", "word"
RNNCORE_EXPORT TextLevel text_level_from_name(const std::string& name);

class RNNCORE_EXPORT Vocabulary {
 public:
  // tokens: in the order of their ids, all different; none for bytes (always the 256). character: each one character,
  // but for the unknown token. unknown: the token that stands for all others; empty: other tokens are an error.
  Vocabulary(TextLevel level, std::vector<std::string> tokens, const std::string& unknown = {});
  // {"level": "char"|"byte"|"word", "tokens": [...], "unknown": "<unk>" or null}; ArgumentError if it is none.
  static Vocabulary from_json(const std::string& json);
  std::string to_json() const;

  TextLevel level() const;
  std::int64_t size() const;                       // V
  const std::vector<std::string>& tokens() const;  // empty for bytes
  std::int64_t end_id() const;      // ends a line: "<eos>" for words, else the newline; -1: there is none
  std::int64_t unknown_id() const;  // -1: there is none

  // Characters and bytes one by one; words as split at white space, with "<eos>" for each line end and, with end_line,
  // for an unfinished last line. ArgumentError for a token that is not known (named, with its position) and for text
  // that is not UTF-8 (characters and words).
  std::vector<std::int64_t> encode(std::string_view text, bool end_line = true) const;
  // Characters and bytes joined, words with blanks, "<eos>" as a line end; bytes that are no UTF-8 become U+FFFD.
  // ArgumentError for an id outside 0..V-1.
  std::string decode(const std::vector<std::int64_t>& ids) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;  // immutable: copies share it
};

}  // namespace rnncore
