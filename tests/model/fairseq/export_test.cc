#include "model/fairseq/export.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "model/api/half.h"
#include "model/api/model_directory.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "model/api/vocabulary.h"
#include "model/fairseq/global_cmvn.h"
#include "model/fairseq/inspect.h"
#include "model/fairseq/parameter_names.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class ExportTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
    options_.checkpoints = {GoldenPath("checkpoints/base.pt")};
    UseJointData();
    options_.output = (root_ / "model").string();
  }
  void TearDown() override { fs::remove_all(root_); }
  void UseJointData() {
    options_.source_dictionary = GoldenPath("data/joint/dict.en.txt");
    options_.target_dictionary = GoldenPath("data/joint/dict.de.txt");
    options_.source_sentencepiece = options_.target_sentencepiece =
        GoldenPath("data/joint/spm.model");
  }
  int Entries() { return std::distance(fs::directory_iterator(root_), fs::directory_iterator()); }

  fs::path root_;
  ExportOptions options_;
};

TEST_F(ExportTest, WritesWhatTheCheckpointHolds) {
  ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  const auto config = ReadModelDirectory(options_.output);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "en-de");
  const auto file = MappedFile::Open(options_.output + "/" + kWeightsFile);
  const auto tensors = ParseSafetensors((*file)->bytes(), kWeightsFile);
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  const std::string bytes = ReadAll(options_.checkpoints[0]);
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  const auto map = MapParameters(*checkpoint, *config);
  EXPECT_EQ(tensors->size(), ListTensors(*config).size());
  for (const TensorSpec& spec : ListTensors(*config)) {
    const TensorView& tensor = tensors->at(spec.name);
    EXPECT_EQ(tensor.shape, spec.shape) << spec.name;
    const auto values = checkpoint->ReadRows(map->sources.at(spec.name));
    ASSERT_TRUE(values.ok());
    EXPECT_EQ(std::memcmp(tensor.bytes.data(), values->data(), tensor.bytes.size()), 0)
        << spec.name;
  }
  EXPECT_EQ(Entries(), 1);  // Nothing is left beside the output.
}

TEST_F(ExportTest, WritesHalfPrecisionOverAnOlderModel) {
  ASSERT_TRUE(ExportModel(options_).ok());
  const auto size = fs::file_size(root_ / "model" / kWeightsFile);
  options_.weight_type = TensorType::kFloat16;
  options_.name = "tiny";
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_LT(fs::file_size(root_ / "model" / kWeightsFile), size * 6 / 10);
  EXPECT_EQ(ReadModelDirectory(options_.output)->name, "tiny");
  EXPECT_EQ(Entries(), 1);
}

TEST_F(ExportTest, ASentencePieceModelTakesTextBetweenSpaces) {
  options_.tokenizer.tokenizer = "space";
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_EQ(ReadModelDirectory(options_.output)->source_tokenizer.tokenizer, "none");
  options_.tokenizer.tokenizer = "moses";
  EXPECT_TRUE(absl::IsUnimplemented(ExportModel(options_)));
}

TEST_F(ExportTest, OverwritesNothingElse) {
  fs::create_directories(root_ / "model");
  WriteAll(options_.output + "/thesis.txt", "precious");
  EXPECT_TRUE(absl::IsFailedPrecondition(ExportModel(options_)));
  EXPECT_EQ(ReadAll(options_.output + "/thesis.txt"), "precious");
  fs::remove(root_ / "model" / "thesis.txt");
  EXPECT_TRUE(ExportModel(options_).ok());  // The output is empty by now.
}

