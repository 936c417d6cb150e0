#include "client/cli/translate_subtitles.h"

#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "client/cli/output.h"
#include "client/cli/read_lines.h"
#include "client/cli/translate_file.h"

namespace leapstream::client {
namespace {

SubtitleFormat FormatOf(const TranslateSubtitlesOptions& options, absl::string_view input) {
  if (options.format.has_value()) return *options.format;
  if (absl::EndsWithIgnoreCase(options.output, ".vtt")) return SubtitleFormat::kVtt;
  if (absl::EndsWithIgnoreCase(options.output, ".srt")) return SubtitleFormat::kSrt;
  return absl::StrContains(input.substr(0, 16), "WEBVTT") ? SubtitleFormat::kVtt
                                                         : SubtitleFormat::kSrt;
}

}  // namespace

absl::Status TranslateSubtitles(Client& client, const TranslateSubtitlesOptions& options) {
  LEAPSTREAM_ASSIGN_OR_RETURN(const std::vector<std::string> lines, ReadLines(options.input));
  std::error_code error;
  if (std::filesystem::equivalent(options.output, options.input, error)) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.output, " is --srt, too, which would be lost; give another --output"));
  }
  const std::string input = absl::StrJoin(lines, "\n");
  absl::StatusOr<std::vector<Cue>> cues = ParseSubtitles(input);
  if (!cues.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(options.input, ": ", cues.status().message()));
  }
  const std::vector<Passage> passages = Passages(*cues);
  std::vector<std::string> texts;
  for (const Passage& passage : passages) texts.push_back(passage.text);
  LEAPSTREAM_RETURN_IF_ERROR(TranslateLines(
      client, texts, 0, options.text, [&](size_t i, const TextTranslation& translation) {
        const Passage& passage = passages[i];
        std::vector<size_t> weights;
        for (size_t c = 0; c < passage.count; ++c) {
          weights.push_back((*cues)[passage.first + c].text.size());
        }
        const std::vector<std::string> parts = Spread(translation.text, weights);
        for (size_t c = 0; c < passage.count; ++c) (*cues)[passage.first + c].text = parts[c];
        return absl::OkStatus();
      }));
  const SubtitleFormat format = FormatOf(options, input);
  std::string result = SubtitleHead(format);
  for (size_t i = 0; i < cues->size(); ++i) {
    absl::StrAppend(&result, FormatCue((*cues)[i], i + 1, format));
  }
  return options.output.empty() ? WriteOutput(result) : WriteFile(options.output, result);
}

}  // namespace leapstream::client
