// Errors. Owns the exception types and the one message form used everywhere:
//   [operation] argument: expected E, got G; hint
// Standard library only. Python maps ArgumentError to ValueError, TypeError to TypeError,
// IoError to OSError, NumericError to FloatingPointError and any other Error to RuntimeError.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include "rnncore/export.hpp"

namespace rnncore {

// Base of the failures that are not the caller's fault (files, devices, numbers).
class RNNCORE_EXPORT Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A wrong value, shape or state: the caller's fault.
class RNNCORE_EXPORT ArgumentError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// A wrong kind of thing (dtype, device): the caller's fault.
class RNNCORE_EXPORT TypeError : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// Reading or writing a file failed, or its content is not what it claims to be.
class RNNCORE_EXPORT IoError : public Error {
 public:
  using Error::Error;
};

// NaN or Inf where a finite number is required.
class RNNCORE_EXPORT NumericError : public Error {
 public:
  using Error::Error;
};

// "[operation] argument: expected E, got G; hint" (hint optional).
RNNCORE_EXPORT std::string error_message(std::string_view operation, std::string_view argument,
                                         std::string_view expected, std::string_view got, std::string_view hint = {});

[[noreturn]] RNNCORE_EXPORT void throw_argument(std::string_view operation, std::string_view argument,
                                                std::string_view expected, std::string_view got,
                                                std::string_view hint = {});
[[noreturn]] RNNCORE_EXPORT void throw_type(std::string_view operation, std::string_view argument,
                                            std::string_view expected, std::string_view got,
                                            std::string_view hint = {});

}  // namespace rnncore
