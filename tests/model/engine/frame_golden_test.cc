// Streams with the checkpoints of tests/golden/frames, which translate many pairs of languages, and
// compares each READ, WRITE, token and text with the reference: see the README there.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "model/api/model_directory.h"
#include "model/engine/load_model.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/test_device.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kMaxTokens = 101;            // Of the reference's loop.
constexpr double kTolerance = 3e-4;        // Of log-probabilities, as the reference's README says.
constexpr double kClearMargin = 1e-4;      // Nearer ties may turn.

fs::path Golden() { return fs::path(LEAPSTREAM_SOURCE_DIR) / "tests/golden"; }

// The model of this name, as a model directory.
std::shared_ptr<const Model> MakeModel(const std::string& name) {
  const fs::path from = Golden() / "frames" / name;
  const fs::path to = fs::path(::testing::TempDir()) / ("frames_" + name);
  fs::remove_all(to);
  fs::create_directories(to);
  fs::copy(from / kModelJson, to / kModelJson);
  fs::copy(from / kWeightsFile, to / kWeightsFile);
  for (const char* file : {kSourceDictionaryFile, kTargetDictionaryFile}) {
    fs::copy(from / "dict.txt", to / file);
  }
  for (const char* file : {kSourceSentencePieceFile, kTargetSentencePieceFile}) {
    fs::copy(Golden() / "reference/data/joint/spm.model", to / file);
  }
  auto model = LoadModel(to, OnTestDevice());
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *model : nullptr;
}

std::vector<Json> Rows(const std::string& trace) {
  std::ifstream file(Golden() / "frames/traces" / (trace + ".jsonl"));
  std::vector<Json> rows;
  for (std::string line; std::getline(file, line);) rows.push_back(Json::parse(line));
  EXPECT_FALSE(rows.empty()) << trace;
  return rows;
}

class FrameGoldenTest : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<CollectingSink> Translate(const Json& row, size_t largest_chunk,
                                            ResumeFrom from = {}) {
    SessionOptions options;
    options.languages = {row["src"], row["tgt"]};
    options.policy = WaitK{row["k"]};
    options.early_end = EarlyEnd::kStop;
    options.max_target_tokens = kMaxTokens;
    auto sink = std::make_unique<CollectingSink>();
    auto session = scheduler_->Open(options, sink.get(), std::move(from));
    EXPECT_TRUE(session.ok()) << session.status();
    if (!session.ok()) return sink;
    const std::string text = row["text"];
    for (size_t at = 0; at < text.size();) {
      const size_t size = largest_chunk == 0 ? text.size() : 1 + random_() % largest_chunk;
      (*session)->Push(text.substr(at, size));
      at += size;
    }
    (*session)->EndSource();
    sink->Wait();
    EXPECT_TRUE(sink->status.ok()) << sink->status;
    return sink;
  }

  // The text of a row without the tokens of languages and </s>, which the reference's loop leaves
  // in it where the model wrote them as ordinary tokens.
  std::string TextOf(const Json& row) {
    std::string text = row["text_out"];
    std::vector<std::string> left = {"</s>"};
    for (const LanguageConfig& language : model_->languages) left.push_back(language.target_token);
    bool found = false;
    for (const std::string& token : left) {
      if (!absl::StrContains(text, token)) continue;
      found = true;
      text = absl::StrReplaceAll(text, {{token, ""}});
    }
    return found ? std::string(absl::StripPrefix(text, " ")) : text;
  }

  // A text that was cut may end with a space that the reference takes off: a server cannot know.
  static std::string Trimmed(const std::string& text) {
    return std::string(absl::StripSuffix(text, " "));
  }

  // The first token that may differ: the margin of the decision before it is too small.
  static size_t Clear(const Json& row) {
    for (size_t i = 0; i < row["margins"].size(); ++i) {
      if (row["margins"][i].get<double>() < kClearMargin) return i;
    }
    return row["margins"].size();
  }

  void Compare(const Json& row, const CollectingSink& sink) {
    const size_t clear = Clear(row);
    const std::vector<TokenId> ids = row["target_ids"];
    const bool ends = row["end"] == "eos";
    const size_t written = ids.size() - (ends ? 1 : 0);
    if (clear == ids.size()) {
      ASSERT_EQ(sink.tokens.size(), written);
      ASSERT_EQ(sink.segments.size(), 1u);
      EXPECT_EQ(ends ? sink.segments[0].text : Trimmed(sink.segments[0].text), TextOf(row));
      EXPECT_EQ(sink.appended[0], sink.segments[0].text);
      if (ends) {
        EXPECT_EQ(ids.back(), row["end_id"]);
        EXPECT_EQ(sink.segments[0].reason, FinishReason::kEndOfSentence);
        EXPECT_EQ(sink.segments[0].stats.source_tokens, row["delays"].back());
      }
    }
    for (size_t i = 0; i < std::min(clear, sink.tokens.size()); ++i) {
      SCOPED_TRACE(absl::StrCat("token ", i));
      ASSERT_EQ(sink.tokens[i].id, ids[i]);
      EXPECT_EQ(sink.tokens[i].source_tokens_read, row["delays"][i]);
      EXPECT_NEAR(sink.tokens[i].log_prob, row["logprobs"][i].get<double>(), kTolerance);
    }
  }

  void Load(const std::string& trace) {
    model_ = MakeModel(trace.substr(0, trace.find('.')));
    ASSERT_NE(model_, nullptr);
    scheduler_ = std::make_unique<Scheduler>(model_);
  }

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Scheduler> scheduler_;
  std::mt19937 random_{1};
};

