#ifndef LEAPSTREAM_STREAMING_POLICY_H_
#define LEAPSTREAM_STREAMING_POLICY_H_

#include <string>
#include <variant>

#include "absl/status/status.h"
#include "model/api/model.h"

// The actions that a policy decides between. A policy is one pure value: the same progress gives
// the same action, and never kRead once the source is finished. There are two kinds. A policy of
// tokens decides of each token, before it is computed (Decide) and, if it wants to, again after that
// (Admits). A policy of drafts decides when to look at the source (Decide) and how much of a draft
// is written then (streaming/draft.h).
// A new policy is a struct with the three functions of WaitK and a line in Policy; the compiler then
// asks for its place on the wire (server/wire/session_config.cc).
namespace leapstream {

enum class Action { kRead, kWrite };

// The progress of a segment, in tokens.
struct Progress {
  // Source tokens, </s> included; for speech, pre-decision steps (SpeechInput::Steps()).
  int source_read = 0;
  int target_written = 0;
  bool source_finished = false;  // The source's </s> has been read.
  // The number of READs in this segment that were for an early </s>: EarlyEnd::kReadOn.
  int lag = 0;
  // The open step is decided again when so many source tokens have been read.
  int wanted = 0;
  // Speech: less than one whole step has been read. fairseq then writes only if exactly as much as
  // is due has been read.
  bool source_is_short = false;
  // The chunk of source that a READ begins (SessionOptions::read_tokens) is not complete.
  bool within_chunk = false;
  int source_words = 0;  // The words of source_read that are complete.
  // The length of the source that was read, in tokens: source_read for text, and for speech the
  // tokens that so much audio has in most languages. For the lengths of drafts.
  int source_length = 0;
  int target_words = 0;  // The target words that have begun: see TargetTokenizer::BeginsWord().
  // The open step was decided, and the policy has not admitted the token, since it begins a word.
  bool awaits_word = false;
  int looked = 0;  // The source_read of the last look, for policies of drafts.
};

// Wait-k (Ma et al. 2019): reads k source tokens, then writes and reads by turns. With a model that
// was trained offline this is test-time wait-k.
struct WaitK {
  int k = 3;
  int write_stride = 1;  // The number of tokens that are written after each READ.
  // All of these numbers count words; of speech, 400 ms of audio count as one.
  bool count_words = false;

  // Target token t (from 1) is written once the source is finished or
  // k + lag + (t - 1) / write_stride source tokens have been read.
  Action Decide(const Progress& progress) const;
  // Counting words: the tokens after the first one of a word are written as soon as that one is.
  bool Admits(const Progress& progress, const Decision& decision, bool begins_word) const;
  // INVALID_ARGUMENT: k is out of the model's range, or the model has its own policy.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const {
    return "k=" + std::to_string(k) + (count_words ? " words" : "");
  }
};

// Reads the whole segment before it writes.
struct Offline {
  Action Decide(const Progress& progress) const;
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "offline"; }
};

// The model's own policy: a WRITE is tried as soon as it can be, and the model may refuse it
// (Decision::wants_source).
struct Learned {
  Action Decide(const Progress& progress) const;
  // INVALID_ARGUMENT: the model has no policy of its own.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "learned"; }
};

// Local agreement (Liu et al. 2020; CUNI-KIT 2022): translates the source so far to its end after
// each READ, and writes whole units on which n such drafts in a row agree. See docs/policies.md.
struct LocalAgreement {
  int n = 2;
  // A first unit is written without agreement once so many more source words than target words are
  // there; -1: never.
  int max_lag = 12;

  Action Decide(const Progress& progress) const;
  // INVALID_ARGUMENT: n is out of range, or the model has its own policy.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "la=" + std::to_string(n); }
};

// hold-n (Liu et al. 2020): translates the source so far to its end after each READ, and writes it
// without its last n tokens.
struct HoldN {
  int n = 3;
  int max_lag = 12;  // See LocalAgreement.

  Action Decide(const Progress& progress) const;
  // INVALID_ARGUMENT: n is out of range, or the model has its own policy.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "hold=" + std::to_string(n); }
};

// AlignAtt (Papi et al. 2023): writes a unit if none of its tokens attends most to one of the last
// `frames` source tokens.
struct AlignAtt {
  int frames = 2;
  int max_lag = 12;  // See LocalAgreement.

  Action Decide(const Progress& progress) const;
  // INVALID_ARGUMENT: frames is out of range, or the model does not show its attention.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const { return "alignatt=" + std::to_string(frames); }
};

// Adaptive wait-k (Zheng et al. 2020): writes a token once its probability is at least the
// threshold of the lag there is, which falls in even steps from that of min_k to that of max_k;
// always writes with a lag of more than max_k.
struct AdaptiveWaitK {
  int min_k = 1;
  int max_k = 9;
  double min_k_threshold = 0.9;
  double max_k_threshold = 0.4;

  Action Decide(const Progress& progress) const;
  bool Admits(const Progress& progress, const Decision& decision) const;
  // INVALID_ARGUMENT: a number is out of range, or the model has its own policy.
  absl::Status CheckFor(const ModelInfo& model) const;
  std::string Name() const {
    return "adaptive=" + std::to_string(min_k) + "-" + std::to_string(max_k);
  }
};

using Policy = std::variant<WaitK, Offline, Learned, LocalAgreement, HoldN, AlignAtt, AdaptiveWaitK>;

// Every policy reads on within a chunk.
Action Decide(const Policy& policy, const Progress& progress);
// Whether the policy lets the decided token be written with this progress. REQUIRES: it is one of
// tokens, and its Decide() has said kWrite. `begins_word`: see TargetTokenizer::BeginsWord().
bool Admits(const Policy& policy, const Progress& progress, const Decision& decision,
            bool begins_word);
// Whether the policy is one of drafts.
bool UsesDrafts(const Policy& policy);
// Whether counts of tokens alone decide when a token is written.
bool CountsTokensOnly(const Policy& policy);
absl::Status CheckFor(const Policy& policy, const ModelInfo& model);
// The policy of a session that asks for none: the one that the model was trained with, or Offline
// if it was trained with none.
Policy DefaultPolicy(const ModelInfo& model);
// The policy's name for logs: "k=3", "offline", "learned", "la=2".
std::string ToString(const Policy& policy);

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_POLICY_H_