TEST_F(ExportTest, FilesMustBelongTogether) {
  options_.target_dictionary = GoldenPath("data/sep/dict.de.txt");
  const absl::Status dictionary = ExportModel(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(dictionary));
  EXPECT_THAT(std::string(dictionary.message()),
              AllOf(HasSubstr("dict.de.txt"), HasSubstr("776"), HasSubstr("656")));
  // One embedding cannot have two meanings.
  std::string swapped = ReadAll(options_.source_dictionary);
  const size_t first = swapped.find('\n') + 1, second = swapped.find('\n', first) + 1;
  swapped =
      swapped.substr(first, second - first) + swapped.substr(0, first) + swapped.substr(second);
  options_.target_dictionary = (root_ / "swapped.txt").string();
  WriteAll(options_.target_dictionary, swapped);
  EXPECT_THAT(std::string(ExportModel(options_).message()),
              AllOf(HasSubstr("swapped.txt: symbol 4 is \""), HasSubstr("share_all_embeddings")));
  options_.target_dictionary = options_.source_dictionary;
  options_.target_sentencepiece = (root_ / "empty.model").string();
  EXPECT_TRUE(absl::IsNotFound(ExportModel(options_)));
  WriteAll(options_.target_sentencepiece, "");
  EXPECT_TRUE(absl::IsInvalidArgument(ExportModel(options_)));
  EXPECT_FALSE(fs::exists(options_.output));
}

TEST_F(ExportTest, ExportsEveryModelOfTheOfficialTrainer) {
  for (const std::string name :
       {"base", "asym", "fp16", "learned_gelu_sepdict", "softmax_postnorm", "leap_enc", "leap_sa",
        "mma_il", "mma_hard", "nomass_nopos", "unidirectional", "offline"}) {
    options_.checkpoints = {GoldenPath("checkpoints/" + name + ".pt")};
    if (name == "learned_gelu_sepdict") {
      options_.source_dictionary = GoldenPath("data/sep/dict.en.txt");
      options_.target_dictionary = GoldenPath("data/sep/dict.de.txt");
      options_.source_sentencepiece = GoldenPath("data/sep/spm.en.model");
      options_.target_sentencepiece = GoldenPath("data/sep/spm.de.model");
    } else {
      UseJointData();
    }
    const absl::Status status = ExportModel(options_);
    EXPECT_TRUE(status.ok()) << status;
    const auto text = InspectCheckpoint(options_.checkpoints[0]);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, HasSubstr("can be exported: yes"));
  }
}

TEST_F(ExportTest, RecordsTheSoftmaxNormaliserWhereItMeansSomething) {
  options_.cross_normaliser = "softmax";
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_EQ(ReadModelDirectory(options_.output)->cross_normaliser, "softmax");
  for (const char* name : {"leap_enc", "offline", "mma_il"}) {
    options_.checkpoints = {GoldenPath(absl::StrCat("checkpoints/", name, ".pt"))};
    const absl::Status status = ExportModel(options_);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("leave it at linear"));
  }
}

class AverageTest : public ExportTest {
 protected:
  void SetUp() override {
    ExportTest::SetUp();
    contents_ = ReadContents(GoldenPath("checkpoints/base.pt"));
    options_.checkpoints.clear();
    options_.average = true;
  }
  void Add(const CheckpointContents& contents, CheckpointForm form = {}) {
    options_.checkpoints.push_back(
        (root_ / absl::StrCat(options_.checkpoints.size(), ".pt")).string());
    WriteAll(options_.checkpoints.back(), WriteCheckpoint(contents, form));
  }
  CheckpointContents Scaled(float factor) const {
    CheckpointContents result = contents_;
    for (auto& [name, parameter] : result.parameters) {
      if (absl::EndsWith(name, "version")) continue;
      for (float& value : parameter.values) value *= factor;
    }
    return result;
  }
  std::vector<float> Exported(const std::string& name) {
    const auto file = MappedFile::Open(options_.output + "/" + kWeightsFile);
    const auto tensors = ParseSafetensors((*file)->bytes(), kWeightsFile);
    const absl::string_view bytes = tensors->at(name).bytes;
    std::vector<float> result(bytes.size() / sizeof(float));
    std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
  }

  CheckpointContents contents_;
};

