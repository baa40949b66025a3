// A point amid some rows, from which to measure: products of rows that lie far from the origin keep
// their digits then.
#pragma once

#include "core/call.hpp"  // Call, DeviceRows

namespace kernelmill {

// origin[p], p < columns, is the median of column p over a sample of the rows, rounded to T; zero
// in the padding beyond rows.d and where the median is not finite. The mean would do for the
// algebra, but one far row would take it along, and with it the digits of everything.
template <class T>
void median_origin(const Call& call, const DeviceRows<double>& rows, index_t columns, T* origin);

}  // namespace kernelmill
