#include "core/cpu_count.hpp"

#include <algorithm>  // std::min, std::max, std::clamp
#include <cmath>      // std::ceil
#include <fstream>    // std::ifstream
#include <sstream>    // std::istringstream
#include <thread>     // std::thread::hardware_concurrency
#include <vector>     // std::vector

#if defined(__linux__)
#include <sched.h>  // sched_getaffinity, CPU_COUNT_S
#endif

namespace kernelmill {
namespace {

// The first line of a file; empty where there is none.
std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// CPUs' worth of time per period, rounded up; 0 for "no limit" or unreadable numbers.
int rounded_quota(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  return static_cast<int>(std::clamp(std::ceil(quota / period), 1.0, 1e6));
}

// cpu.max (v2) holds "<quota or max> <period>" in microseconds; v1 has one number in each file.
int quota_of_group(const std::string& directory) {
  double quota = 0;
  double period = 0;
  std::istringstream unified(first_line(directory + "/cpu.max"));
  if (unified >> quota >> period) return rounded_quota(quota, period);
  std::istringstream first(first_line(directory + "/cpu.cfs_quota_us"));
  std::istringstream second(first_line(directory + "/cpu.cfs_period_us"));
  if (first >> quota && second >> period) return rounded_quota(quota, period);
  return 0;
}

// The smaller of two limits of which 0 means "none".
int least_limit(int a, int b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// The strictest quota from group `path` below `mount` up to the mount itself. In a container
// without a cgroup namespace the path is the host's and is missing below the mount; the mount
// itself is then the container's group, so walking up finds it.
int quota_up_the_path(const std::string& mount, std::string path) {
  if (path.starts_with("/..")) path.clear();  // outside of this namespace's root
  int least = 0;
  while (true) {
    while (!path.empty() && path.back() == '/') path.pop_back();
    least = least_limit(least, quota_of_group(mount + path));
    if (path.empty()) return least;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
}

}  // namespace

int affinity_threads() {
#if defined(__linux__)
  // The kernel refuses a mask smaller than its own, which may have more than glibc's 1024 bits.
  for (int bits = 1024; bits <= 1 << 20; bits *= 2) {
    std::vector<unsigned long> words(static_cast<std::size_t>(bits) / (8 * sizeof(unsigned long)));
    const std::size_t bytes = words.size() * sizeof(unsigned long);
    auto* const mask = reinterpret_cast<cpu_set_t*>(words.data());
    if (sched_getaffinity(0, bytes, mask) == 0) return std::max(1, CPU_COUNT_S(bytes, mask));
  }
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int cgroup_threads(const std::string& root) {
  const std::string mounts = root + "/sys/fs/cgroup";
  std::ifstream groups(root + "/proc/self/cgroup");
  int least = 0;
  // Lines are "<id>:<controllers>:<path>"; v2 has id 0 and no controllers.
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      least = least_limit(least, quota_up_the_path(mounts, path));
      least = least_limit(least, quota_up_the_path(mounts + "/unified", path));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      least = least_limit(least, quota_up_the_path(mounts + "/" + controllers, path));
      least = least_limit(least, quota_up_the_path(mounts + "/cpu", path));
    }
  }
  return least;
}

}  // namespace kernelmill
