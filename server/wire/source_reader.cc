#include "server/wire/source_reader.h"

#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "server/pcm.h"
#include "server/status_mapping.h"

namespace leapstream {
namespace {

v1::InputFormat FormatOf(const v1::SourceChunk& chunk) {
  switch (chunk.content_case()) {
    case v1::SourceChunk::kText:
      return v1::INPUT_FORMAT_TEXT;
    case v1::SourceChunk::kPieces:
      return v1::INPUT_FORMAT_PIECES;
    case v1::SourceChunk::kTokenIds:
      return v1::INPUT_FORMAT_TOKEN_IDS;
    case v1::SourceChunk::kAudio:
      return v1::INPUT_FORMAT_PCM_S16LE;  // It may be _F32LE: a chunk does not say.
    case v1::SourceChunk::CONTENT_NOT_SET:
      break;
  }
  return v1::INPUT_FORMAT_UNSPECIFIED;
}

}  // namespace

bool IsAudio(v1::InputFormat format) {
  return format == v1::INPUT_FORMAT_PCM_S16LE || format == v1::INPUT_FORMAT_PCM_F32LE;
}

absl::Status CheckChunkBytes(size_t bytes, int max_chunk_bytes, const char* what) {
  if (bytes <= static_cast<size_t>(max_chunk_bytes)) return absl::OkStatus();
  return InvalidRequest("CHUNK_TOO_LARGE",
                        absl::StrCat("a source chunk may have ", max_chunk_bytes, " bytes, got ",
                                     what, bytes, "; send it in several"));
}

absl::Status SourceReader::CheckFormat(const v1::SourceChunk& chunk) const {
  const v1::InputFormat format = FormatOf(chunk);
  if (format == v1::INPUT_FORMAT_UNSPECIFIED) {
    return InvalidRequest("CONTENT_MISSING",
                          "a source chunk must have text, pieces, token_ids or audio");
  }
  if (format == form_.format || (IsAudio(format) && reads_audio())) return absl::OkStatus();
  return InvalidRequest(
      "INPUT_FORMAT_MISMATCH",
      absl::StrCat("the session's input_format is ", v1::InputFormat_Name(form_.format),
                   ", got a chunk of ", v1::InputFormat_Name(format), "; model ", form_.model_name,
                   " takes ", reads_audio() ? "audio" : "text",
                   ", and a session has one form of it"));
}

absl::Status SourceReader::SkipTranslated(int64_t chunks, SourceInput* source) const {
  const int64_t translated = form_.first.samples;
  if (form_.first.chunks != chunks || translated == 0) return absl::OkStatus();
  return std::visit(
      [&](auto& content) -> absl::Status {
        const auto size = static_cast<int64_t>(content.size());
        if (size < translated) {
          return InvalidRequest(
              "SEQUENCE_MISMATCH",
              absl::StrCat("the first chunk of a resumed session must be as it was, of which ",
                           translated, " were translated, got one of ", size));
        }
        content.erase(content.begin(), content.begin() + translated);
        return absl::OkStatus();
      },
      *source);
}

absl::StatusOr<SourceInput> SourceReader::Read(const v1::SourceChunk& chunk, int64_t chunks) const {
  LEAPSTREAM_RETURN_IF_ERROR(CheckChunkBytes(chunk.ByteSizeLong(), form_.max_chunk_bytes, ""));
  LEAPSTREAM_RETURN_IF_ERROR(CheckFormat(chunk));
  if (reads_audio()) {
    return DecodePcm(chunk.audio(), form_.format == v1::INPUT_FORMAT_PCM_F32LE
                                        ? PcmEncoding::kF32Le
                                        : PcmEncoding::kS16Le);
  }
  SourceInput source = chunk.text();
  if (form_.format == v1::INPUT_FORMAT_PIECES) {
    const auto& pieces = chunk.pieces().pieces();
    source = std::vector<std::string>(pieces.begin(), pieces.end());
  } else if (form_.format == v1::INPUT_FORMAT_TOKEN_IDS) {
    const auto& ids = chunk.token_ids().ids();
    source = std::vector<TokenId>(ids.begin(), ids.end());
  }
  LEAPSTREAM_RETURN_IF_ERROR(SkipTranslated(chunks, &source));
  return source;
}

}  // namespace leapstream
