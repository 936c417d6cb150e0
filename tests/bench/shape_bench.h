#ifndef LEAPSTREAM_TESTS_BENCH_SHAPE_BENCH_H_
#define LEAPSTREAM_TESTS_BENCH_SHAPE_BENCH_H_

#include <string>

#include "absl/status/status.h"

namespace leapstream {

// Prints what a model of a shape costs in a compute type, on one thread: the time from nothing to a
// loaded model, without and with packed weights; the memory; and for sessions under wait-3 with
// segments of 25 tokens, the mean CPU time of a READ and of a WRITE and the sessions of 4 tokens a
// second that one core serves. The model has random weights, see ShapeConfig(); it is written to
// `directory`, unless it is there. INVALID_ARGUMENT: there is no such shape.
absl::Status MeasureShape(const std::string& shape, const std::string& compute_type,
                          const std::string& directory);

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_BENCH_SHAPE_BENCH_H_
