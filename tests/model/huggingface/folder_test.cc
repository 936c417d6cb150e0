// Folders that are refused or that say something unusual. Each test changes one file of a golden
// folder.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "model/api/model_directory.h"
#include "model/api/safetensors.h"
#include "model/api/vocabulary.h"
#include "model/engine/model_family.h"
#include "model/huggingface/export_folder.h"
#include "model/huggingface/folder_config.h"
#include "model/huggingface/folder_tensors.h"
#include "model/huggingface/folder_vocabulary.h"
#include "model/huggingface/model_card.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class FolderTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    root_ = absl::StrCat(::testing::TempDir(), "/leapstream-folders-", name);
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void Copy(const std::string& name) {
    options_.folder = root_ + "/folder";
    options_.output = root_ + "/model";
    fs::remove_all(root_);
    fs::create_directories(root_);
    fs::copy(absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/hugging_face/checkpoints/", name),
             options_.folder);
  }
  std::string Path(const std::string& file) const { return options_.folder + "/" + file; }
  void Write(const std::string& file, const std::string& text) const {
    std::ofstream(Path(file), std::ios::binary) << text;
  }
  void Set(const std::string& file, const std::string& key, const json& value) const {
    json object = json::object();
    if (std::ifstream in(Path(file)); in.good()) object = json::parse(in);
    object[key] = value;
    Write(file, object.dump());
  }
  // Rewrites model.safetensors with other tensors.
  void Change(const std::function<void(std::map<std::string, TensorView>*)>& change) const {
    const auto file = MappedFile::Open(Path("model.safetensors"));
    ASSERT_TRUE(file.ok());
    auto tensors = *ParseSafetensors((*file)->bytes(), "f");
    change(&tensors);
    ASSERT_TRUE(WriteSafetensors(Path("new"), tensors).ok());
    fs::rename(Path("new"), Path("model.safetensors"));
  }
  std::string Error() {
    const absl::Status status = ExportFolder(options_, nullptr);
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(fs::exists(options_.output));
    const auto inspected = InspectFolder(options_);
    EXPECT_TRUE(!inspected.ok() || inspected->find("can be exported: no: ") != std::string::npos);
    return std::string(status.message());
  }
  ModelConfig Export() {
    notes_.clear();
    const absl::Status status = ExportFolder(options_, &notes_);
    EXPECT_TRUE(status.ok()) << status;
    auto config = ReadModelDirectory(options_.output);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *config : ModelConfig();
  }

  std::string root_;
  FolderExportOptions options_;
  std::vector<std::string> notes_;
};

TEST_F(FolderTest, SettingsThatChangeTheResultAreRefusedByName) {
  const std::tuple<const char*, const char*, json> settings[] = {
      {"generation_config.json", "repetition_penalty", 1.2},
      {"generation_config.json", "no_repeat_ngram_size", 3},
      {"generation_config.json", "encoder_no_repeat_ngram_size", 2},
      {"generation_config.json", "num_beam_groups", 2},
      {"generation_config.json", "diversity_penalty", 0.5},
      {"generation_config.json", "do_sample", true},
      {"generation_config.json", "suppress_tokens", {7}},
      {"generation_config.json", "begin_suppress_tokens", {7}},
      {"generation_config.json", "min_length", 5},
      {"generation_config.json", "bad_words_ids", {{5, 6}}},
      {"generation_config.json", "eos_token_id", {2, 3}},
      {"generation_config.json", "decoder_start_token_id", 0},
      {"config.json", "activation_function", "gelu_new"},
      {"config.json", "tie_encoder_decoder", true},
      {"config.json", "is_encoder_decoder", false},
      {"config.json", "quantization_config", {{"bits", 4}}},
      {"config.json", "auto_map", {{"AutoModel", "x.py"}}},
      {"config.json", "num_experts", 8},
      {"config.json", "model_type", "nllb-moe"},
      {"config.json", "model_type", "t5"},
      {"config.json", "d_model", 63},
      {"config.json", "normalize_before", false},
      {"config.json", "pad_token_id", 5},
      {"tokenizer_config.json", "sp_model_kwargs", {{"enable_sampling", true}}},
      {"tokenizer_config.json", "do_lower_case", true},
      {"tokenizer_config.json", "language_codes", "m2m1000"},
      {"tokenizer_config.json", "tokenizer_class", "T5Tokenizer"}};
  for (const auto& [file, key, value] : settings) {
    Copy("m2m100");
    Set(file, key, value);
    EXPECT_THAT(Error(), HasSubstr(key));
  }
}