TEST_F(AverageTest, AnEnsembleKeepsTheWeightsOfEach) {
  options_.average = false;
  options_.ensemble = true;
  Add(contents_);
  Add(Scaled(1.5f));
  const absl::Status status = ExportModel(options_);
  ASSERT_TRUE(status.ok()) << status;
  const auto config = ReadModelDirectory(options_.output);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->ensemble, 2);
  EXPECT_EQ(config->sha256.count("weights.2.safetensors"), 1u);
  EXPECT_EQ(Exported("encoder.layers.0.ffn.hidden.weight"),
            contents_.parameters["encoder.layers.0.fc1.weight"].values);
  const auto model = LoadModel(options_.output, {});
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_NE((*model)->info.checksum, config->sha256.at(kWeightsFile));
  std::filesystem::remove(options_.output + "/weights.2.safetensors");
  EXPECT_EQ(ReadModelDirectory(options_.output).status().code(),
            absl::StatusCode::kFailedPrecondition);

  options_.checkpoints.resize(1);
  ASSERT_TRUE(ExportModel(options_).ok());  // In the place of the ensemble.
  EXPECT_EQ(ReadModelDirectory(options_.output)->ensemble, 1);
  options_.checkpoints.assign(9, options_.checkpoints[0]);
  EXPECT_THAT(std::string(ExportModel(options_).message()), HasSubstr("8 checkpoints at most"));
}

TEST_F(AverageTest, IsTheSumInOrderDivided) {
  const CheckpointContents others[] = {Scaled(1.5f), Scaled(-0.3f)};
  Add(contents_);
  Add(others[0]);
  Add(others[1]);
  const absl::Status status = ExportModel(options_);
  ASSERT_TRUE(status.ok()) << status;
  const std::string name = "encoder.layers.0.fc1.weight";
  std::vector<float> expected = contents_.parameters[name].values;
  for (size_t i = 0; i < expected.size(); ++i) {
    for (const CheckpointContents& other : others) {
      expected[i] += other.parameters.at(name).values[i];
    }
    expected[i] /= 3;
  }
  EXPECT_EQ(Exported("encoder.layers.0.ffn.hidden.weight"), expected);
}

TEST_F(AverageTest, WidensHalfPrecisionFirst) {
  CheckpointForm half;
  half.type = StorageType::kFloat16;
  for (int i = 0; i < 2; ++i) {  // 1 + 2049 / 2048 is no float16 number.
    auto& values = contents_.parameters["encoder.layer_norm.bias"].values;
    values.assign(values.size(), i == 0 ? 1.0f : 1.0f + 1.0f / 1024);
    Add(contents_, half);
  }
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_EQ(Exported("encoder.norm.bias")[0], 1.0f + 1.0f / 2048);
}

float Bfloat16(double value) {  // Rounds to nearest, ties to even.
  return RoundToBfloat16(static_cast<float>(value));
}

// torch adds and divides in the type of the first checkpoint: each result is rounded to it.
TEST_F(AverageTest, SumsInTheTypeOfTheFirst) {
  const std::string name = "encoder.layer_norm.bias";
  const float values[] = {1.0f, 1.0f + 1.0f / 128, 1.0f + 3.0f / 128};  // All are bfloat16 numbers.
  CheckpointForm form;
  form.type = StorageType::kBFloat16;
  for (const float value : values) {
    auto& all = contents_.parameters[name].values;
    all.assign(all.size(), value);
    Add(contents_, form);
  }
  ASSERT_TRUE(ExportModel(options_).ok());
  const float expected = Bfloat16(Bfloat16(Bfloat16(values[0] + values[1]) + values[2]) / 3.0f);
  EXPECT_NE(expected, (values[0] + values[1] + values[2]) / 3);
  EXPECT_EQ(Exported("encoder.norm.bias")[0], expected);
  // The mean of float32 and bfloat16 has the first one's type.
  options_.checkpoints.resize(1);
  auto& all = contents_.parameters[name].values;
  all.assign(all.size(), 1.0f + 1.0f / 4096);
  Add(contents_);
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_EQ(Exported("encoder.norm.bias")[0],
            Bfloat16(Bfloat16(values[0] + (1.0f + 1.0f / 4096)) / 2.0f));
  std::swap(options_.checkpoints[0], options_.checkpoints[1]);
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_EQ(Exported("encoder.norm.bias")[0], (values[0] + (1.0f + 1.0f / 4096)) / 2);
}

