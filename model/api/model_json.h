#ifndef LEAPSTREAM_MODEL_API_MODEL_JSON_H_
#define LEAPSTREAM_MODEL_API_MODEL_JSON_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "model/api/model_config.h"

namespace leapstream {

inline constexpr int kModelFormatVersion = 1;

// The configuration that the text of a model.json gives. Fields that leapstream does not know are
// ignored. A field that older files lack gets its first value. INVALID_ARGUMENT: the text is not
// JSON, has another format version, or a field is missing or of the wrong type. Does not check
// values: CheckModelFields() does.
absl::StatusOr<ModelConfig> ParseModelJson(absl::string_view text);
std::string ModelJson(const ModelConfig& config);

// Checks that two configurations are of the same network and training. INVALID_ARGUMENT: they are
// not; the message names the first field that differs.
absl::Status CheckSameNetwork(const ModelConfig& first, const ModelConfig& other);

}  // namespace leapstream

#endif  // LEAPSTREAM_MODEL_API_MODEL_JSON_H_
