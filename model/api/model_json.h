#ifndef LEAPSTREAM_MODEL_API_MODEL_JSON_H_
#define LEAPSTREAM_MODEL_API_MODEL_JSON_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"

namespace leapstream {

inline constexpr int kModelFormatVersion = 1;

// The text of model.json, and back. Fields that leapstream does not know are ignored; one that is
// new is missing in older files, which then have its first value. INVALID_ARGUMENT: not JSON,
// another format version, a missing or wrong field; CheckModelFields() is the caller's to ask.
absl::StatusOr<ModelConfig> ParseModelJson(absl::string_view text);
std::string ModelJson(const ModelConfig& config);

// INVALID_ARGUMENT, naming the first field: the two are not the same network, trained for the same.
absl::Status CheckSameNetwork(const ModelConfig& first, const ModelConfig& other);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_JSON_H_