TEST_F(AverageTest, SumsFloat64AsItIs) {
  const std::string name = "encoder.layer_norm.bias";
  CheckpointForm form;
  form.type = StorageType::kFloat64;
  for (const float value : {16777216.0f, 1.0f, 1.0f}) {  // 2^24: float32 would lose both ones.
    auto& all = contents_.parameters[name].values;
    all.assign(all.size(), value);
    Add(contents_, form);
  }
  ASSERT_TRUE(ExportModel(options_).ok());
  EXPECT_EQ(Exported("encoder.norm.bias")[0], static_cast<float>(16777218.0 / 3));
  EXPECT_NE(Exported("encoder.norm.bias")[0], 16777216.0f / 3);
}

TEST_F(AverageTest, AllNeedTheSameOptions) {
  Add(contents_);
  contents_.options["waitk_lagging"] = "9";
  Add(contents_);
  const absl::Status status = ExportModel(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("1.pt"), HasSubstr("waitk_lagging is 9, in the first it is 3")));
}

TEST_F(AverageTest, AllNeedTheSameParameters) {
  Add(contents_);
  CheckpointContents other = contents_;
  other.Rename("encoder.layers.1.fc1.weight", "encoder.layers.1.fcX.weight");
  Add(other);
  absl::Status status = ExportModel(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("1.pt: has no parameter encoder.layers.1.fc1.weight"), HasSubstr("0.pt")));
  other = contents_;
  other.parameters["encoder.layers.1.fc1.weight"].shape = {64, 128};
  WriteAll(options_.checkpoints[1], WriteCheckpoint(other));
  status = ExportModel(options_);
  EXPECT_THAT(
      std::string(status.message()),
      AllOf(HasSubstr("1.pt: parameter encoder.layers.1.fc1.weight has the shape [64, 128]"),
            HasSubstr("[128, 64]")));
  // In each of the checkpoints the shared tables are equal.
  other = contents_;
  other.parameters["decoder.output_projection.weight"].values[0] += 1;
  WriteAll(options_.checkpoints[1], WriteCheckpoint(other));
  status = ExportModel(options_);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("1.pt: parameter decoder.output_projection"));
}

TEST_F(AverageTest, SeveralNeedToBeAskedFor) {
  Add(contents_);
  Add(contents_);
  options_.average = false;
  const absl::Status status = ExportModel(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("--average"));
  options_.checkpoints.clear();
  EXPECT_TRUE(absl::IsInvalidArgument(ExportModel(options_)));
}

TEST_F(ExportTest, SwappedSentencePieceModelsAreRefused) {
  options_.checkpoints = {GoldenPath("checkpoints/learned_gelu_sepdict.pt")};
  options_.source_dictionary = GoldenPath("data/sep/dict.en.txt");
  options_.target_dictionary = GoldenPath("data/sep/dict.de.txt");
  options_.source_sentencepiece = GoldenPath("data/sep/spm.en.model");
  options_.target_sentencepiece = GoldenPath("data/sep/spm.de.model");
  std::vector<std::string> notes = {"to be overwritten"};
  ASSERT_TRUE(ExportModel(options_, &notes).ok());
  EXPECT_TRUE(notes.empty());
  fs::remove_all(options_.output);
  std::swap(options_.source_sentencepiece, options_.target_sentencepiece);
  const absl::Status status = ExportModel(options_);
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("source: 185 of the 717 pieces of"), HasSubstr("25 %"),
                    HasSubstr("are source and target swapped?"), HasSubstr("are in the target's")));
  EXPECT_FALSE(fs::exists(options_.output));
  EXPECT_THAT(InspectCheckpoint(options_.checkpoints[0], options_).value(),
              HasSubstr("can be exported: no: source: 185 of the 717 pieces"));
  // This model is of another vocabulary altogether.
  options_.source_sentencepiece = GoldenPath("../speech/data/spm_unigram400_st.model");
  options_.target_sentencepiece = GoldenPath("data/sep/spm.de.model");
  EXPECT_THAT(std::string(ExportModel(options_).message()),
              AllOf(HasSubstr("source: "), HasSubstr("of the 396 pieces")));
}

