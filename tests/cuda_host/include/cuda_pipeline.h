// Stands in for cp.async. A copy lands when its thread waits for it, not before: code that reads
// too early reads what was there.
#pragma once

#include <cstddef>  // std::size_t

void __pipeline_memcpy_async(void* to, const void* from, std::size_t bytes);
void __pipeline_commit();
void __pipeline_wait_prior(std::size_t groups);
