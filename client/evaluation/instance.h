#ifndef LEAPSTREAM_CLIENT_EVALUATION_INSTANCE_H_
#define LEAPSTREAM_CLIENT_EVALUATION_INSTANCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "metrics/bleu.h"
#include "metrics/lagging.h"

namespace leapstream::client {

// One sentence of an evaluation: as SimulEval's instances.log has it for the LatencyUnit, and the
// same in source tokens (pieces, </s> included). Both are in ms for a recording, per target unit
// and per target token.
struct Instance {
  int index = 0;
  bool speech = false;
  std::string source;      // Words with one space between them; for a recording its path.
  std::string reference;   // The line as it is.
  // Words with one space between them, or characters with nothing between them.
  std::string prediction;
  std::vector<std::string> prediction_pieces;  // The pieces, if the unit is the piece.
  metrics::SegmentTiming words;  // Timing of the target units that lagging is counted in.
  bool prediction_cut = false;   // The translation was cut at the limit of its length.
  // The source was longer than the server takes; only its start was read.
  bool source_dropped = false;
  // The rows that the model computed, and its steps: see SegmentStats in the protocol.
  int64_t encoder_rows = 0, decoder_rows = 0, decoder_steps = 0;
  int64_t target_tokens = 0;  // Without </s>.
  // Timing in tokens. reference_length is 0 unless the server can count it.
  metrics::SegmentTiming pieces;
};

// Returns a line of instances.log, without its line feed.
std::string ToSimulEvalLog(const Instance& instance);

// Scores of a whole test set.
struct Scores {
  metrics::BleuScore bleu;
  double chrf = 0;
  // Lagging in source words (speech: ms) against the reference's length in target units, as in
  // SimulEval. words_aware has the elapsed time, too.
  metrics::Lagging words, words_aware;
  // Lagging in source tokens (speech: ms), against the translation's own length where the
  // reference's is not known.
  metrics::Lagging pieces, pieces_aware;
  // The steps and rows of the model per target token, </s> not counted; NaN: the server does not
  // count them.
  double steps = 0, decoder_rows = 0, encoder_rows = 0;
};
Scores Score(absl::Span<const Instance> instances,
             metrics::BleuTokenizer tokenizer = metrics::BleuTokenizer::k13a);

// The names of all metrics: "BLEU", "chrF"; "LAAL", "AL", ….
const std::vector<std::string>& QualityMetrics();
const std::vector<std::string>& LatencyMetrics();

// The columns of scores.tsv: BLEU, chrF, then SimulEval's names, with _CA for computation-aware and
// _pieces for pieces, then the costs per token: steps, decoder_rows, encoder_rows. If `metrics` is not empty, only its columns are there. Both functions return
// the same length.
std::vector<std::string> ScoreNames(absl::Span<const std::string> metrics = {});
std::vector<std::string> ScoreValues(const Scores& scores,  // Three decimals; "nan" for none.
                                     absl::Span<const std::string> metrics = {});

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_INSTANCE_H_
