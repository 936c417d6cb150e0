#include "server/wire/text_segmentation.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

absl::Status CheckSegmentation(v1::TextSegmentation segmentation) {
  if (v1::TextSegmentation_IsValid(segmentation)) return absl::OkStatus();
  return InvalidRequest("UNKNOWN_ENUM_VALUE", absl::StrCat("no text_segmentation has the number ",
                                                           static_cast<int>(segmentation)));
}

}  // namespace

absl::StatusOr<bool> EndsSentences(const v1::SessionConfig& config, const ModelInfo& model) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSegmentation(config.text_segmentation()));
  if (config.text_segmentation() != v1::TEXT_SEGMENTATION_SENTENCES) return false;
  if (model.speech.has_value()) {
    return InvalidRequest("SEGMENTATION_INVALID",
                          absl::StrCat("text_segmentation is for text, and model ", model.name,
                                       " takes audio; leave it unset, and let pause_detection end "
                                       "segments"));
  }
  const v1::InputFormat format = config.input_format();
  if (format == v1::INPUT_FORMAT_UNSPECIFIED || format == v1::INPUT_FORMAT_TEXT) return true;
  return InvalidRequest("SEGMENTATION_INVALID",
                        absl::StrCat("sentences are found in text, got input_format ",
                                     v1::InputFormat_Name(format),
                                     "; leave text_segmentation unset, and send end_segment"));
}

absl::StatusOr<bool> EndsSentences(const v1::TranslateRequest& request) {
  LEAPSTREAM_RETURN_IF_ERROR(CheckSegmentation(request.text_segmentation()));
  return request.text_segmentation() != v1::TEXT_SEGMENTATION_OFF;
}

}  // namespace leapstream
