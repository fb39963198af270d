// UTF-8, strictly: shortest forms only, no surrogates, nothing beyond U+10FFFF (Unicode 15.0, table 3-7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace rnncore {

struct Utf8Character {
  char32_t point = 0;
  std::size_t size = 0;  // bytes; where invalid: of the longest beginning of a character that stands there, at least 1
  bool valid = false;
};

// The character at `text[at]`, at < text.size().
inline Utf8Character utf8_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const std::size_t left = text.size() - at;
  const unsigned first = byte(0);
  if (first < 0x80) return {first, 1, true};
  if (first < 0xC2 || first > 0xF4) return {0, 1, false};
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  char32_t point = first & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if (i >= left) return {0, i, false};
    const unsigned next = byte(i);
    unsigned low = 0x80, high = 0xBF;
    if (i == 1) {
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
    }
    if (next < low || next > high) return {0, i, false};
    point = point << 6 | (next & 0x3F);
  }
  return {point, size, true};
}

// With every invalid piece replaced by U+FFFD.
inline std::string utf8_repaired(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const Utf8Character c = utf8_at(text, at);
    if (c.valid)
      out += text.substr(at, c.size);
    else
      out += "\xEF\xBF\xBD";
    at += c.size;
  }
  return out;
}

// White space as Unicode and Python's str.split() have it.
inline bool is_white_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace rnncore
