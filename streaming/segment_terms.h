#ifndef LEAPSTREAM_STREAMING_SEGMENT_TERMS_H_
#define LEAPSTREAM_STREAMING_SEGMENT_TERMS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "model/api/frame.h"
#include "model/api/model.h"
#include "model/api/translator.h"
#include "streaming/glossary.h"
#include "streaming/target_units.h"
#include "streaming/term_finder.h"

namespace leapstream {

// The terms of a segment's source that its target must have as they are. A term is written
//  - where the model would begin it, or would begin a word of its own for it: a word that is likely
//    when the model is given the term alone (a probe, once for each term of a session);
//  - a tag also once the target has as many words as the source has before it;
//  - if it is not translated, before the end of the target at the latest.
// Once its first token is written, the others follow. So what was written is enough to know which
// terms still wait, and a session that goes on elsewhere writes the same. Used by the step thread
// only; not thread-safe.
class SegmentTerms {
 public:
  // `glossary` may be null: then all terms are mark-up. `model` must outlive this.
  SegmentTerms(std::shared_ptr<const Glossary> glossary, const Model& model, Frame frame)
      : glossary_(std::move(glossary)), model_(model), frame_(std::move(frame)), units_(model) {}

  void Reset();  // Begins a segment.
  void Add(std::vector<FoundTerm> found);

  // Whether the model must be asked about a term, once so many source tokens were read.
  bool WantsProbe(int source_read);
  // The parts of the turn in which it is asked. The state is the session's, for probes alone; with
  // a glossary it must be given before. REQUIRES: WantsProbe().
  void SetState(std::unique_ptr<SessionState> state) { state_ = std::move(state); }
  void BeginProbe();
  SourceRows probe_source() const { return {state_.get(), probe_tokens_}; }
  absl::Span<const ScoreRow> probe_rows() const { return probe_rows_; }
  bool TakeProbe(const TokenScores& scores);  // See ScoreVisitor.

  // The token that must come next, since it goes on with a term.
  std::optional<TokenId> owed() const;
  struct Step {
    TokenId best = 0;          // The model's own.
    bool begins_word = false;  // It begins a word,
    bool ends = false;         // or ends the target.
    bool source_finished = false;
    int source_read = 0;
    int target_words = 0;  // The words written.
  };
  // The token to be written: `step.best`, or the first one of a term. REQUIRES: none is owed.
  TokenId Choose(const Step& step);

  // The part of a term that a written token is.
  struct Shown {
    const std::string* symbol = nullptr;  // Null: the dictionary's. Valid until the next call.
    const FoundTerm* begins = nullptr;    // The mark-up that begins with it, and that ends with it.
    const FoundTerm* ends = nullptr;
  };
  // Takes a token that was written when so many source tokens were read.
  Shown Write(TokenId id, bool begins_word, int source_read);

  int64_t bytes() const { return state_ == nullptr ? 0 : state_->bytes(); }
  StateCost TakeCost() { return state_ == nullptr ? StateCost() : state_->TakeCost(); }

 private:
  struct Open {
    FoundTerm found;
    TargetTerm markup;  // Of mark-up.
    bool kept = false;  // It must not be lost.
    bool begun = false;
  };
  static constexpr size_t kNoTerm = static_cast<size_t>(-1);

  const TargetTerm& TargetOf(const Open& open) const {
    return open.found.entry == Glossary::kNone ? open.markup
                                               : glossary_->entry(open.found.entry).target;
  }
  // Opens the terms that are ready. Of two that overlap the one that has begun stays, else the
  // longer one.
  void Activate(int source_read);
  bool IsOwn(const Open& open, TokenId id) const;
  bool EndsSentence(TokenId id) const;

  const std::shared_ptr<const Glossary> glossary_;
  const Model& model_;
  const Frame frame_;
  const TargetUnits units_;

  std::vector<Open> waiting_;       // By ready_at.
  std::vector<Open> open_;          // In the order of the source.
  size_t current_ = kNoTerm;        // The term of which a part is written,
  size_t next_ = 0;                 // and the number of its tokens that are.
  int tag_words_ = 0;               // The words of the target that are tags.

  // The first tokens of the model's own words for a term, for each entry that was probed.
  absl::flat_hash_map<int, absl::InlinedVector<TokenId, 4>> own_;
  std::unique_ptr<SessionState> state_;
  int probed_ = Glossary::kNone;  // The entry that is being probed.
  std::vector<TokenId> probe_tokens_;
  std::vector<ScoreRow> probe_rows_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_SEGMENT_TERMS_H_
