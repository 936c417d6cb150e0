#include "streaming/source_bytes.h"

#include <algorithm>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"

namespace leapstream {

int64_t PieceBytes(const std::string& piece) {
  return static_cast<int64_t>(sizeof(piece) + piece.size());
}

int64_t SourceBytes(const SourceInput& source) {
  if (const auto* text = std::get_if<std::string>(&source)) {
    return static_cast<int64_t>(text->size());
  }
  if (const auto* audio = std::get_if<AudioSamples>(&source)) {
    return static_cast<int64_t>(audio->size() * sizeof(float));
  }
  if (const auto* ids = std::get_if<std::vector<TokenId>>(&source)) {
    return static_cast<int64_t>(ids->size() * sizeof(TokenId));
  }
  int64_t bytes = 0;
  for (const std::string& piece : std::get<std::vector<std::string>>(source)) {
    bytes += PieceBytes(piece);
  }
  return bytes;
}

int64_t VisibleBytes(absl::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return !absl::ascii_isspace(static_cast<unsigned char>(c)); });
}

int64_t DroppedBytes(const SourceInput& source) {
  if (const auto* text = std::get_if<std::string>(&source)) return VisibleBytes(*text);
  return SourceBytes(source);
}

}  // namespace leapstream
