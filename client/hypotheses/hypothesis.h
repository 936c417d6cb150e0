#ifndef LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_H_
#define LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"

namespace leapstream::client {

// A speech recogniser's idea of what is being said. Each hypothesis of an utterance replaces the
// one before.
struct SourceHypothesis {
  std::string text;    // The whole utterance up to now, UTF-8.
  bool final = false;  // No other hypothesis of this utterance follows.
  // The recogniser promises not to change so many of the first words, which are what stands between
  // white space.
  int stable_words = 0;
  // Only if final: the recogniser says that the speaker paused. A pause need not be the end of a
  // sentence.
  bool pause = false;
  std::optional<absl::Duration> begin, end;  // Place in the audio, if the recogniser says it.
};

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_HYPOTHESES_HYPOTHESIS_H_
