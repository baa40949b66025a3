// Growth of one tree on a GPU: the host keeps the leaves and asks for two cuts at a time, so it
// waits for the device once for each split.
#include <algorithm>  // std::find, std::min

#include "ops/histogram_grow.cuh"

#include "core/launch.cuh"  // number

namespace kernelmill::histogram {
namespace {

class DeviceGrowth : public GrowthOf<DeviceGrowth> {
 public:
  DeviceGrowth(const Call& call, const GrowRows& given, const Features& features, const Rule& rule,
               std::uint64_t seed, const Tree& tree, const DeviceSteps& steps,
               const GrowSpace& space)
      : GrowthOf(features, rule, seed, std::ssize(given.rows), tree, steps),
        call_(call),
        given_(given),
        steps_(steps),
        space_(space) {
    number(call, given.rows.data(), n_);
    const index_t d = shape_.features;
    upload(call, space.counts, features.counts.data(), d);
    upload(call, space.categorical, features.categorical.data(), d);
    if (!features.monotonic.empty()) upload(call, space.monotonic, features.monotonic.data(), d);
  }

  void find(Pair& pair) {
    const index_t d = shape_.features;
    Members members;
    for (int s = 0; s < 2; ++s) {
      if (pair.slots[s] < 0) continue;
      Whole* const own = space_.histograms + pair.slots[s] * shape_.size();
      const bool differ = s == 1 && pair.differ;
      if (!differ) build(call_, given_, steps_.coarse, *pair.members[s], shape_, space_, own);
      if (!pair.looks[s]) continue;
      const std::vector<char>& allowed = pair.allowed[s];
      const bool all = std::find(allowed.begin(), allowed.end(), 0) == allowed.end();
      if (!all) upload(call_, space_.allowed + s * d, allowed.data(), d);
      members.at[members.count] = {
          own,
          differ ? space_.histograms + pair.slots[0] * shape_.size() : nullptr,
          all ? nullptr : space_.allowed + s * d,
          pair.members[s]->bounds,
          space_.looked + s * d,
          space_.looked + 2 * d + members.count};
      ++members.count;
    }
    search(call_, members, measures_, shape_, !features_.monotonic.empty(), space_);
    Looked best[2];
    download(call_, best, space_.looked + 2 * d, members.count);
    const Looked* next = best;
    for (int s = 0; s < 2; ++s) {
      if (!pair.looks[s]) continue;
      pair.members[s]->cut = next->cut;
      pair.members[s]->sums = next->node;
      ++next;
    }
  }

  index_t partition(const Leaf& own) {
    histogram::partition(call_, given_.codes, own, given_.rows.data(), space_);
    return own.start + static_cast<index_t>(own.cut.left.rows);
  }

  void add_up(const std::vector<index_t>& ends, std::vector<Sums>& exact) {
    std::vector<Piece> pieces;
    for (const index_t end : ends) {
      const Leaf& own = leaf(end);
      for (index_t begin = own.start; begin < own.stop; begin += kPieceRows) {
        pieces.push_back({begin, std::min(own.stop, begin + kPieceRows)});
      }
    }
    const std::vector<double> sums = piece_sums(call_, given_, pieces, space_);
    std::size_t piece = 0;
    for (const index_t end : ends) {
      const Leaf& own = leaf(end);
      Sums& total = exact[static_cast<std::size_t>(end)];
      for (index_t begin = own.start; begin < own.stop; begin += kPieceRows, ++piece) {
        total.G += sums[2 * piece];
        total.H += sums[2 * piece + 1];
      }
      if (given_.one()) total.H = static_cast<double>(own.rows()) * steps_.only;
    }
  }

 private:
  const Call& call_;
  const GrowRows& given_;
  const DeviceSteps& steps_;
  const GrowSpace& space_;
};

}  // namespace

index_t grow(const Call& call, const GrowRows& given, const Features& features, const Rule& rule,
             std::uint64_t seed, const Tree& tree, const GrowSpace& space) {
  const DeviceSteps steps(call, given, rule.coarse, seed, space);
  return DeviceGrowth(call, given, features, rule, seed, tree, steps, space).run();
}

}  // namespace kernelmill::histogram
