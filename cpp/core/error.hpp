// The one way the C++ side refuses bad input: a single sentence, thrown before any work starts.
#pragma once

#include <sstream>      // std::ostringstream
#include <stdexcept>    // std::invalid_argument
#include <string_view>  // std::string_view
#include <utility>      // std::forward

namespace kernelmill {

// Throws std::invalid_argument (ValueError in Python) saying "<op>: <parts...>".
// Sentences follow "<argument> must be <what>, got <what> (<hint>)".
template <class... Parts>
[[noreturn]] void invalid(std::string_view op, Parts&&... parts) {
  std::ostringstream message;
  message << op << ": ";
  (message << ... << std::forward<Parts>(parts));
  throw std::invalid_argument(message.str());
}

}  // namespace kernelmill
