// How many processors this process may really use: a container's share, not the host's cores.
#pragma once

#include <string>  // std::string

namespace kernelmill {

// CPUs that the calling thread may run on (its affinity mask), at least 1.
int affinity_threads();

// The CPU quota of this process's cgroups, rounded up to whole CPUs; 0 where none is set. Reads v1
// (cpu.cfs_quota_us), v2 (cpu.max) and hybrid set-ups, every level from the process's own group up
// to the mount point, and takes the strictest. `root` goes before /proc and /sys, for fake trees.
int cgroup_threads(const std::string& root = "");

}  // namespace kernelmill