TEST_F(FolderTest, SettingsWithoutEffectAreTaken) {
  Copy("m2m100");
  Set("generation_config.json", "repetition_penalty", 1.0);
  Set("generation_config.json", "suppress_tokens", json::array());
  Set("generation_config.json", "no_repeat_ngram_size", 0);
  Set("generation_config.json", "bad_words_ids", nullptr);
  Set("config.json", "layerdrop", 0.3);
  Set("tokenizer_config.json", "tokenizer_class", "M2M100TokenizerFast");
  Set("tokenizer_config.json", "sp_model_kwargs", json::object());
  Set("tokenizer_config.json", "language_codes", "m2m100");
  EXPECT_FALSE(Export().output_bias);
}

TEST_F(FolderTest, WithoutGenerationConfigItsKeysAreLookedForInConfigJson) {
  Copy("m2m100");
  fs::remove(Path("generation_config.json"));
  Set("config.json", "repetition_penalty", 1.5);
  EXPECT_THAT(Error(), AllOf(HasSubstr("config.json"), HasSubstr("repetition_penalty")));
}

TEST_F(FolderTest, ABannedTokenHasALogitThatNeverWins) {
  Copy("m2m100");
  Set("generation_config.json", "bad_words_ids", {{7}, {2}});
  EXPECT_TRUE(Export().output_bias);
  const auto file = MappedFile::Open(options_.output + "/" + kWeightsFile);
  const auto tensors = *ParseSafetensors((*file)->bytes(), "weights");
  const auto* bias = reinterpret_cast<const float*>(tensors.at("decoder.output_bias").bytes.data());
  EXPECT_LT(bias[7], -1e8f);
  EXPECT_EQ(bias[2], 0) << "the end cannot be banned";
  EXPECT_EQ(bias[8], 0);
}

TEST_F(FolderTest, MissingFilesAreNamedWithTheOneToFetch) {
  Copy("mbart50");
  fs::rename(Path("sentencepiece.bpe.model"), Path("tokenizer.json"));
  EXPECT_THAT(Error(), AllOf(HasSubstr("fetch sentencepiece.bpe.model"),
                             HasSubstr("tokenizer.json cannot replace it")));
  Copy("m2m100");
  fs::remove(Path("vocab.json"));
  EXPECT_THAT(Error(), HasSubstr("vocab.json"));
  Copy("m2m100");
  fs::remove(Path("config.json"));
  EXPECT_THAT(Error(), HasSubstr("config.json"));
  for (const auto& [file, what] :
       {std::pair("tf_model.h5", "TensorFlow"), std::pair("model.bin", "CTranslate2"),
        std::pair("x.Q4.gguf", "GGUF"), std::pair("flax_model.msgpack", "Flax")}) {
    Copy("m2m100");
    fs::rename(Path("model.safetensors"), Path(file));
    EXPECT_THAT(Error(), AllOf(HasSubstr("expected model.safetensors"), HasSubstr(what)));
  }
}

TEST_F(FolderTest, AdaptersAndPointersAreRefusedByName) {
  Copy("m2m100");
  Write("adapter_config.json", "{}");
  EXPECT_THAT(Error(), HasSubstr("adapter"));
  fs::remove(Path("config.json"));  // As a folder that has nothing but an adapter.
  EXPECT_THAT(Error(), HasSubstr("adapter"));
  Copy("m2m100");
  Change([](auto* tensors) {
    (*tensors)["base_model.model.model.encoder.layers.0.fc1.lora_A.weight"] =
        tensors->begin()->second;
  });
  EXPECT_THAT(Error(), AllOf(HasSubstr("lora_A"), HasSubstr("merge it")));
  Copy("m2m100");
  Write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  EXPECT_THAT(Error(), HasSubstr("Git LFS"));
}