TEST_P(FrameGoldenTest, TokensTextsAndDelaysAreTheReferences) {
  Load(GetParam());
  for (const Json& row : Rows(GetParam())) {
    SCOPED_TRACE(row["id"].get<std::string>());
    const absl::StatusOr<Frame> frame = model_->FrameOf({row["src"], row["tgt"]});
    ASSERT_TRUE(frame.ok()) << frame.status();
    EXPECT_EQ(frame->source_lead, row["lead"].get<std::vector<TokenId>>());
    EXPECT_EQ(frame->source_tail, row["tail"].get<std::vector<TokenId>>());
    std::vector<TokenId> fed = {frame->start};
    fed.insert(fed.end(), frame->forced.begin(), frame->forced.end());
    EXPECT_EQ(fed, row["start"].get<std::vector<TokenId>>());
    Compare(row, *Translate(row, 0));
    Compare(row, *Translate(row, 9));
  }
}

TEST_P(FrameGoldenTest, AResumedSessionIsTheReferencesToo) {
  Load(GetParam());
  for (const Json& row : Rows(GetParam())) {
    SCOPED_TRACE(row["id"].get<std::string>());
    if (Clear(row) < row["target_ids"].size()) continue;
    const auto whole = Translate(row, 5);
    ResumeFrom from;
    for (size_t i = 0; i < whole->tokens.size() / 2; ++i) {
      from.committed.push_back(whole->tokens[i].id);
      from.source_read.push_back(whole->tokens[i].source_tokens_read);
    }
    const size_t cut = from.committed.size();
    const auto rest = Translate(row, 7, std::move(from));
    ASSERT_EQ(rest->tokens.size(), whole->tokens.size() - cut);
    for (size_t i = 0; i < rest->tokens.size(); ++i) {
      EXPECT_EQ(rest->tokens[i].id, whole->tokens[cut + i].id);
      EXPECT_EQ(rest->tokens[i].log_prob, whole->tokens[cut + i].log_prob) << "to the bit";
    }
    ASSERT_EQ(rest->segments.size(), 1u);
    EXPECT_EQ(rest->segments[0].text, whole->segments[0].text);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Traces, FrameGoldenTest,
    ::testing::Values("m2m.en-de.tt1", "m2m.en-de.tt3", "m2m.en-de.tt7", "m2m.de-en.tt3",
                      "m2m.en-fr.tt3", "nllb.eng_Latn-deu_Latn.tt1", "nllb.eng_Latn-deu_Latn.tt3",
                      "nllb.eng_Latn-deu_Latn.tt7", "nllb.deu_Latn-eng_Latn.tt3",
                      "nllb.eng_Latn-pes_Arab.tt3", "mbart50.en_XX-de_DE.tt1",
                      "mbart50.en_XX-de_DE.tt3", "mbart50.en_XX-de_DE.tt7",
                      "mbart50.de_DE-en_XX.tt3", "mbart25.tt1", "mbart25.tt3", "mbart25.tt7"),
    [](const auto& info) {
      return absl::StrReplaceAll(info.param, {{".", "_"}, {"-", "_"}});
    });

}  // namespace
}  // namespace leapstream
