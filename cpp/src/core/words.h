// Words of UTF-8 text: what stands between white space.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/utf8.h"
#include "rnncore/error.hpp"

namespace rnncore {

[[noreturn]] inline void refuse_encoding(std::size_t at) {
  throw_argument("encode", "text", "UTF-8", "other bytes at byte " + std::to_string(at));
}

// f(word) for each; `offset`: where the text begins, for the message about other bytes.
template <typename F>
void each_word(std::string_view text, std::size_t offset, const F& f) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character c = utf8_at(text, at);
    if (!c.valid) refuse_encoding(offset + at);
    if (is_white_space(c.point)) {
      if (at > begin) f(text.substr(begin, at - begin));
      begin = at + c.size;
    }
    at += c.size;
  }
  if (begin < text.size()) f(text.substr(begin));
}

}  // namespace rnncore
