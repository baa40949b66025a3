// The one way the C++ side refuses bad input: a single sentence, thrown before any work starts.
#pragma once

#include <concepts>          // std::integral
#include <initializer_list>  // parts of a sentence
#include <string_view>       // std::string_view

namespace kernelmill {

namespace detail {

// Text or a number, to be written as a stream would write it. Streams themselves are left out of
// this header, which every file includes: they take a quarter of a second to compile.
struct Part {
  enum class Kind : char { text, letter, whole, natural, real };

  template <std::convertible_to<std::string_view> Text>
  Part(const Text& from) : kind(Kind::text), text(from) {}
  Part(char from) : kind(Kind::letter), whole(from) {}
  template <std::integral Number>
  Part(Number from)
      : kind(Number(-1) < Number(1) && !std::same_as<Number, bool> ? Kind::whole : Kind::natural),
        whole(static_cast<long long>(from)) {}
  Part(double from) : kind(Kind::real), real(from) {}

  Kind kind;
  std::string_view text{};
  long long whole = 0;  // a natural number keeps its bits
  double real = 0;
};

[[noreturn]] void refuse(std::string_view op, std::initializer_list<Part> parts);

}  // namespace detail

// Throws std::invalid_argument (ValueError in Python) saying "<op>: <parts...>".
// Sentences follow "<argument> must be <what>, got <what> (<hint>)".
template <class... Parts>
[[noreturn]] void invalid(std::string_view op, const Parts&... parts) {
  detail::refuse(op, {detail::Part(parts)...});
}

}  // namespace kernelmill
