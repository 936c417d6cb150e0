#ifndef LEAPSTREAM_CLIENT_CLI_HYPOTHESIS_INPUT_H_
#define LEAPSTREAM_CLIENT_CLI_HYPOTHESIS_INPUT_H_

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/segmentation.h"
#include "client/cli/source_words.h"
#include "client/hypotheses/hypothesis_reader.h"
#include "client/hypotheses/source_stabilizer.h"
#include "base/sentences/sentence_segmenter.h"

namespace leapstream::client {

struct HypothesisOptions {
  HypothesisFormat format = HypothesisFormat::kJson;
  int agreement = 2;     // See SourceStabilizer.
  std::string language;  // See SentenceRules.
};

// The input of a translation that comes from a speech recogniser: its hypotheses become text that
// is only appended to, and the text is cut into segments here, since the server does not hear the
// pauses. The end of an utterance ends a segment only as SentenceSegmenter::Pause() says. A pause
// is what the recogniser calls one, or 600 ms between the times of two utterances. Not thread-safe.
class HypothesisInput {
 public:
  // `segmentation`: kSentence or kPause.
  HypothesisInput(const HypothesisOptions& options, Segmentation segmentation)
      : reader_(options.format),
        stabilizer_(options.agreement),
        segmenter_(SentenceRules(options.language), segmentation == Segmentation::kPause
                                                        ? SentenceSegmenter::Mode::kLength
                                                        : SentenceSegmenter::Mode::kSentences) {}

  // Adds the items that `bytes` brought. The errors are those of HypothesisReader; the items before
  // the bad line were then added.
  absl::Status Append(absl::string_view bytes, std::deque<SourceItem>& items);
  // Ends the input, also after an error. The words of an utterance that is open are added.
  absl::Status Finish(std::deque<SourceItem>& items);

  const StabilizerFigures& figures() const { return stabilizer_.figures(); }
  bool has_sentences() const { return segmenter_.has_sentences(); }

 private:
  void Take(const std::vector<SourceHypothesis>& hypotheses, std::deque<SourceItem>& items);
  void AddText(absl::string_view text, std::deque<SourceItem>& items);
  // Adds parts of the text, but no space before a segment's first word.
  void AddParts(const std::vector<SentenceSegmenter::Part>& parts, std::deque<SourceItem>& items);

  HypothesisReader reader_;
  SourceStabilizer stabilizer_;
  SentenceSegmenter segmenter_;
  bool is_open_ = false;  // The open segment has a word.
  absl::Status status_;
  std::optional<absl::Duration> last_end_;  // End of the last utterance in the audio.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_HYPOTHESIS_INPUT_H_
