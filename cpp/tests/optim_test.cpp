#include "ops/optim.hpp"

#include <gtest/gtest.h>

#include <algorithm>  // std::count
#include <cmath>      // std::fabs, std::sqrt
#include <cstring>    // std::strcmp

#include "tests/guarded.hpp"

namespace kernelmill {
namespace {

const optim::Rule& rule(const char* name) {
  for (const optim::Rule& one : optim::rules()) {
    if (std::strcmp(one.name, name) == 0) return one;
  }
  throw std::runtime_error(name);
}

template <class T>
optim::Array array_of(Guarded<T>& p, Guarded<T>& g, index_t n, const double* options) {
  return {p.data(), g.data(), {}, n, sizeof(T) == 8 ? optim::kFloat64 : optim::kFloat32,
          0,        options};
}

std::size_t count_of(const std::string& names) {
  const auto spaces = std::count(names.begin(), names.end(), ' ');
  return names.empty() ? 0 : static_cast<std::size_t>(spaces) + 1;
}

// Options in the order of the rule: its defaults, but for the learning rate.
std::vector<double> options_of(const optim::Rule& one, double rate) {
  std::vector<double> options(one.defaults.begin(), one.defaults.end());
  std::string names = one.options;
  std::size_t at = 0;
  for (std::size_t begin = 0; begin < names.size(); ++at) {
    const std::size_t end = std::min(names.find(' ', begin), names.size());
    if (names.substr(begin, end - begin) == "lr") options[at] = rate;
    begin = end + 1;
  }
  return options;
}

TEST(Optim, ListsOfOddSizesAndBothTypesMoveInOneCall) {
  const optim::Rule& sgd = rule("sgd");
  const auto options = options_of(sgd, 0.5);
  std::vector<Guarded<float>> floats, slopes;
  std::vector<Guarded<double>> doubles, steeps;
  for (const index_t n : kSizes) {
    floats.push_back(Guarded<float>::normal(n, unsigned(n)));
    slopes.push_back(Guarded<float>::normal(n, unsigned(n + 1)));
    doubles.push_back(Guarded<double>::normal(n, unsigned(n + 2)));
    steeps.push_back(Guarded<double>::normal(n, unsigned(n + 3)));
  }
  auto before = floats;
  auto far = doubles;
  std::vector<optim::Array> arrays;
  for (std::size_t i = 0; i < floats.size(); ++i) {
    const index_t n = kSizes[i];
    arrays.push_back(array_of(floats[i], slopes[i], n, options.data()));
    arrays.push_back(array_of(floats[i], slopes[i], 0, options.data()));  // empty ones in between
    arrays.push_back(array_of(doubles[i], steeps[i], n, options.data()));
  }
  optim::run(nullptr, sgd, arrays);
  for (std::size_t i = 0; i < floats.size(); ++i) {
    for (index_t e = 0; e < kSizes[i]; ++e) {
      EXPECT_NEAR(floats[i][e], before[i][e] - 0.5f * slopes[i][e], 1e-6);
      EXPECT_NEAR(doubles[i][e], far[i][e] - 0.5 * steeps[i][e], 1e-14);
    }
    EXPECT_TRUE(floats[i].intact() && doubles[i].intact());
  }
  optim::run(nullptr, sgd, {});
}

TEST(Optim, EveryRuleKeepsWithinItsArrays) {
  for (const optim::Rule& one : optim::rules()) {
    const auto options = options_of(one, 0.1);
    for (const index_t n : {index_t{0}, index_t{1}, index_t{17}, index_t{40'000}}) {
      auto p = Guarded<float>::normal(n, 1), g = Guarded<float>::normal(n, 2);
      std::vector<Guarded<float>> states;
      for (std::size_t s = 0; s < count_of(one.states); ++s) states.emplace_back(n, 0.0f);
      optim::Array array = array_of(p, g, n, options.data());
      for (std::size_t s = 0; s < states.size(); ++s) {
        array.states[s] = states[s].data();
        array.kept |= 1U << s;
      }
      optim::run(nullptr, one, {&array, 1});
      EXPECT_TRUE(p.intact() && g.intact()) << one.name;
      for (const auto& state : states) EXPECT_TRUE(state.intact()) << one.name;
      for (index_t e = 0; e < n; ++e) EXPECT_TRUE(std::isfinite(p[e])) << one.name;
    }
  }
}

TEST(Optim, NormsOfParts) {
  const double none = 0;
  auto a = Guarded<float>::normal(33, 1);
  auto b = Guarded<double>::normal(20'000, 2);
  double squares = 0;
  for (index_t e = 0; e < 33; ++e) squares += double(a[e]) * double(a[e]);
  for (index_t e = 0; e < 20'000; ++e) squares += b[e] * b[e];
  const std::vector<optim::Array> arrays{array_of(a, a, 33, &none), array_of(b, b, 0, &none),
                                         array_of(b, b, 20'000, &none)};
  EXPECT_NEAR(optim::norm(nullptr, arrays, 2), std::sqrt(squares), 1e-10);
  EXPECT_EQ(optim::norm(nullptr, {}, 2), 0);
  for (index_t e = 0; e < 20'000; ++e) b[e] *= 1e200;
  EXPECT_TRUE(std::isfinite(optim::norm(nullptr, arrays, 2)));
}

}  // namespace
}  // namespace kernelmill
