#ifndef LEAPSTREAM_BASE_STATUS_H_
#define LEAPSTREAM_BASE_STATUS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns the error of `expression` (an absl::Status) to the caller, if it is one.
#define LEAPSTREAM_RETURN_IF_ERROR(expression)                                      \
  do {                                                                              \
    if (absl::Status leapstream_status_ = (expression); !leapstream_status_.ok()) { \
      return leapstream_status_;                                                    \
    }                                                                               \
  } while (false)

#define LEAPSTREAM_CONCAT_INNER_(a, b) a##b
#define LEAPSTREAM_CONCAT_(a, b) LEAPSTREAM_CONCAT_INNER_(a, b)

// Assigns the value of `expression` (an absl::StatusOr) to `lhs`, or returns its error.
#define LEAPSTREAM_ASSIGN_OR_RETURN(lhs, expression) \
  LEAPSTREAM_ASSIGN_OR_RETURN_(LEAPSTREAM_CONCAT_(leapstream_result_, __LINE__), lhs, expression)
#define LEAPSTREAM_ASSIGN_OR_RETURN_(result, lhs, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).status();        \
  lhs = *std::move(result)

#endif  // LEAPSTREAM_BASE_STATUS_H_
