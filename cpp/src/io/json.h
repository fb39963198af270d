// Strict JSON: nlohmann-json, with duplicate keys and deep nesting refused, and objects read field by field so that
// nothing missing or unknown goes unnoticed. Failures are JsonError; callers add operation and path.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace rnncore::io {

using Json = nlohmann::json;

class JsonError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

Json parse_json(std::string_view text);
// One line, keys sorted. JsonError where a string is not UTF-8.
std::string dump_json(const Json& value);
// Text out of a file for messages: quoted, at most 80 characters, everything but ASCII escaped.
std::string shown(std::string_view text);
// The value if it is short ("3", "'lstm'"), else its kind ("an object").
std::string describe(const Json& value);

// Reads the fields of one object; `where` leads its messages ("recurrent.layers[0]"). finish() refuses the fields that
// nobody asked for.
class ObjectReader {
 public:
  ObjectReader(const Json& value, std::string where);
  bool has(const char* key) const;  // for fields that may be left out
  const Json& field(const char* key);
  std::string string(const char* key);
  bool boolean(const char* key);
  std::int64_t integer(const char* key);  // within int64
  double number(const char* key);
  const Json& array(const char* key);
  void finish() const;

  std::string path_to(const char* key) const;

 private:
  const Json& typed(const char* key, bool (*test)(const Json&), const char* expected);

  const Json& value_;
  std::string where_;
  std::vector<std::string> seen_;
};

}  // namespace rnncore::io