TEST_F(ExportTest, SaysHowManyPiecesADictionaryLacks) {
  // One in ten of the pieces is not in the dictionary, as for a language that uses only a part of a
  // joint model.
  const Vocabulary dictionary = *Vocabulary::Load(options_.source_dictionary);
  std::string text;
  for (TokenId id = 4; id < dictionary.size(); ++id) {
    absl::StrAppend(&text, id % 10 == 5 ? absl::StrCat("madeupword", id) : dictionary.Symbol(id),
                    " 1\n");
  }
  options_.source_dictionary = options_.target_dictionary = (root_ / "dict.txt").string();
  WriteAll(options_.source_dictionary, text);
  std::vector<std::string> notes;
  ASSERT_TRUE(ExportModel(options_, &notes).ok()) << ExportModel(options_);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_THAT(notes[0], AllOf(HasSubstr("source: "), HasSubstr(" of the 597 pieces of "),
                              HasSubstr("dict.txt; the others become <unk>")));
  EXPECT_THAT(InspectCheckpoint(options_.checkpoints[0], options_).value(),
              HasSubstr("note: source: "));
}

TEST_F(ExportTest, OptionsThatAreNotKnownAreIgnoredByName) {
  CheckpointContents contents = ReadContents(options_.checkpoints[0]);
  contents.options["my_loss_weight"] = "0.5";
  options_.checkpoints = {(root_ / "f.pt").string()};
  WriteAll(options_.checkpoints[0], WriteCheckpoint(contents));
  EXPECT_TRUE(absl::IsUnimplemented(ExportModel(options_)));
  EXPECT_THAT(InspectCheckpoint(options_.checkpoints[0]).value(),
              HasSubstr("my_loss_weight: 0.5  (not known to leapstream)"));
  options_.ignored_options = {"my_loss_weight"};
  EXPECT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
}

TEST_F(ExportTest, InspectTellsFamiliesApart) {
  const auto inspect = [](const std::string& name) {
    return InspectCheckpoint(GoldenPath("checkpoints/" + name + ".pt")).value();
  };
  EXPECT_THAT(inspect("leap_sa"),
              AllOf(HasSubstr("simul type: waitk, trained with k 3"), HasSubstr("encoder: causal"),
                    HasSubstr("attention: encoder softmax, decoder leap, cross softmax"),
                    HasSubstr("k_proj_soft.weight [64, 64] float32  (ignored: wait-k")));
  EXPECT_THAT(inspect("mma_il"), HasSubstr("simul type: infinite_lookback, energy bias\n"));
  EXPECT_THAT(inspect("offline"), AllOf(HasSubstr("simul type: none"),
                                        HasSubstr("encoder: bidirectional, 2 layers, width 64")));
}

TEST_F(ExportTest, InspectShowsWhatIsNotServed) {
  const std::string path = (root_ / "f.pt").string();
  CheckpointContents contents = ReadContents(GoldenPath("checkpoints/base.pt"));
  contents.options["simul_type"] = "waitk_fixed_pre_decision";
  contents.options["share_decoder_ffn_attn_layer"] = "[1, 2]";
  WriteAll(path, WriteCheckpoint(contents));
  auto text = InspectCheckpoint(path);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, AllOf(HasSubstr("can be exported: no"), HasSubstr("waitk_fixed_pre_decision"),
                           HasSubstr("layers 1, 2 are one and the same"),
                           HasSubstr("encoder.layers.0.fc1.weight [128, 64]"),
                           HasSubstr("save_dir: checkpoints/base"), HasSubstr("waitk_lagging: 3")));
  contents.options["arch"] = "convtransformer_simul_trans";
  contents.options.erase("encoder_layers");
  contents.parameters.erase("encoder.embed_tokens.weight");
  WriteAll(path, WriteCheckpoint(contents));
  text = InspectCheckpoint(path);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text, HasSubstr("served: speech_to_text"));
}

std::string SpeechPath(const std::string& path) { return GoldenPath("../speech/" + path); }

