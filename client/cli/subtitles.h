#ifndef LEAPSTREAM_CLIENT_CLI_SUBTITLES_H_
#define LEAPSTREAM_CLIENT_CLI_SUBTITLES_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"

namespace leapstream::client {

enum class SubtitleFormat { kSrt, kVtt };

// A text that is shown from `begin` to `end`.
struct Cue {
  absl::Duration begin, end;
  std::string text;  // One line, without mark-up.
};

// Reads SubRip (.srt) or WebVTT (.vtt), whichever the text is. Lines of a cue are joined; tags
// such as <i> and {\an8}, cue settings, notes and styles are left out. INVALID_ARGUMENT: the text
// is neither, with the line.
absl::StatusOr<std::vector<Cue>> ParseSubtitles(absl::string_view text);

// The lines before the first cue.
std::string SubtitleHead(SubtitleFormat format);
// A cue as the formats have it. `number` counts from 1. A long text gets two lines of similar
// length.
std::string FormatCue(const Cue& cue, size_t number, SubtitleFormat format);

// Neighbouring cues whose text is translated as one, since a sentence goes on from one to the next.
struct Passage {
  size_t first = 0, count = 0;
  std::string text;
};
// A passage ends with a sentence's punctuation, before a silence of two seconds, or after 16 cues.
std::vector<Passage> Passages(absl::Span<const Cue> cues);

// Cuts a translation into parts of whole words, whose lengths are to each other as `weights` are,
// as far as words allow; of characters where there are no spaces. A part may be empty.
std::vector<std::string> Spread(absl::string_view text, absl::Span<const size_t> weights);

// Makes cues of text that comes in time. Not thread-safe.
class CueMaker {
 public:
  // Appends text that came at `time`. Returns the cues that are complete now: a cue ends with a
  // sentence, at 84 characters or after seven seconds, and is complete when the next one begins,
  // which tells how long it may stay.
  std::vector<Cue> Add(absl::string_view text, absl::Duration time);
  // Nothing more belongs to the open cue.
  void EndCue();
  // The last cue, if there is one.
  std::vector<Cue> Finish();

 private:
  std::vector<Cue> Take(absl::Duration next_begin);

  Cue open_;  // Its end is the time of its last text.
  bool complete_ = false;
  absl::Duration shown_until_;  // The end of the last cue: each is shown for a second at least.
};

// Makes cues of the text of speech, whose times are places in the audio. Not thread-safe.
class SpeechCueMaker {
 public:
  // Appends text of the open segment, which was written when the audio up to `read` had been read.
  // Returns the cues that are complete now.
  std::vector<Cue> Add(absl::string_view text, absl::Duration read);
  // Ends the open segment, whose audio is from `begin` to `end`. The text that was written at its
  // end is spread over the time since the text before it, or since `begin`.
  std::vector<Cue> EndSegment(absl::Duration begin, absl::Duration end);
  // The last cues, if there are any.
  std::vector<Cue> Finish();

 private:
  CueMaker cues_;
  std::string newest_;  // The text that was written when the audio up to read_ had been read.
  absl::Duration read_;
  absl::Duration before_;  // The place of the text before it.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_CLI_SUBTITLES_H_
