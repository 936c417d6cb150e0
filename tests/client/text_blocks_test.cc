// The rows of fairseq-eval-lm, as its own runs have them (tests/golden/language_models).
#include "client/evaluation/text_blocks.h"

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace leapstream::client {
namespace {

using nlohmann::json;

const std::string kGolden = LEAPSTREAM_SOURCE_DIR "/tests/golden/language_models/";

// The ids of the evaluated file, by fairseq's rules for dictionaries.
std::vector<std::vector<int32_t>> LinesOf(const std::string& data) {
  std::map<std::string, int32_t> ids = {{"<s>", 0}, {"<pad>", 1}, {"</s>", 2}, {"<unk>", 3}};
  std::ifstream dictionary(kGolden + data + "/dict.txt");
  for (std::string line; std::getline(dictionary, line);) {
    ids.emplace(line.substr(0, line.rfind(' ')), static_cast<int32_t>(ids.size()));
  }
  std::vector<std::vector<int32_t>> lines;
  std::ifstream pieces(kGolden + data + "/eval.pieces");
  for (std::string line; std::getline(pieces, line);) {
    std::istringstream words(line);
    std::vector<int32_t>& tokens = lines.emplace_back();
    for (std::string word; words >> word;) {
      const auto found = ids.find(word);
      tokens.push_back(found == ids.end() ? 3 : found->second);
    }
  }
  return lines;
}

TEST(TextBlocksTest, RowsAreThoseOfFairseqEvalLm) {
  const auto lines = LinesOf("en");
  ASSERT_GT(lines.size(), 20u);
  for (const char* name : {"lm_leap_adaptive.none64ctx48", "lm_leap_adaptive.complete64",
                           "lm_dims.none64ctx48", "lm_dims.eos128"}) {
    std::ifstream file(kGolden + "traces/eval." + name + ".jsonl");
    std::vector<json> blocks;
    for (std::string line; std::getline(file, line);) blocks.push_back(json::parse(line));
    ASSERT_GT(blocks.size(), 1u) << name;
    const json summary = blocks.back();
    blocks.pop_back();
    BlockOptions options;
    options.sample_break_mode = summary["break_mode"];
    options.tokens_per_sample = summary["tokens_per_sample"];
    options.context_window = summary["context_window"];
    options.max_target_positions = 128;
    const TextBlocks cut = CutText(lines, options);
    ASSERT_EQ(cut.rows.size(), blocks.size()) << name;
    for (size_t i = 0; i < blocks.size(); ++i) {
      const TextBlock& row = cut.rows[i];
      EXPECT_EQ(row.block, blocks[i]["block"].get<int>());
      EXPECT_EQ(row.start, blocks[i]["start"].get<int>());
      const auto inputs = blocks[i]["src_ids"].get<std::vector<int32_t>>();
      const auto targets = blocks[i]["target_ids"].get<std::vector<int32_t>>();
      EXPECT_EQ(std::vector<int32_t>(row.ids.begin(), row.ids.end() - 1), inputs);
      EXPECT_EQ(std::vector<int32_t>(row.ids.begin() + row.start + 1, row.ids.end()), targets);
    }
    if (!summary.contains("skipped_blocks")) continue;
    EXPECT_EQ(static_cast<size_t>(cut.skipped), summary["skipped_blocks"].size());
  }
}

TEST(TextBlocksTest, DocumentsEndAtEmptyLines) {
  BlockOptions options;
  options.sample_break_mode = "complete_doc";
  options.tokens_per_sample = 6;
  const TextBlocks cut = CutText({{10, 11}, {12}, {}, {13}, {14, 15, 16, 17, 18}, {}, {}}, options);
  std::vector<std::vector<int32_t>> rows;
  for (const TextBlock& row : cut.rows) rows.push_back(row.ids);
  const std::vector<std::vector<int32_t>> expected = {
      {2, 10, 11, 2, 12, 2}, {2, 13, 2}, {2, 14, 15, 16, 17, 18, 2}};
  EXPECT_EQ(rows, expected);
}

TEST(TextBlocksTest, OptionsOutOfRangeAreRefused) {
  EXPECT_TRUE(CheckBlockOptions({}).ok());
  EXPECT_FALSE(CheckBlockOptions({"words", 10, 0, 0}).ok());
  EXPECT_FALSE(CheckBlockOptions({"none", 10, 10, 0}).ok());
  EXPECT_FALSE(CheckBlockOptions({"none", 10, -1, 0}).ok());
}

}  // namespace
}  // namespace leapstream::client
