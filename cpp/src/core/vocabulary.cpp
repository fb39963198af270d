// Vocabulary: characters by a table of code points, words by a hash table, bytes as they are.
#include "rnncore/vocabulary.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <unordered_map>

#include "core/utf8.h"
#include "core/words.h"
#include "rnncore/error.hpp"

namespace rnncore {
namespace {

constexpr const char* kEnd = "<eos>";
constexpr std::int64_t kNoId = -1;
constexpr std::array<const char*, 3> kLevels = {"char", "byte", "word"};

std::string code_point(char32_t point) {
  char text[16];
  std::snprintf(text, sizeof text, "U+%04X", static_cast<unsigned>(point));
  return text;
}

// For messages: quoted and short.
std::string quoted(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  return "'" + utf8_repaired(text.substr(0, kLongest)) + (text.size() > kLongest ? "..." : "") + "'";
}

std::string_view stripped(std::string_view text) {
  std::size_t begin = 0, end = 0;  // of what is no white space
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character c = utf8_at(text, at);
    at += c.size;
    if (!c.valid || !is_white_space(c.point)) {
      end = at;
    } else if (end == 0) {
      begin = at;
    }
  }
  return end == 0 ? std::string_view{} : text.substr(begin, end - begin);
}

}  // namespace

const char* name_of(TextLevel level) { return kLevels[static_cast<std::size_t>(level)]; }

TextLevel text_level_from_name(const std::string& name) {
  for (std::size_t i = 0; i < kLevels.size(); ++i)
    if (name == kLevels[i]) return static_cast<TextLevel>(i);
  throw_argument("vocabulary", "level", "char | byte | word", quoted(name));
}

struct Vocabulary::Impl {
  TextLevel level = TextLevel::byte;
  std::vector<std::string> tokens;
  std::int64_t unknown = kNoId;
  std::unordered_map<std::string, std::int64_t> ids;
  std::vector<std::int32_t> points;  // characters: id of each code point; those beyond are unknown

  void check_tokens() {
    for (std::size_t i = 0; i < tokens.size(); ++i)
      if (!ids.emplace(tokens[i], static_cast<std::int64_t>(i)).second)
        throw_argument("vocabulary", "tokens", "different tokens", quoted(tokens[i]) + " twice");
  }

  void make_points() {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::string& token = tokens[i];
      const Utf8Character c = token.empty() ? Utf8Character{} : utf8_at(token, 0);
      if (!c.valid || c.size != token.size()) {
        if (static_cast<std::int64_t>(i) == unknown) continue;
        throw_argument("vocabulary", "tokens", "single characters", quoted(token));
      }
      if (c.point >= points.size()) points.resize(c.point + 1, static_cast<std::int32_t>(unknown));
      points[c.point] = static_cast<std::int32_t>(i);
    }
  }

  [[noreturn]] void refuse_character(std::string_view text, std::size_t at, char32_t point) const {
    std::int64_t position = 0, line = 1, column = 1;
    for (std::size_t i = 0; i < at; i += utf8_at(text, i).size) {
      ++position;
      ++column;
      if (text[i] == '\n') {
        ++line;
        column = 1;
      }
    }
    throw_argument("encode", "text", "the " + std::to_string(tokens.size()) + " characters that the model knows",
                   quoted(text.substr(at, utf8_at(text, at).size)) + " (" + code_point(point) + ") at character " +
                       std::to_string(position) + " (line " + std::to_string(line) + ", column " +
                       std::to_string(column) + ")");
  }

  void encode_characters(std::string_view text, std::vector<std::int64_t>& out) const {
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const Utf8Character c = utf8_at(text, at);
      if (!c.valid) refuse_encoding(at);
      const std::int64_t id = c.point < points.size() ? points[c.point] : unknown;
      if (id == kNoId) refuse_character(text, at, c.point);
      out.push_back(id);
      at += c.size;
    }
  }

  void encode_words(std::string_view text, bool end_line, std::vector<std::int64_t>& out) const {
    const auto add = [&](std::string_view word) {
      const auto found = ids.find(std::string(word));
      const std::int64_t id = found != ids.end() ? found->second : unknown;
      if (id == kNoId)
        throw_argument("encode", "text", "the " + std::to_string(tokens.size()) + " words that the model knows",
                       quoted(word) + ", word " + std::to_string(out.size()), "train with an unknown token");
      out.push_back(id);
    };
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t newline = text.find('\n', at);
      const std::size_t end = std::min(newline, text.size());
      each_word(text.substr(at, end - at), at, add);
      if (newline != std::string_view::npos || end_line) add(kEnd);
      at = end + 1;
    }
  }
};

Vocabulary::Vocabulary(TextLevel level, std::vector<std::string> tokens, const std::string& unknown) {
  auto impl = std::make_shared<Impl>();
  impl->level = level;
  impl->tokens = std::move(tokens);
  if (level == TextLevel::byte) {
    if (!impl->tokens.empty() || !unknown.empty())
      throw_argument("vocabulary", "tokens", "none for the byte level", std::to_string(impl->tokens.size()));
  } else if (impl->tokens.empty()) {
    throw_argument("vocabulary", "tokens", "at least one", "none");
  }
  impl->check_tokens();
  if (!unknown.empty()) {
    const auto found = impl->ids.find(unknown);
    if (found == impl->ids.end()) throw_argument("vocabulary", "unknown", "one of the tokens", quoted(unknown));
    impl->unknown = found->second;
  }
  if (level == TextLevel::character) impl->make_points();
  impl_ = std::move(impl);
}

TextLevel Vocabulary::level() const { return impl_->level; }
std::int64_t Vocabulary::size() const {
  return impl_->level == TextLevel::byte ? 256 : static_cast<std::int64_t>(impl_->tokens.size());
}
const std::vector<std::string>& Vocabulary::tokens() const { return impl_->tokens; }
std::int64_t Vocabulary::unknown_id() const { return impl_->unknown; }

std::int64_t Vocabulary::end_id() const {
  if (impl_->level == TextLevel::byte) return '\n';
  const auto found = impl_->ids.find(impl_->level == TextLevel::word ? kEnd : "\n");
  return found == impl_->ids.end() ? kNoId : found->second;
}

std::vector<std::int64_t> Vocabulary::encode(std::string_view text, bool end_line) const {
  std::vector<std::int64_t> ids;
  if (impl_->level == TextLevel::character) {
    impl_->encode_characters(text, ids);
  } else if (impl_->level == TextLevel::word) {
    impl_->encode_words(text, end_line, ids);
  } else {
    for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  }
  return ids;
}

std::string Vocabulary::decode(const std::vector<std::int64_t>& ids) const {
  std::string text;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= size())
      throw_argument("decode", "ids", "0 to " + std::to_string(size() - 1), std::to_string(id));
    if (impl_->level == TextLevel::byte) {
      text += static_cast<char>(id);
      continue;
    }
    if (impl_->level == TextLevel::word && &id != ids.data()) text += ' ';
    text += impl_->tokens[static_cast<std::size_t>(id)];
  }
  if (impl_->level == TextLevel::character) return text;
  if (impl_->level == TextLevel::byte) return utf8_repaired(text);
  std::string lines;
  const std::string_view end = kEnd;
  for (std::size_t at = 0;;) {
    const std::size_t next = text.find(end, at);
    lines += stripped(std::string_view(text).substr(at, next - at));
    if (next == std::string::npos) return lines;
    lines += '\n';
    at = next + end.size();
  }
}

}  // namespace rnncore
