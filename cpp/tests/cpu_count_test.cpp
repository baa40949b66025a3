// How many processors a process may use: its affinity mask and the CPU quotas of its cgroups, read
// from fake /proc and /sys trees.

#include "core/cpu_count.hpp"

#include <gtest/gtest.h>

#include <sched.h>  // sched_setaffinity

#include <cstdlib>     // mkdtemp
#include <filesystem>  // fake trees
#include <fstream>     // std::ofstream
#include <string>      // std::string
#include <thread>      // std::thread
#include <utility>     // std::pair
#include <vector>      // std::vector

#include "core/parallel.hpp"  // available_threads

namespace kernelmill {
namespace {

class FakeRoot : public ::testing::Test {
 protected:
  std::filesystem::path root;
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "kernelmill-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text << "\n";
  }
  int threads() const { return cgroup_threads(root.string()); }
};

TEST_F(FakeRoot, NothingThereMeansNoLimit) { EXPECT_EQ(threads(), 0); }

TEST_F(FakeRoot, UnifiedQuotaIsRoundedUp) {
  write("proc/self/cgroup", "0::/");
  const std::vector<std::pair<std::string, int>> cases = {{"max 100000", 0},
                                                          {"100000 100000", 1},
                                                          {"150000 100000", 2},
                                                          {"10000 100000", 1},
                                                          {"200000 100000", 2},
                                                          {"400000 50000", 8},
                                                          {"", 0},
                                                          {"rubbish", 0},
                                                          {"100000", 0},
                                                          {"0 100000", 0},
                                                          {"-1 100000", 0}};
  for (const auto& [text, expected] : cases) {
    write("sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(threads(), expected) << text;
  }
}

TEST_F(FakeRoot, TheStrictestGroupOnTheWayUpCounts) {
  write("proc/self/cgroup", "0::/pods/one/job");
  write("sys/fs/cgroup/pods/one/job/cpu.max", "max 100000");
  write("sys/fs/cgroup/pods/one/cpu.max", "300000 100000");
  write("sys/fs/cgroup/pods/cpu.max", "800000 100000");
  write("sys/fs/cgroup/pods/two/cpu.max", "100000 100000");  // a sibling: not ours
  EXPECT_EQ(threads(), 3);
  write("sys/fs/cgroup/pods/cpu.max", "200000 100000");
  EXPECT_EQ(threads(), 2);
}

TEST_F(FakeRoot, AContainerWithoutItsOwnNamespace) {
  write("proc/self/cgroup", "0::/docker/0123456789abcdef");  // the host's path, not mounted here
  write("sys/fs/cgroup/cpu.max", "250000 100000");
  EXPECT_EQ(threads(), 3);
}

TEST_F(FakeRoot, APathOutsideOfTheNamespace) {
  write("proc/self/cgroup", "0::/../../elsewhere");
  write("sys/elsewhere/cpu.max", "100000 100000");
  write("sys/fs/cgroup/cpu.max", "400000 100000");
  EXPECT_EQ(threads(), 4);
}

TEST_F(FakeRoot, VersionOne) {
  write("proc/self/cgroup",
        "5:memory:/x\n4:cpuset:/x\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/x");
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1");
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000");
  EXPECT_EQ(threads(), 0);
  write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "350000");
  EXPECT_EQ(threads(), 4);
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000");  // the parent, through the short name
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000");
  EXPECT_EQ(threads(), 1);
}

TEST_F(FakeRoot, Hybrid) {
  write("proc/self/cgroup", "1:cpuacct:/\n0::/job");
  write("sys/fs/cgroup/unified/job/cpu.max", "500000 100000");
  EXPECT_EQ(threads(), 5);
}

TEST(CpuCount, ThisMachine) {
  EXPECT_GE(affinity_threads(), 1);
  EXPECT_GE(available_threads(), 1);
  EXPECT_LE(available_threads(), affinity_threads());
}

TEST(CpuCount, FollowsTheAffinityMask) {
  std::thread([] {  // a thread of its own: the mask is per thread
    cpu_set_t mask;
    ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
    int first = 0;
    while (!CPU_ISSET(first, &mask)) ++first;
    CPU_ZERO(&mask);
    CPU_SET(first, &mask);
    ASSERT_EQ(sched_setaffinity(0, sizeof mask, &mask), 0);
    EXPECT_EQ(affinity_threads(), 1);
  })
      .join();
}

}  // namespace
}  // namespace kernelmill
