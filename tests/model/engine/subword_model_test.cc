// A model of Moses and BPE, from its checkpoint to text: raw text goes in and detokenised text comes
// out, as the reference's agent has it (tests/golden/bpe).
#include <algorithm>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "model/api/model_directory.h"
#include "model/engine/load_model.h"
#include "model/fairseq/export.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/test_device.h"

namespace leapstream {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr double kNearTie = 1e-4;  // As in golden_test.cc.

std::string Golden(const std::string& name) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/", name);
}

ExportOptions BpeOptions() {
  ExportOptions options;
  options.checkpoints = {Golden("bpe/bpe_waitk.pt")};
  options.source_dictionary = Golden("bpe/dict.en.txt");
  options.target_dictionary = Golden("bpe/dict.de.txt");
  options.tokenizer.bpe_codes = Golden("tokenise/codes.v02");
  options.tokenizer.tokenizer = "moses";
  options.tokenizer.prefixes = Golden("tokenise/prefixes.en.txt");
  options.source_language = "en";
  options.target_language = "de";
  options.output = ::testing::TempDir() + "/leapstream-subword-model";
  return options;
}

class SubwordModelTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    const ExportOptions options = BpeOptions();
    const absl::Status status = ExportModel(options);
    ASSERT_TRUE(status.ok()) << status;
    auto loaded = LoadModel(options.output, OnTestDevice());
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    model_ = new std::shared_ptr<const Model>(*loaded);
  }
  static std::shared_ptr<const Model>* model_;
};
std::shared_ptr<const Model>* SubwordModelTest::model_ = nullptr;

TEST_F(SubwordModelTest, RawTextBecomesTheAgentsIdsAndText) {
  ASSERT_NE(model_, nullptr);
  int rows = 0, tied = 0;
  for (const int k : {1, 3, 5}) {
    std::ifstream in(Golden(absl::StrCat("bpe/bpe_waitk.k", k, ".jsonl")));
    ASSERT_TRUE(in.good());
    for (std::string line; std::getline(in, line);) {
      const json trace = json::parse(line);
      SCOPED_TRACE(absl::StrCat("k=", k, " ", trace["id"].get<std::string>()));
      const std::string text = trace["text"];
      const std::vector<int> ids = trace["target_ids"];
      const std::vector<double> margins = trace["margins"];
      if (*std::min_element(margins.begin(), margins.end()) < kNearTie) {
        ++tied;
        continue;
      }
      for (const size_t chunk : {text.size(), size_t{1}, size_t{5}}) {
        SessionOptions options;
        options.policy = WaitK{k};
        options.early_end = EarlyEnd::kStop;
        const bool ended = trace["end"] == "eos";
        options.max_target_tokens = ended ? 1000 : static_cast<int>(ids.size()) - 1;
        CollectingSink sink;
        {
          Scheduler scheduler(*model_);
          auto session = scheduler.Open(options, &sink);
          ASSERT_TRUE(session.ok()) << session.status();
          for (size_t at = 0; at < text.size(); at += chunk) {
            (*session)->Push(text.substr(at, chunk));
          }
          (*session)->EndSource();
          sink.Wait();
        }
        ASSERT_TRUE(sink.status.ok()) << sink.status;
        ASSERT_EQ(1u, sink.segments.size());
        EXPECT_EQ(trace["text_out"].get<std::string>(), sink.segments[0].text);
        EXPECT_EQ(sink.segments[0].text, sink.appended[0]);
        const std::vector<int> delays = trace["delays"];
        const size_t tokens = ids.size() - 1;  // The last one is </s>, or dropped.
        ASSERT_EQ(tokens, sink.tokens.size());
        for (size_t t = 0; t < tokens; ++t) {
          EXPECT_EQ(ids[t], sink.tokens[t].id) << "token " << t;
          EXPECT_EQ(delays[t], sink.tokens[t].source_tokens_read) << "token " << t;
        }
      }
      ++rows;
    }
  }
  EXPECT_GE(rows, 55) << tied << " near ties";
}

TEST(SubwordExportTest, StrangeTokenizersAreRefusedByName) {
  const auto refusal = [](auto change) {
    ExportOptions options = BpeOptions();
    options.output += "-refused";
    change(&options);
    return std::string(ExportModel(options).message());
  };
  for (const char* bpe : {"gpt2", "hf_byte_bpe", "bert", "byte_bpe", "wordpiece"}) {
    EXPECT_THAT(refusal([bpe](ExportOptions* options) { options->tokenizer.bpe = bpe; }),
                HasSubstr(bpe));
  }
  EXPECT_THAT(refusal([](ExportOptions* options) { options->tokenizer.tokenizer = "nltk"; }),
              HasSubstr("nltk"));
  EXPECT_THAT(refusal([](ExportOptions* options) { options->tokenizer.bpe = "fastbpe"; }),
              HasSubstr("use --bpe subword_nmt"));
  EXPECT_THAT(refusal([](ExportOptions* options) {
                options->tokenizer.bpe = "subword_nmt";
                options->tokenizer.bpe_codes = Golden("tokenise/codes.fastbpe");
              }),
              HasSubstr("use --bpe fastbpe"));
  EXPECT_THAT(refusal([](ExportOptions* options) {
                options->tokenizer.bpe = "subword_nmt";
                options->tokenizer.bpe_codes.clear();
              }),
              HasSubstr("needs --bpe-codes"));
  EXPECT_THAT(refusal([](ExportOptions* options) {
                options->tokenizer.bpe_vocabulary_threshold = 5;
              }),
              HasSubstr("give both or neither"));
  EXPECT_THAT(refusal([](ExportOptions* options) { options->tokenizer.tokenizer = "space"; }),
              HasSubstr("--tokenizer moses"));
  EXPECT_THAT(refusal([](ExportOptions* options) { options->tokenizer.bpe = "sentencepiece"; }),
              HasSubstr("--bpe-codes"));
}

TEST(SubwordExportTest, AMissingFileIsNamedAsItWasGiven) {
  ExportOptions options = BpeOptions();
  options.output += "-missing";
  options.tokenizer.prefixes = "/nowhere/prefixes";
  const absl::Status status = ExportModel(options);
  EXPECT_TRUE(absl::IsNotFound(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nowhere/prefixes: "));
}

TEST(SubwordExportTest, SaysWhatTextIsTakenToBe) {
  ExportOptions options = BpeOptions();
  options.output += "-notes";
  options.tokenizer.prefixes.clear();
  std::vector<std::string> notes;
  ASSERT_TRUE(ExportModel(options, &notes).ok());
  ASSERT_EQ(1u, notes.size());
  EXPECT_THAT(notes[0], HasSubstr("--nonbreaking-prefixes"));
  options.tokenizer.tokenizer.clear();
  notes.clear();
  ASSERT_TRUE(ExportModel(options, &notes).ok());
  ASSERT_EQ(1u, notes.size());
  EXPECT_THAT(notes[0], HasSubstr("--tokenizer moses"));
}

}  // namespace
}  // namespace leapstream
