#ifndef LEAPSTREAM_TESTS_TESTING_FAKE_MODEL_H_
#define LEAPSTREAM_TESTS_TESTING_FAKE_MODEL_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "model/api/model.h"

namespace leapstream {

struct FakeModelOptions {
  std::string name = "fake-en-de";
  std::string source_language = "en";
  std::string target_language = "de";  // "zh": each target piece is a character of Han.
  std::string checksum = "fa4e";
  int default_k = 3;
  int max_k = 100;
  // The model takes audio, with READs of 280 ms. It never learns of the source's end.
  bool speech = false;
  bool learned_policy = false;  // Wants more source for about a third of its decisions.
  absl::Duration
      step_delay;  // Duration of each Decide(); lets a test act in the middle of a segment.
  bool can_replay = true;
  // Half of the target symbols are there twice, and the model feeds symbols back.
  bool repeats = false;
  FrameConfig frame;
  std::vector<LanguageConfig> languages;
  std::vector<std::string> symbols;   // These are added to both dictionaries, at their end.
  std::function<void()> on_new_state;  // Called by each NewState(), if there is one.
  std::function<void(int k)> on_wait_k;   // Called by each SetWaitK(), if there is one.
  bool fails = false;  // Decide() gives INTERNAL.
  int ends_after = 0;  // </s> is best once so many target tokens are written; 0: see FakeModel().
  // The best token is the source token of the same place, as long as there is one, then </s>. But
  // one time in so many it is another token, which depends on all that was read and on what had been
  // read when each target token was committed; 0: never. nullopt: see FakeModel().
  std::optional<int> follows_source;
  bool bidirectional = false;  // The states take RefreshPast() and EndPrefixes().
  bool encodes_anew = false;          // Returned by the translator's encodes_anew().
  int64_t state_bytes_per_token = 0;  // The states report this growth.
};

// A model without a network. Its best token is a hash of all source tokens read and target tokens
// committed, so one token too many, too few or out of order shows in all that follows. Before the
// source's end </s> is best now and then; after it, once the target is about as long as the source.
// Some target tokens are byte pieces: the two bytes of U+00E4, at times in halves. The tokens of a
// frame, and the source that had been read when they were fed, are a part of the hash.
std::shared_ptr<const Model> FakeModel(const FakeModelOptions& options = {});

}  // namespace leapstream

#endif  // LEAPSTREAM_TESTS_TESTING_FAKE_MODEL_H_
