#include "model/fairseq/option_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/model/torchfile/torch_bytes.h"

namespace leapstream {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

constexpr ModelKind kKinds[] = {kMonotonicText, kMaskedText, kUnidirectionalText,
                                kBidirectionalText, kSimultaneousSpeech, kOfflineSpeech,
                                kLanguageModel};

TEST(OptionTableTest, NoOptionIsTwoThings) {
  std::map<std::string, std::set<unsigned>> kinds;
  for (const OptionRow& row : OptionRows()) {
    for (const absl::string_view name : absl::StrSplit(row.names, ' ')) {
      EXPECT_FALSE(name.empty()) << row.names;
      for (const unsigned kind : kKinds) {
        if (row.kinds != 0 && (row.kinds & kind) == 0) continue;
        EXPECT_TRUE(kinds[std::string(name)].insert(kind).second) << name << " " << kind;
      }
    }
  }
}

// The options that the fork's parser has for each architecture (tests/golden/reference/README.md),
// and the values that the architecture's preset gives.
TEST(OptionTableTest, EveryOptionOfTheForkIsThere) {
  const json architectures = json::parse(ReadAll(GoldenPath("options.json")))["architectures"];
  ASSERT_EQ(architectures.size(), 53u);
  int served = 0;
  for (const auto& [name, architecture] : architectures.items()) {
    const std::pair<const char*, ModelKind> families[] = {
        {"transformer_monotonic", kMonotonicText},
        {"transformer_unidirectional", kUnidirectionalText},
        {"convtransformer_simul_trans", kSimultaneousSpeech},
        {"convtransformer_emformer", kSimultaneousSpeech},
        {"convtransformer_espnet", kOfflineSpeech},
        {"s2t_", kOfflineSpeech},
        {"transformer_iwslt_de_en", kBidirectionalText},
        {"transformer_lm", kLanguageModel},
        {"transformer_wmt_en_de", kBidirectionalText},
        {"transformer_vaswani_wmt_en_de_big", kBidirectionalText}};
    constexpr ModelKind kPlain = kBidirectionalText, kPlainSpeech = kOfflineSpeech;
    const ModelKind* kind = name == "transformer"       ? &kPlain
                            : name == "convtransformer" ? &kPlainSpeech
                                                        : nullptr;
    for (const auto& [prefix, family] : families) {
      if (absl::StartsWith(name, prefix)) kind = &family;
    }
    served += kind != nullptr ? 1 : 0;
    std::map<std::string, std::string> options;
    for (const std::string option : architecture["options"]) options[option] = "";
    for (const auto& [option, value] : architecture["preset"].items()) {
      if (option == "error") continue;  // This preset calls itself for ever.
      options[option] = value.is_string()    ? value.get<std::string>()
                        : value.is_boolean() ? (value.get<bool>() ? "True" : "False")
                        : value.is_null()    ? "None"
                                             : value.dump();
    }
    for (const auto& [option, value] : options) {
      if (kind != nullptr) {
        const OptionRow* row = FindOption(option, *kind);
        ASSERT_NE(row, nullptr) << name << ": " << option;
        EXPECT_TRUE(row->effect != OptionEffect::kRefused || IsOff(value))
            << name << ": " << option << " is " << value;
        continue;
      }
      bool known = false;
      for (const ModelKind each : kKinds) known = known || FindOption(option, each) != nullptr;
      EXPECT_TRUE(known) << name << ": " << option;
    }
  }
  EXPECT_EQ(served, 47);
}

TEST(OptionTableTest, KnowsWhatIsOff) {
  for (const char* off : {"", "None", "False", "0", "0.0", "[]", "{}", "-0", "0e5"}) {
    EXPECT_TRUE(IsOff(off)) << off;
  }
  for (const char* on : {"True", "1", "-1", "0.1", "[0]", "{0}", "none", "<x>", "0,2"}) {
    EXPECT_FALSE(IsOff(on)) << on;
  }
}

// After a change of the table, the text that this test prints belongs into the documentation.
TEST(OptionTableTest, IsWhatTheDocumentationHas) {
  EXPECT_THAT(ReadAll(LEAPSTREAM_SOURCE_DIR "/docs/models.md"), HasSubstr("\n" + OptionTable()))
      << OptionTable();
}

}  // namespace
}  // namespace leapstream
