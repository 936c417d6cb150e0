#ifndef LEAPSTREAM_SERVER_WIRE_TEXT_SEGMENTATION_H_
#define LEAPSTREAM_SERVER_WIRE_TEXT_SEGMENTATION_H_

#include "absl/status/statusor.h"
#include "leapstream/v1/simultaneous_translation.pb.h"
#include "model/api/model.h"

namespace leapstream {

// Whether the server is to end segments of the session's text where sentences end.
// INVALID_ARGUMENT: no such segmentation exists, or the session's source is not text.
absl::StatusOr<bool> EndsSentences(const v1::SessionConfig& config, const ModelInfo& model);

// Whether Translate is to do so, which is the default. INVALID_ARGUMENT: no such segmentation
// exists.
absl::StatusOr<bool> EndsSentences(const v1::TranslateRequest& request);

}  // namespace leapstream

#endif  // LEAPSTREAM_SERVER_WIRE_TEXT_SEGMENTATION_H_
