#include "client/evaluation/text_blocks.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"

namespace leapstream::client {
namespace {

constexpr int32_t kEndOfLine = 2;  // </s>

using TokenRange = std::pair<size_t, size_t>;  // [first, second) of all tokens.

std::vector<TokenRange> FixedBlocks(size_t tokens, size_t size) {
  std::vector<TokenRange> blocks;
  for (size_t begin = 0; begin < tokens; begin += size) {
    blocks.emplace_back(begin, std::min(begin + size, tokens));
  }
  return blocks;
}

// Whole lines, as many as fit. `documents`: an empty line ends a block, and is in none.
std::vector<TokenRange> LineBlocks(const std::vector<TokenRange>& lines, size_t size,
                                   bool documents) {
  std::vector<TokenRange> blocks;
  TokenRange block{0, 0};
  const auto end_block = [&](size_t next) {
    const size_t least = documents ? 2 : 1;
    if (block.second - block.first >= least) blocks.push_back(block);
    block = {next, next};
  };
  for (const TokenRange& line : lines) {
    const size_t length = line.second - line.first;
    if (documents && length == 1) {
      end_block(line.second);
      continue;
    }
    if (block.second > block.first && line.second - block.first > size) end_block(line.first);
    block.second = line.second;
  }
  end_block(0);
  return blocks;
}

}  // namespace

absl::Status CheckBlockOptions(const BlockOptions& options) {
  const std::string& mode = options.sample_break_mode;
  if (mode != "none" && mode != "complete" && mode != "complete_doc" && mode != "eos") {
    return absl::InvalidArgumentError(absl::StrCat(
        "sample-break-mode needs to be none, complete, complete_doc or eos, got ", mode));
  }
  if (options.context_window >= 0 && options.tokens_per_sample > options.context_window) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "tokens-per-sample needs to be larger than context-window, got ", options.tokens_per_sample,
      " and ", options.context_window));
}

TextBlocks CutText(const std::vector<std::vector<int32_t>>& lines, const BlockOptions& options) {
  std::vector<int32_t> tokens;
  std::vector<TokenRange> ranges;
  for (const std::vector<int32_t>& line : lines) {
    const size_t begin = tokens.size();
    tokens.insert(tokens.end(), line.begin(), line.end());
    tokens.push_back(kEndOfLine);
    ranges.emplace_back(begin, tokens.size());
  }
  const auto size = static_cast<size_t>(options.tokens_per_sample - options.context_window);
  const std::string& mode = options.sample_break_mode;
  const std::vector<TokenRange> blocks =
      mode == "none"  ? FixedBlocks(tokens.size(), size)
      : mode == "eos" ? ranges
                      : LineBlocks(ranges, size, /*documents=*/mode == "complete_doc");
  TextBlocks result;
  const auto window = static_cast<size_t>(options.context_window);
  std::vector<int32_t> before;  // The last tokens of the row before, at most `window`.
  for (size_t b = 0; b < blocks.size(); ++b) {
    const auto [begin, end] = blocks[b];
    const size_t length = end - begin;
    if (options.max_target_positions > 0 &&
        length > static_cast<size_t>(options.max_target_positions)) {
      ++result.skipped;
      continue;
    }
    if (window > 0) {
      const auto room = static_cast<size_t>(options.tokens_per_sample);
      const size_t most = room > length ? room - length : 0;
      if (before.size() > most) {
        before.erase(before.begin(), before.end() - static_cast<std::ptrdiff_t>(most));
      }
    }
    TextBlock row;
    row.block = static_cast<int>(b);
    row.ids = before;
    row.start = static_cast<int>(before.size());
    row.ids.push_back(begin == 0 ? kEndOfLine : tokens[begin - 1]);
    row.ids.insert(row.ids.end(), tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                   tokens.begin() + static_cast<std::ptrdiff_t>(end));
    if (window > 0) {
      const size_t inputs = row.ids.size() - 1;
      const size_t kept = std::min(window, inputs);
      before.assign(row.ids.begin() + static_cast<std::ptrdiff_t>(inputs - kept),
                    row.ids.begin() + static_cast<std::ptrdiff_t>(inputs));
    }
    result.rows.push_back(std::move(row));
  }
  return result;
}

}  // namespace leapstream::client
