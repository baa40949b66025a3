#include "core/error.hpp"

#include <cstdio>     // std::snprintf
#include <stdexcept>  // std::invalid_argument
#include <string>     // the sentence

namespace kernelmill::detail {

namespace {

void add(std::string& sentence, const Part& part) {
  char real[32];
  switch (part.kind) {
    case Part::Kind::text:
      sentence += part.text;
      break;
    case Part::Kind::letter:
      sentence += static_cast<char>(part.whole);
      break;
    case Part::Kind::whole:
      sentence += std::to_string(part.whole);
      break;
    case Part::Kind::natural:
      sentence += std::to_string(static_cast<unsigned long long>(part.whole));
      break;
    case Part::Kind::real:
      std::snprintf(real, sizeof real, "%g", part.real);
      sentence += real;
      break;
  }
}

}  // namespace

void refuse(std::string_view op, std::initializer_list<Part> parts) {
  std::string sentence(op);
  sentence += ": ";
  for (const Part& part : parts) add(sentence, part);
  throw std::invalid_argument(sentence);
}

}  // namespace kernelmill::detail
