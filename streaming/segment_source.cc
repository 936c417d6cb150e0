#include "streaming/segment_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "streaming/audio_segment.h"
#include "streaming/audio_source.h"
#include "streaming/text_segment.h"

namespace leapstream {

absl::StatusOr<std::unique_ptr<SegmentSource>> SegmentSource::Create(const SessionOptions& options,
                                                                     const Model& model,
                                                                     const Frame& frame,
                                                                     const ResumeFrom& from) {
  if (!model.info.speech.has_value()) {
    return std::unique_ptr<SegmentSource>(
        std::make_unique<TextSegment>(options, model, frame, from));
  }
  std::unique_ptr<AudioSource> audio;
  LEAPSTREAM_ASSIGN_OR_RETURN(audio, AudioSource::Create(options.sample_rate));
  return std::unique_ptr<SegmentSource>(
      std::make_unique<AudioSegment>(options, model.info, std::move(audio)));
}

absl::Status SegmentSource::WrongKind(const ModelInfo& model, const char* takes) {
  return absl::InvalidArgumentError(
      absl::StrCat("model ", model.name, " takes ", takes, ", got the other kind of source"));
}

}  // namespace leapstream
