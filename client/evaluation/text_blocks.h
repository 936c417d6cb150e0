#ifndef LEAPSTREAM_CLIENT_EVALUATION_TEXT_BLOCKS_H_
#define LEAPSTREAM_CLIENT_EVALUATION_TEXT_BLOCKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace leapstream::client {

// How fairseq-eval-lm cuts a text into the rows that it scores: its options of the same names.
struct BlockOptions {
  std::string sample_break_mode = "none";  // Or "complete", "complete_doc", "eos".
  int tokens_per_sample = 1024;
  int context_window = 0;    // Is taken out of tokens_per_sample.
  int max_target_positions = 0;  // Blocks with more tokens are left out; 0: none are.
};

// A row: all ids but the last are read, and each from `start` + 1 on is scored, from those before it.
// The block's targets are ids[start + 1, ...).
struct TextBlock {
  int block = 0;  // Its number, of all blocks.
  std::vector<int32_t> ids;  // The inputs and the last target.
  int start = 0;             // The index of the first input from which a target is predicted.
};

struct TextBlocks {
  std::vector<TextBlock> rows;
  int skipped = 0;  // The blocks that were left out.
};

// INVALID_ARGUMENT: an unknown mode, or a window that leaves no token.
absl::Status CheckBlockOptions(const BlockOptions& options);

// lines: the ids of each line, without </s>. A pure function; the rules are those of fairseq's
// TokenBlockDataset, MonolingualDataset and LMContextWindowDataset.
TextBlocks CutText(const std::vector<std::vector<int32_t>>& lines, const BlockOptions& options);

}  // namespace leapstream::client

#endif  // LEAPSTREAM_CLIENT_EVALUATION_TEXT_BLOCKS_H_