TEST_F(FolderTest, TensorsThatAreOneMustBeEqual) {
  Copy("m2m100");
  Change([](auto* tensors) { (*tensors)["lm_head.weight"] = tensors->at("model.shared.weight"); });
  Export();
  static std::string other;
  Change([](auto* tensors) {
    other = std::string(tensors->at("model.shared.weight").bytes);
    other[0] ^= 1;
    (*tensors)["lm_head.weight"].bytes = other;
  });
  fs::remove_all(options_.output);
  EXPECT_THAT(Error(), AllOf(HasSubstr("lm_head.weight"), HasSubstr("model.shared.weight"),
                             HasSubstr("differ")));
  // Any one of the names will do.
  Copy("m2m100");
  Change([](auto* tensors) {
    (*tensors)["model.decoder.embed_tokens.weight"] = tensors->at("model.shared.weight");
    tensors->erase("model.shared.weight");
  });
  Export();
}

TEST_F(FolderTest, MissingUnknownAndMisshapenTensorsAreNamed) {
  Copy("m2m100");
  Change([](auto* tensors) { tensors->erase("model.decoder.layers.1.fc2.bias"); });
  EXPECT_THAT(Error(), AllOf(HasSubstr("missing"), HasSubstr("decoder.layers.1.fc2.bias")));
  Copy("m2m100");
  Change([](auto* tensors) { (*tensors)["model.extra"] = tensors->begin()->second; });
  EXPECT_THAT(Error(), AllOf(HasSubstr("no place"), HasSubstr("model.extra")));
  Copy("m2m100");
  Set("config.json", "encoder_ffn_dim", 130);
  EXPECT_THAT(Error(), AllOf(HasSubstr("shape"), HasSubstr("fc1")));
  Copy("m2m100");
  Set("config.json", "vocab_size", 700);
  EXPECT_THAT(Error(), AllOf(HasSubstr("676 rows"), HasSubstr("700")));
  Copy("m2m100");  // A static table, whatever it holds.
  Change([](auto* tensors) {
    (*tensors)["model.encoder.embed_positions.weights"] = tensors->begin()->second;
  });
  Export();
}

TEST_F(FolderTest, AnIndexNamesFilesOfItsFolderOnly) {
  for (const char* name : {"../secret", "a/b", "..", "", "/etc/passwd"}) {
    const json index = {{"weight_map", {{"t", name}}}};
    const auto shards = ParseShardIndex(index.dump(), "index");
    ASSERT_FALSE(shards.ok()) << name;
    EXPECT_THAT(shards.status().message(), HasSubstr("same folder"));
  }
  EXPECT_FALSE(ParseShardIndex("{}", "index").ok());
  EXPECT_FALSE(ParseShardIndex("[", "index").ok());
  Copy("m2m100");
  fs::rename(Path("model.safetensors"), Path("a.safetensors"));
  Write("model.safetensors.index.json",
        json({{"weight_map", {{"model.shared.weight", "b.safetensors"}}}}).dump());
  EXPECT_THAT(Error(), AllOf(HasSubstr("b.safetensors"), HasSubstr("not in the folder")));
  Write("model.safetensors.index.json",
        json({{"weight_map", {{"model.absent", "a.safetensors"}}}}).dump());
  EXPECT_THAT(Error(), HasSubstr("model.absent"));
}

TEST_F(FolderTest, AVocabularyIsWhole) {
  EXPECT_THAT(*ParseVocabularyJson(R"({"b": 1, "a": 0})", "v"), ElementsAre("a", "b"));
  for (const char* text : {R"({"a": 0, "b": 2})", R"({"a": 0, "b": 0})", R"({"a": -1})",
                           R"({"a": 0.5})", R"({"a": "0"})", R"(["a"])", "", "{\"\xff\": 0}"}) {
    EXPECT_FALSE(ParseVocabularyJson(text, "v").ok()) << text;
  }
  EXPECT_TRUE(DictionaryText({"<s>", "<pad>", "</s>", "<unk>", "a b", " ", "#x"}).ok());
  EXPECT_FALSE(DictionaryText({"<s>", "<pad>", "</s>", "<unk>", "a\nb"}).ok());
  EXPECT_FALSE(DictionaryText({"<s>", "<pad>", "</s>", "<unk>", "a", "a"}).ok());
  EXPECT_FALSE(DictionaryText({"<s>", "<unk>", "</s>", "<pad>"}).ok());
}

