#ifndef LEAPSTREAM_CLIENT_EVALUATION_INSTANCE_H_
#define LEAPSTREAM_CLIENT_EVALUATION_INSTANCE_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "metrics/bleu.h"
#include "metrics/lagging.h"

namespace leapstream::client {

// One sentence of an evaluation, as SimulEval's instances.log has it for the LatencyUnit, and the
// same in source tokens (pieces, </s> included); of a recording both are in ms, per target unit and
// per target token.
struct Instance {
  int index = 0;
  bool speech = false;
  std::string source;      // Words with one space between them; of a recording its path.
  std::string reference;   // The line as it is.
  // In words: those, with one space between them; in characters: those, nothing between them.
  std::string prediction;
  std::vector<std::string> prediction_pieces;  // In pieces: those.
  metrics::SegmentTiming words;                // Of the target units that lagging is counted in.
  bool prediction_cut = false;  // At the limit of its length.
  bool source_dropped = false;  // It was longer than the server takes, and only its start was read.
  metrics::SegmentTiming pieces;  // Its reference length is 0 unless the server can count it.
};

// A line of instances.log, without its line feed.
std::string ToSimulEvalLog(const Instance& instance);

// Of a whole test set.
struct Scores {
  metrics::BleuScore bleu;
  double chrf = 0;
  // In source words (of speech in ms) against the reference's length in target units, as SimulEval;
  // aware: with elapsed.
  metrics::Lagging words, words_aware;
  // In source tokens (of speech in ms), against the translation's own length where the reference's
  // is not known.
  metrics::Lagging pieces, pieces_aware;
};
Scores Score(absl::Span<const Instance> instances,
             metrics::BleuTokenizer tokenizer = metrics::BleuTokenizer::k13a);

// What there is of each kind: "BLEU", "chrF"; "LAAL", "AL", ….
const std::vector<std::string>& QualityMetrics();
const std::vector<std::string>& LatencyMetrics();

// The columns of scores.tsv: BLEU, chrF, then SimulEval's names, with _CA for computation-aware and
// _pieces for pieces; only those of the metrics that are named, if any is. Both have the same
// length.
std::vector<std::string> ScoreNames(absl::Span<const std::string> metrics = {});
std::vector<std::string> ScoreValues(const Scores& scores,  // Three decimals; "nan" for none.
                                     absl::Span<const std::string> metrics = {});

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_INSTANCE_H_
