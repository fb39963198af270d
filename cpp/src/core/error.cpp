// The one message form of all errors.
#include "rnncore/error.hpp"

namespace rnncore {

std::string error_message(std::string_view operation, std::string_view argument, std::string_view expected,
                          std::string_view got, std::string_view hint) {
  std::string text;
  text.append("[").append(operation).append("] ").append(argument);
  text.append(": expected ").append(expected).append(", got ").append(got);
  if (!hint.empty()) text.append("; ").append(hint);
  return text;
}

void throw_argument(std::string_view operation, std::string_view argument, std::string_view expected,
                    std::string_view got, std::string_view hint) {
  throw ArgumentError(error_message(operation, argument, expected, got, hint));
}

void throw_type(std::string_view operation, std::string_view argument, std::string_view expected, std::string_view got,
                std::string_view hint) {
  throw TypeError(error_message(operation, argument, expected, got, hint));
}

}  // namespace rnncore