TEST_F(FolderTest, RowsThatNothingNamesAreRefused) {
  Copy("nllb");
  // Two languages fewer: the table explains fewer rows than there are.
  Set("tokenizer_config.json", "added_tokens_decoder", json::object());
  Change([](auto* tensors) {
    static std::string more;
    TensorView& shared = tensors->at("model.shared.weight");
    more = std::string(shared.bytes) + std::string(3 * 64 * 4, '\0');
    shared.shape[0] += 3;
    shared.bytes = more;
  });
  Set("config.json", "vocab_size", 809);
  EXPECT_THAT(Error(), AllOf(HasSubstr("809 rows"), HasSubstr("added_tokens.json")));
  // A language that was trained in, and its name.
  Set("added_tokens.json", "zza_Latn", 808);
  Set("special_tokens_map.json", "additional_special_tokens", {"zza_Latn"});
  const ModelConfig config = Export();
  ASSERT_EQ(config.languages.size(), 203u);
  EXPECT_EQ(config.languages.back().code, "zza_Latn");
  EXPECT_EQ(config.languages.back().target_token, "zza_Latn");
  fs::remove_all(options_.output);
  Set("added_tokens.json", "a word", 807);
  EXPECT_THAT(Error(), AllOf(HasSubstr("a word"), HasSubstr("ordinary text")));
}

TEST_F(FolderTest, AWrongTableOfTransformers457IsPassedOver) {
  Copy("nllb");
  const size_t pieces = 806 - 205;
  Set("tokenizer_config.json", "added_tokens_decoder",
      {{absl::StrCat(pieces), {{"content", "<mask>"}, {"special", true}}},
       {absl::StrCat(pieces + 1), {{"content", "ace_Arab"}, {"special", true}}}});
  const ModelConfig config = Export();
  const auto vocabulary = *Vocabulary::Load(options_.output + "/" + kTargetDictionaryFile);
  EXPECT_EQ(vocabulary.Id("ace_Arab"), static_cast<TokenId>(pieces));
  EXPECT_EQ(config.languages.size(), 202u);
}

TEST_F(FolderTest, LicenceAndOriginAreCopied) {
  Copy("nllb");
  Write("README.md", "---\nlanguage:\n- ace\nlicense: cc-by-nc-4.0\nbase_model: facebook/nllb\n---\nx");
  ModelConfig config = Export();
  EXPECT_EQ(config.license, "cc-by-nc-4.0");
  EXPECT_EQ(config.origin, "facebook/nllb");
  EXPECT_THAT(notes_, ElementsAre(HasSubstr("forbids commercial use")));
  fs::remove(Path("README.md"));
  Set("config.json", "_name_or_path", "facebook/nllb-200-distilled-600M");
  config = Export();
  EXPECT_EQ(config.origin, "facebook/nllb-200-distilled-600M");
  EXPECT_EQ(config.license, "CC-BY-NC-4.0") << "the folder does not say it, but its vocabulary does";
  EXPECT_THAT(notes_, ElementsAre(AllOf(HasSubstr("NLLB-200"), HasSubstr("CC-BY-NC-4.0"))));
  Set("config.json", "_name_or_path", "/home/me/nllb");
  EXPECT_EQ(Export().origin, "") << "a path of somebody's machine says nothing";
  for (const char* text : {"", "---", "---\n", "---\n: [\n---\n", "---\nlicense: {a: b}\n---\n",
                           "license: mit", "---\n- a\n---\n"}) {
    EXPECT_EQ(ParseModelCard(text).license, "") << text;
  }
  EXPECT_EQ(ParseModelCard("---\r\nlicense:\r\n- mit\r\n---\r\n").license, "mit");
}

