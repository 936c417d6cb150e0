#ifndef LEAPSTREAM_STREAMING_BEAM_SEARCH_H_
#define LEAPSTREAM_STREAMING_BEAM_SEARCH_H_

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "model/api/translator.h"
#include "model/api/vocabulary.h"

namespace leapstream {

// The options of a beam search, with fairseq's defaults. The comments have fairseq's names.
struct BeamOptions {
  int beam = 5;               // --beam
  double length_penalty = 1;  // --lenpen
  bool unnormalized = false;  // --unnormalized
  int min_length = 1;         // --min-len: </s> cannot win before so many tokens.
  double max_length_a = 0;    // --max-len-a
  int max_length_b = 200;     // --max-len-b
  bool match_source_length = false;  // --match-source-len
  int no_repeat_ngram = 0;           // --no-repeat-ngram-size; 0: n-grams may repeat.
  double unknown_penalty = 0;        // --unkpen
  double temperature = 1;            // --temperature
  int n_best = 1;                    // --nbest: the most hypotheses of the result.

  bool operator==(const BeamOptions& other) const;
};

// The widest beam, in rows: memory and time grow with it.
inline constexpr int kMaxBeam = 64;

// INVALID_ARGUMENT: an option is out of range.
absl::Status CheckBeamOptions(const BeamOptions& options);

// One sentence to be searched.
struct BeamTask {
  int source_length = 0;  // The source ids, with </s> and language tokens.
  int source_words = 0;   // Those of them that are neither `end` nor <pad>.
  int vocabulary_size = 0;       // N, of the target.
  int max_target_tokens = 0;     // The model's or the server's limit, </s> not included; 0: none.
  TokenId start = kEndOfSentence;  // The token that the first step fed.
  TokenId end = kEndOfSentence;    // The token that ends a hypothesis.
  // The target tokens that are written already and stay. They count for lengths and n-grams, but
  // have no part in the scores.
  std::vector<TokenId> written;
  // Tokens that the first steps must choose. They have their part in the scores.
  std::vector<TokenId> forced;
};

struct BeamHypothesis {
  std::vector<TokenId> ids;  // Without start and `written`; the end is the last one.
  float score = 0;  // The sum of log_probs, over the power of their number that lenpen gives.
  std::vector<float> log_probs;  // Of each token, natural.
};

// Beam search as fairseq's SequenceGenerator does it (sequence_generator.py and search.py, as
// docs/fairseq.md, "Beam search", restates them), without a model: the caller scores the rows, one
// step after the other.
//
//   BeamSearch search(options, task);
//   while (!search.done()) {
//     for each row: search.Take(row, its scores), those of search.wanted() at least;
//     search.Advance();  // search.rows() now has the parent and the token of each row.
//   }
//
// fairseq keeps as many rows as the beam is wide, some of them dead, with probability 0; here dead
// rows are left out, which changes no result. Among equal candidates the one of the lowest row,
// then of the lowest id, is first. Not thread-safe.
class BeamSearch {
 public:
  // `options` must have passed CheckBeamOptions(), and task.vocabulary_size must be at least 2.
  BeamSearch(const BeamOptions& options, BeamTask task);

  // A row of the next step: the row of the step before it that goes on, and its token.
  struct Row {
    size_t parent = 0;
    TokenId token = 0;
  };
  // The live rows. At first there is one, without a token.
  absl::Span<const Row> rows() const { return rows_; }
  bool done() const { return done_; }

  // The scores that Take() needs of each row of this step. Valid until Advance().
  WantedScores wanted() const;
  // Takes the scores of a row's next token. To be called once for each row of a step. False: a
  // token that is not among the scores may be among the best, so they were not taken; see
  // ScoreVisitor.
  bool Take(size_t row, const TokenScores& scores);
  // Makes the step, once all rows have been taken.
  void Advance();

  // The finished hypotheses, n_best at most, the best first. Empty if nothing could end.
  // REQUIRES: done().
  std::vector<BeamHypothesis> Result() const;
  // The steps that were made.
  int steps() const { return step_ - first_step_; }
  int max_length() const { return max_length_; }  // The most tokens, </s> not included.

 private:
  struct Candidate {
    float value = 0;  // The cumulative score with this token.
    size_t row = 0;
    TokenId id = 0;
  };
  struct Path {  // The tokens of a row, with `written`, and the score after each new one.
    std::vector<TokenId> tokens;
    std::vector<float> sums;
  };

  static void Reserve(Path* path);
  static bool Before(const Candidate& a, const Candidate& b);
  // Adds a candidate to the best of its row, if it is among them.
  void Offer(const Candidate& candidate);
  // The tokens that would repeat an n-gram of the row.
  void FindBanned(const Path& path);
  bool IsBanned(TokenId id) const;
  // The token that this step must choose, or -1.
  TokenId OnlyToken() const;
  void ListAlwaysWanted();
  void FinishHypothesis(const Candidate& candidate);

  const BeamOptions options_;
  const BeamTask task_;
  const int beam_;
  int max_length_;
  int min_length_;
  int first_step_;
  int step_;  // fairseq's: the number of tokens of each row, without start.
  bool done_ = false;
  std::vector<TokenId> always_wanted_;  // WantedScores::tokens, whatever the best are.
  std::vector<Row> rows_;
  std::vector<Path> paths_, next_paths_;
  std::vector<TokenId> banned_;         // Of the row that is being taken.
  std::vector<Candidate> of_row_;       // Its best candidates, the best first.
  std::vector<Candidate> candidates_;   // Those of all rows.
  std::vector<BeamHypothesis> finished_;
};

}  // namespace leapstream

#endif  // LEAPSTREAM_STREAMING_BEAM_SEARCH_H_
