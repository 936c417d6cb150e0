#ifndef LEAPSTREAM_TESTS_TESTING_METRICS_PAGE_H_
#define LEAPSTREAM_TESTS_TESTING_METRICS_PAGE_H_

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace leapstream {

// The sum of the samples of /metrics whose name and labels begin with `prefix`, such as
// "leapstream_slots_used " or "leapstream_state_bytes{"; -1: there are none.
inline double MetricsIn(absl::string_view page, absl::string_view prefix) {
  double sum = -1;
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    double value = 0;
    if (!absl::StartsWith(line, prefix) || !absl::SimpleAtod(line.substr(line.rfind(' ')), &value)) {
      continue;
    }
    sum = sum < 0 ? value : sum + value;
  }
  return sum;
}

// The value of the one sample with this name and labels.
inline double MetricIn(absl::string_view page, const std::string& sample) {
  return MetricsIn(page, sample + " ");
}

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_METRICS_PAGE_H_