TEST_F(FolderTest, TheDefaultPairIsTheFoldersOrTheUsers) {
  Copy("mbart25");
  EXPECT_EQ(Export().target_language, "de_DE") << "decoder_start_token_id is a language";
  Copy("m2m100");
  options_.source_language = "en";
  options_.target_language = "de";
  options_.name = "m";
  const ModelConfig config = Export();
  EXPECT_EQ(config.source_language, "en");
  EXPECT_EQ(config.target_language, "de");
  EXPECT_EQ(config.name, "m");
  options_.target_language = "deu_Latn";
  fs::remove_all(options_.output);
  EXPECT_THAT(Error(), AllOf(HasSubstr("deu_Latn"), HasSubstr("no target language")));
}

TEST_F(FolderTest, MarianSaysItsLanguages) {
  Copy("marian");
  ModelConfig config = Export();
  EXPECT_EQ(config.name, "en-de");
  EXPECT_TRUE(config.languages.empty());
  EXPECT_TRUE(config.output_bias);
  EXPECT_EQ(config.frame.start, "<pad>");
  Copy("marian-multi");
  config = Export();
  EXPECT_EQ(config.frame.source_lead, std::vector<std::string>{"{target}"});
  ASSERT_EQ(config.languages.size(), 4u);
  EXPECT_EQ(config.languages[3].code, "zho_Hans");
  EXPECT_EQ(config.languages[3].target_token, ">>zho_Hans<<");
  EXPECT_EQ(config.languages[3].source_token, "");
  EXPECT_EQ(config.languages[0].source_token, "</s>");
  // en-ROMANCE has two codes that differ in case alone.
  Copy("marian-multi");
  json symbols = json::parse(std::ifstream(Path("vocab.json")));
  symbols[">>pt_BR<<"] = symbols[">>eng<<"];
  symbols[">>pt_br<<"] = symbols[">>nds<<"];
  symbols.erase(">>eng<<");
  symbols.erase(">>nds<<");
  Write("vocab.json", symbols.dump());
  config = Export();
  ASSERT_EQ(config.languages.size(), 5u);
  EXPECT_EQ(config.languages[1].code, "pt_BR");
  EXPECT_EQ(config.languages[2].code, "pt_br");
}

TEST_F(FolderTest, ListsAndTablesOfAHostileFolderAreBounded) {
  Copy("marian");
  Set("config.json", "max_position_embeddings", (1 << 15) + 1);
  EXPECT_THAT(Error(), HasSubstr("max_position_embeddings"));
  json many = json::array(), added = json::object(), decoder = json::object();
  for (int i = 0; i < 5000; ++i) {
    many.push_back({i});
    added[absl::StrCat("t", i)] = i;
    decoder[absl::StrCat(i)] = {{"content", absl::StrCat("t", i)}};
  }
  Copy("m2m100");
  Set("generation_config.json", "bad_words_ids", many);
  EXPECT_THAT(Error(), HasSubstr("bad_words_ids needs to have 4096 entries at most, got 5000"));
  Copy("m2m100");
  Set("tokenizer_config.json", "added_tokens_decoder", decoder);
  EXPECT_THAT(Error(), HasSubstr("added_tokens_decoder needs"));
  Copy("m2m100");
  Write("added_tokens.json", added.dump());
  EXPECT_THAT(Error(), HasSubstr("added_tokens.json: the object needs"));
}

TEST_F(FolderTest, InspectSaysWhatIsServed) {
  Copy("nllb");
  const auto text = InspectFolder(options_);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("can be exported: yes"), HasSubstr("type: m2m_100"),
                           HasSubstr("each of these to each: ace_Arab"),
                           HasSubstr("policy: offline (whole segments)"),
                           HasSubstr("wait-k works at test time"),
                           HasSubstr("multiply-adds a source token"),
                           HasSubstr("CC-BY-NC-4.0"), HasSubstr("model.shared.weight [806, 64] float32")));
}

}  // namespace
}  // namespace leapstream