class SpeechExportTest : public ExportTest {
 protected:
  void SetUp() override {
    ExportTest::SetUp();
    options_ = ExportOptions();
    options_.checkpoints = {SpeechPath("checkpoints/speech_leap.pt")};
    options_.config_yaml = SpeechPath("data/config_st.yaml");
    options_.target_dictionary = SpeechPath("data/spm_unigram400_st.txt");
    options_.target_sentencepiece = SpeechPath("data/spm_unigram400_st.model");
    options_.source_language = "en";
    options_.target_language = "de";
    options_.output = (root_ / "model").string();
  }
  std::string Failure() {
    const absl::Status status = ExportModel(options_);
    EXPECT_FALSE(status.ok());
    EXPECT_FALSE(fs::exists(options_.output));
    return std::string(status.message());
  }
};

TEST_F(SpeechExportTest, ExportsEveryModelOfTheOfficialTrainer) {
  for (const auto& [name, ratio, channels, type] :
       {std::tuple("speech_leap", 7, 32, PreDecision::kAverage),
        {"speech_softmax", 4, 48, PreDecision::kLast},
        {"speech_leapenc", 9, 16, PreDecision::kAverage}}) {
    options_.checkpoints = {SpeechPath(absl::StrCat("checkpoints/", name, ".pt"))};
    ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
    const auto config = ReadModelDirectory(options_.output);
    ASSERT_TRUE(config.ok()) << config.status();
    ASSERT_TRUE(config->speech.has_value());
    EXPECT_EQ(config->speech->input.pre_decision_ratio, ratio);
    EXPECT_EQ(config->speech->input.pre_decision_type, type);
    EXPECT_EQ(config->speech->conv_channels, channels);
    EXPECT_FALSE(config->encoder.final_norm);
    EXPECT_FLOAT_EQ(config->speech->cmvn_mean.size(), 80);
    EXPECT_FALSE(fs::exists(root_ / "model" / kSourceDictionaryFile));
    const auto text = InspectCheckpoint(options_.checkpoints[0]);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_THAT(*text, AllOf(HasSubstr("can be exported: yes"), HasSubstr("source: speech"),
                             HasSubstr(absl::StrCat("every ", ratio, " states")),
                             HasSubstr("encoder.ctc_fc.weight"), HasSubstr("only training")));
  }
  options_.weight_type = TensorType::kFloat16;
  EXPECT_TRUE(ExportModel(options_).ok());
}

TEST_F(SpeechExportTest, SaysWhichFilesAreWanted) {
  options_.config_yaml.clear();
  EXPECT_THAT(Failure(), HasSubstr("speech, needs --config-yaml"));
  SetUp();
  options_.source_dictionary = options_.target_dictionary;
  EXPECT_THAT(Failure(), HasSubstr("speech, takes no --source-dict"));
  ExportTest::SetUp();
  options_.config_yaml = SpeechPath("data/config_st.yaml");
  EXPECT_THAT(Failure(), HasSubstr("text, takes no --config-yaml"));
}

// A simultaneous decoder never applies this norm, and an encoder of speech has none.
TEST_F(SpeechExportTest, IgnoresTheNormAfterTheEmbedding) {
  CheckpointContents contents = ReadContents(SpeechPath("checkpoints/speech_leap.pt"));
  contents.options["layernorm_embedding"] = "True";
  for (const char* name :
       {"decoder.layernorm_embedding.weight", "decoder.layernorm_embedding.bias"}) {
    contents.parameters[name] = {{64}, std::vector<float>(64, 2)};
  }
  options_.checkpoints = {(root_ / "f.pt").string()};
  WriteAll(options_.checkpoints[0], WriteCheckpoint(contents));
  EXPECT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  EXPECT_THAT(
      InspectCheckpoint(options_.checkpoints[0]).value(),
      AllOf(HasSubstr("can be exported: yes"),
            HasSubstr("decoder.layernorm_embedding.bias [64] float32  (ignored: a simultaneous "
                      "decoder does not use it)"),
            HasSubstr("layernorm_embedding: True  (without effect: an encoder of speech")));
}

