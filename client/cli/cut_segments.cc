#include "client/cli/cut_segments.h"

#include "absl/strings/str_cat.h"
#include "client/cli/characters.h"

namespace leapstream::client {
namespace {

constexpr int kManyTokens = 20;
constexpr int kFewerThan = 10;  // A translation has at least a tenth of its source's tokens.

}  // namespace

std::string CutSegments::Add(const SegmentCompleted& completed) {
  const char* why = "for a reason that this program does not know";
  switch (completed.reason) {
    case FinishReason::kEndOfSentence: {
      const int untranslated = completed.untranslated_source_tokens;
      const int read = completed.stats.has_value() ? completed.stats->source_tokens : 0;
      const int written = completed.stats.has_value() ? completed.stats->target_tokens : 0;
      // A full stop that is read after the end of the translation is no loss.
      if (untranslated >= kManyTokens || (read > 0 && 2 * untranslated > read)) {
        return absl::StrCat("segment ", completed.segment,
                            ": the translation ended long before its source did, and ",
                            untranslated, " of ", Counted(read, "source token"),
                            " are not translated; send shorter segments, such as sentences");
      }
      // Tokens of speech are stretches of time, in which nobody may speak.
      const bool is_speech = completed.stats.has_value() && completed.stats->source_audio_ms > 0;
      if (is_speech || completed.continues || read < kManyTokens || kFewerThan * written >= read) {
        return "";
      }
      return absl::StrCat("segment ", completed.segment, ": the translation is much shorter than ",
                          "its source (", Counted(written, "token"), " of ", read,
                          "), so it may have stopped long before its end");
    }
    case FinishReason::kMaxLength:
      why = "its translation has as many tokens as it may (--max-target-tokens)";
      break;
    case FinishReason::kSourceLimit:
      if (completed.continues) return "";  // Nothing was dropped.
      ++dropped_;
      why =
          "its source is longer than the server takes, and the rest was dropped; send shorter ones";
      break;
    case FinishReason::kUnspecified:
      break;
  }
  return absl::StrCat("segment ", completed.segment, " was cut short: ", why);
}

std::string CutSegments::Add(const Summary& summary) const {
  if (summary.dropped_source_bytes == 0) return "";
  return absl::StrCat(Counted(summary.dropped_source_bytes, "byte"),
                      " of source came after the translations of their segments had ended, and were "
                      "dropped");
}

absl::Status CutSegments::status() const {
  if (dropped_ == 0) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("source was dropped in ", Counted(dropped_, "segment")));
}

}  // namespace leapstream::client
