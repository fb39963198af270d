#include "io/json.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <unordered_set>

namespace rnncore::io {
namespace {

constexpr int kDeepest = 32;  // a specification needs 5

// Text taken from a file goes into messages short, on one line and in ASCII: it may be anything.
std::string printable(std::string_view text, std::size_t limit) {
  std::string out;
  for (const char c : text.substr(0, limit)) {
    const auto byte = static_cast<unsigned char>(c);
    char hex[5] = {c, '\0'};
    if (byte < 0x20 || byte >= 0x7f) std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned>(byte));
    out += hex;
  }
  return out + (text.size() > limit ? "..." : "");
}

}  // namespace

Json parse_json(std::string_view text) {
  if (text.find('\0') != std::string_view::npos)  // the library takes it for the end
    throw JsonError("not valid JSON: a NUL byte");
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open
  const Json::parser_callback_t watch = [&keys](int depth, Json::parse_event_t event, Json& parsed) {
    using Event = Json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth >= kDeepest)
      throw JsonError("nested deeper than " + std::to_string(kDeepest) + " levels");
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get_ref<const std::string&>()).second)
      throw JsonError("key " + shown(parsed.get_ref<const std::string&>()) + " stands twice in one object");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), watch);
  } catch (const Json::exception& e) {
    const std::string what = e.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: ..."
    const std::size_t bracket = what.find("] ");
    throw JsonError("not valid JSON: " +
                    printable(bracket == std::string::npos ? what : what.substr(bracket + 2), 300));
  }
}

std::string dump_json(const Json& value) {
  try {
    return value.dump();
  } catch (const Json::exception&) {
    throw JsonError("a string is not valid UTF-8");
  }
}

std::string shown(std::string_view text) { return "'" + printable(text, 80) + "'"; }

std::string describe(const Json& value) {
  if (value.is_number()) return value.dump();
  if (value.is_string()) return shown(value.get_ref<const std::string&>());
  if (value.is_boolean()) return value.get<bool>() ? "true" : "false";
  if (value.is_null()) return "null";
  return value.is_object() ? "an object" : "an array";
}

ObjectReader::ObjectReader(const Json& value, std::string where) : value_(value), where_(std::move(where)) {
  if (!value.is_object())
    throw JsonError((where_.empty() ? "" : where_ + ": ") + "expected an object, got " + describe(value));
}

std::string ObjectReader::path_to(const char* key) const { return where_.empty() ? key : where_ + "." + key; }

bool ObjectReader::has(const char* key) const { return value_.contains(key); }

const Json& ObjectReader::field(const char* key) {
  const auto found = value_.find(key);
  if (found == value_.end()) throw JsonError(path_to(key) + ": missing");
  seen_.emplace_back(key);
  return *found;
}

const Json& ObjectReader::typed(const char* key, bool (*test)(const Json&), const char* expected) {
  const Json& value = field(key);
  if (!test(value)) throw JsonError(path_to(key) + ": expected " + expected + ", got " + describe(value));
  return value;
}

std::string ObjectReader::string(const char* key) {
  return typed(key, [](const Json& v) { return v.is_string(); }, "a string").get<std::string>();
}

bool ObjectReader::boolean(const char* key) {
  return typed(key, [](const Json& v) { return v.is_boolean(); }, "true or false").get<bool>();
}

std::int64_t ObjectReader::integer(const char* key) {
  const auto fits = [](const Json& v) {
    constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return v.is_number_unsigned() ? v.get<std::uint64_t>() <= kMax : v.is_number_integer();
  };
  return typed(key, fits, "an integer").get<std::int64_t>();
}

double ObjectReader::number(const char* key) {
  return typed(key, [](const Json& v) { return v.is_number(); }, "a number").get<double>();
}

const Json& ObjectReader::array(const char* key) {
  return typed(key, [](const Json& v) { return v.is_array(); }, "an array");
}

void ObjectReader::finish() const {
  for (const auto& item : value_.items())
    if (std::find(seen_.begin(), seen_.end(), item.key()) == seen_.end())
      throw JsonError((where_.empty() ? "" : where_ + ": ") + "unknown key " + shown(item.key()));
}

}  // namespace rnncore::io