TEST_F(SpeechExportTest, TheSoftmaxNormaliserNeedsMassPreservation) {
  options_.cross_normaliser = "softmax";
  EXPECT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  fs::remove_all(options_.output);
  CheckpointContents contents = ReadContents(SpeechPath("checkpoints/speech_leap.pt"));
  contents.options["mass_preservation"] = "False";
  options_.checkpoints = {(root_ / "f.pt").string()};
  WriteAll(options_.checkpoints[0], WriteCheckpoint(contents));
  EXPECT_THAT(Failure(), HasSubstr("option mass_preservation is \"False\""));
}

TEST_F(SpeechExportTest, RefusesByName) {
  for (const auto& [option, value] : {std::pair("arch", "convtransformer_augmented_memory"),
                                      {"arch", "convtransformer_emformer"},
                                      {"ctc_compress_out", "True"},
                                      {"simul_type", "hard_aligned_fixed_pre_decision"},
                                      {"simul_type", "infinite_lookback_fixed_pre_decision"},
                                      {"fixed_pre_decision_type", "max"},
                                      {"input_feat_per_channel", "40"},
                                      {"share_encoder_ffn_attn_layer", "[1, 2]"}}) {
    CheckpointContents contents = ReadContents(SpeechPath("checkpoints/speech_leap.pt"));
    contents.options[option] = value;
    options_.checkpoints = {(root_ / "f.pt").string()};
    WriteAll(options_.checkpoints[0], WriteCheckpoint(contents));
    EXPECT_THAT(Failure(), HasSubstr(value)) << option;
  }
}

TEST_F(SpeechExportTest, ReadsTheStatisticsThatTheYamlNames) {
  const std::string yaml = (root_ / "config.yaml").string();
  options_.config_yaml = yaml;
  WriteAll(yaml, "global_cmvn:\n  stats_npz_path: " + SpeechPath("data/gcmvn.npz") + "\n");
  EXPECT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);  // The path as given.
  fs::remove_all(options_.output);
  const std::pair<const char*, std::string> cases[] = {
      {"transforms:\n  '*': [delta_deltas]\nglobal_cmvn: {stats_npz_path: x.npz}\n",
       "delta_deltas"},
      {"vocab_filename: x\n", "stats_npz_path is not set"},
      {"input_feat_per_channel: 40\n", "input_feat_per_channel is 40"},
      {"global_cmvn: {stats_npz_path: missing.npz}\n",
       "there is neither " + (root_ / "missing.npz").string() + " nor missing.npz"},
      {"[1", "config.yaml"},
      {"x", "no map"},
      {"input_feat_per_channel: [1]", "config.yaml"},
      {"global_cmvn: {stats_npz_path: config.yaml}\n", "config.yaml"}};
  for (const auto& [text, expected] : cases) {
    WriteAll(yaml, text);
    EXPECT_THAT(Failure(), HasSubstr(expected)) << text;
  }
}

TEST(GlobalCmvnTest, ReadsWhatNumpyWroteAndNothingElse) {
  const std::string bytes = ReadAll(SpeechPath("data/gcmvn.npz"));
  const auto cmvn = ParseCmvnNpz(bytes, "g.npz");
  ASSERT_TRUE(cmvn.ok()) << cmvn.status();
  const std::string json = ReadAll(SpeechPath("data/gcmvn.json"));
  const size_t mean = json.find('[', json.find("mean"));
  EXPECT_FLOAT_EQ(cmvn->mean[0], std::strtof(json.c_str() + mean + 1, nullptr));
  // A file that is cut anywhere, or has any byte changed, gives an error or numbers, never a crash.
  for (size_t i = 0; i < bytes.size(); ++i) {
    EXPECT_FALSE(ParseCmvnNpz(bytes.substr(0, i), "g.npz").ok()) << i;
    std::string changed = bytes;
    changed[i] = static_cast<char>(changed[i] ^ 0x55);
    const auto parsed = ParseCmvnNpz(changed, "g.npz");
    if (parsed.ok()) {
      EXPECT_EQ(parsed->std.size(), 80) << i;
    }
  }
}

}  // namespace
}  // namespace leapstream
