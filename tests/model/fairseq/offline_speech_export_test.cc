// The export of models of speech that were trained offline: all forms of files, what their yaml
// says, and what is refused. tests/model/engine/offline_speech_test.cc holds what they compute.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "model/api/model_directory.h"
#include "model/engine/load_model.h"
#include "model/engine/model_family.h"
#include "model/fairseq/export.h"
#include "model/fairseq/inspect.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Offline(const std::string& path) { return GoldenPath("../offline_speech/" + path); }

class OfflineSpeechExportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
    Use("s2t_lang", "lang");
  }
  void TearDown() override { fs::remove_all(root_); }

  void Use(const std::string& checkpoint, const std::string& config) {
    options_ = ExportOptions();
    options_.checkpoints = {Offline(absl::StrCat("checkpoints/", checkpoint, ".pt"))};
    options_.config_yaml = Offline(absl::StrCat("data/config_", config, ".yaml"));
    options_.source_language = "en";
    options_.target_language = "de";
    options_.output = (root_ / "model").string();
  }
  // Exports the contents as a checkpoint.
  absl::Status ExportContents(const CheckpointContents& contents, const CheckpointForm& form = {}) {
    options_.checkpoints = {(root_ / "changed.pt").string()};
    WriteAll(options_.checkpoints[0], WriteCheckpoint(contents, form));
    return ExportModel(options_);
  }
  CheckpointContents Contents() { return ReadContents(options_.checkpoints[0]); }
  ModelConfig Exported() {
    auto config = ReadModelDirectory(options_.output);
    EXPECT_TRUE(config.ok()) << config.status();
    return config.ok() ? *config : ModelConfig();
  }
  // Exports with other settings in place of some in the yaml.
  absl::Status ExportWith(const std::vector<std::pair<std::string, std::string>>& changes) {
    const std::string yaml = options_.config_yaml;
    const fs::path folder = fs::path(yaml).parent_path();
    for (const auto& entry : fs::directory_iterator(folder)) {
      fs::copy(entry.path(), root_ / entry.path().filename(), fs::copy_options::skip_existing);
    }
    options_.config_yaml = (root_ / "changed.yaml").string();
    WriteAll(options_.config_yaml, absl::StrReplaceAll(ReadAll(yaml), changes));
    const absl::Status status = ExportModel(options_);
    options_.config_yaml = yaml;
    return status;
  }

  fs::path root_;
  ExportOptions options_;
};

// A model.json is no more trusted than a checkpoint.
TEST_F(OfflineSpeechExportTest, AFrontEndThatComputesNothingIsRefused) {
  ASSERT_TRUE(ExportModel(options_).ok());
  const ModelConfig good = Exported();
  ASSERT_TRUE(ValidateModelConfig(good).ok()) << ValidateModelConfig(good);
  ModelConfig config = good;
  config.speech->conv_kernels.clear();
  config.speech->input.frames_per_state = 1;
  EXPECT_THAT(std::string(ValidateModelConfig(config).message()), HasSubstr("conv_kernels"));
  config = good;
  config.speech->input.frame_shift_samples = 1;  // An encoder state of a quarter of a ms.
  EXPECT_THAT(std::string(ValidateModelConfig(config).message()), HasSubstr("whole number of ms"));
}

TEST_F(OfflineSpeechExportTest, TheYamlNamesTheFilesAndTheNormalisation) {
  ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  const ModelConfig config = Exported();
  ASSERT_TRUE(config.speech.has_value());
  EXPECT_EQ(config.simul_type, "none");
  EXPECT_EQ(config.speech->front_end, "conv1d");
  EXPECT_THAT(config.speech->conv_kernels, ElementsAre(5, 5));
  EXPECT_EQ(config.speech->cmvn, "utterance");
  EXPECT_TRUE(config.speech->cmvn_mean.empty());
  EXPECT_EQ(config.speech->input.pre_decision_ratio, 25);
  EXPECT_TRUE(config.encoder.final_norm);
  EXPECT_THAT(config.frame.forced, ElementsAre("{target}"));
  const auto model = LoadModel(options_.output);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT((*model)->info.source_languages, ElementsAre("en"));
  EXPECT_THAT((*model)->info.target_languages, ElementsAre("de", "en"));
  EXPECT_THAT((*model)->FrameOf({"en", "en"})->forced, ElementsAre(5));
  options_.source_language.clear();
  EXPECT_THAT(std::string(ExportModel(options_).message()), HasSubstr("give --source-lang"));

  Use("conformer_rel", "global");
  options_.fairseq_options["fixed_pre_decision_ratio"] = "7";
  ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  const ModelConfig conformer = Exported();
  ASSERT_TRUE(conformer.speech->conformer.has_value());
  EXPECT_EQ(conformer.speech->conformer->positions, "relative");
  EXPECT_EQ(conformer.speech->cmvn, "global");
  EXPECT_EQ(conformer.speech->cmvn_mean.size(), 80u);
  EXPECT_EQ(conformer.speech->input.pre_decision_ratio, 7);
  EXPECT_FALSE(conformer.encoder.final_norm);
  EXPECT_EQ(conformer.encoder.positions, PositionKind::kNone);
}

TEST_F(OfflineSpeechExportTest, ReadsTheTransformsOfInference) {
  Use("conv_offline", "utterance");
  const std::string eval = "  _eval:\n  - global_cmvn\n  _train:";
  ASSERT_TRUE(ExportWith({{"  _train:", eval},
                          {"vocab_filename", "global_cmvn:\n  stats_npz_path: /gone/gcmvn.npz\n"
                                             "vocab_filename"}})
                  .ok());
  EXPECT_EQ(Exported().speech->cmvn, "global");
  // Utterance CMVN begins with stored statistics where the yaml names them.
  ASSERT_TRUE(ExportWith({{"vocab_filename", "global_cmvn:\n  stats_npz_path: gcmvn.npz\n"
                                             "utterance_cmvn:\n  norm_vars: false\n"
                                             "vocab_filename"}})
                  .ok());
  EXPECT_EQ(Exported().speech->cmvn, "utterance");
  EXPECT_GT(Exported().speech->cmvn_stored_frames, 0);
  EXPECT_EQ(Exported().speech->cmvn_std.size(), 80u);
  EXPECT_FALSE(Exported().speech->norm_vars);
  EXPECT_TRUE(LoadModel(options_.output).ok());
  ASSERT_TRUE(ExportWith({{"  - utterance_cmvn\n", ""}, {"  '*':\n", "  '*': []\n"}}).ok());
  EXPECT_EQ(Exported().speech->cmvn, "none");
  EXPECT_TRUE(LoadModel(options_.output).ok());
  EXPECT_THAT(std::string(ExportWith({{"  - utterance_cmvn", "  - delta_deltas"}}).message()),
              HasSubstr("transform \"delta_deltas\""));
  EXPECT_THAT(
      std::string(ExportWith({{"input_channels: 1", "use_audio_input: true"}}).message()),
      HasSubstr("use_audio_input is on"));
  EXPECT_THAT(std::string(ExportWith({{"spm_de.txt", "spm_two.txt"}}).message()),
              HasSubstr("rows"));
}

// Half precision, and the file formats and option forms of all versions of fairseq.
TEST_F(OfflineSpeechExportTest, EveryFormOfFileGivesTheSameModel) {
  for (const char* name : {"s2t_lang", "conformer_rel"}) {
    Use(name, name == std::string("s2t_lang") ? "lang" : "global");
    ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
    const std::string expected = Exported().sha256.at(kWeightsFile);
    const CheckpointContents contents = Contents();
    for (const OptionsForm form : {OptionsForm::kArgs, OptionsForm::kDictConfigNamespace}) {
      for (const bool old : {false, true}) {
        CheckpointForm written;
        written.options = form;
        written.old = old;
        ASSERT_TRUE(ExportContents(contents, written).ok());
        EXPECT_EQ(Exported().sha256.at(kWeightsFile), expected);
      }
    }
    CheckpointForm half;
    half.type = StorageType::kFloat16;
    ASSERT_TRUE(ExportContents(contents, half).ok());
    EXPECT_TRUE(LoadModel(options_.output).ok());
  }
}

// fairseq runs the plain convtransformer that a convtransformer_emformer has inside.
TEST_F(OfflineSpeechExportTest, AnEmformerIsAConvtransformerByAnotherName) {
  Use("conv_offline", "utterance");
  options_.checkpoints = {GoldenPath("../speech/checkpoints/speech_softmax.pt")};
  options_.config_yaml = GoldenPath("../speech/data/config_st.yaml");
  ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  const std::string expected = Exported().sha256.at(kWeightsFile);
  CheckpointContents contents = Contents();
  std::vector<std::string> names;
  for (const auto& entry : contents.parameters) {
    if (absl::StartsWith(entry.first, "encoder.")) names.push_back(entry.first);
  }
  for (const std::string& name : names) {
    contents.Rename(name, absl::StrCat("encoder.conv_transformer_encoder.",
                                       name.substr(std::string("encoder.").size())));
  }
  contents.options["arch"] = contents.options["_name"] = "convtransformer_emformer";
  contents.options["segment_length"] = "16";
  contents.options["max_memory_size"] = "3";
  contents.parameters["encoder.transformer_layers.0.emformer.weight"] = {{2}, {1, 2}};
  ASSERT_TRUE(ExportContents(contents).ok()) << ExportContents(contents);
  EXPECT_EQ(Exported().sha256.at(kWeightsFile), expected);
  EXPECT_THAT(InspectCheckpoint(options_.checkpoints[0], options_).value(),
              AllOf(HasSubstr("can be exported: yes"), HasSubstr("layers of Emformer that are in "
                                                                 "the file never run"),
                    HasSubstr("emformer.weight [2] float32  (ignored: a layer of Emformer's")));
  // Early versions trained Emformer's own layers.
  contents.Rename("encoder.conv_transformer_encoder.conv.0.weight", "encoder.conv.0.weight");
  EXPECT_THAT(std::string(ExportContents(contents).message()),
              HasSubstr("trained with Emformer's own layers"));
}

TEST_F(OfflineSpeechExportTest, RefusesByName) {
  const std::tuple<const char*, const char*, const char*> cases[] = {
      {"arch", "convtransformer_augmented_memory", "keeps a memory of earlier segments"},
      {"arch", "s2s_transformer", "served of speech: s2t_transformer*"},
      {"conv_kernel_sizes", "5,4", "odd numbers"},
      {"attn_type", "other", "served: espnet"},
      {"pos_enc_type", "learned", "served: abs, rel_pos, rope"},
      {"depthwise_conv_kernel_size", "30", "odd numbers"},
      {"ctc_compress_out", "True", "ctc_compress_out"},
      {"input_feat_per_channel", "40", "served: 80"}};
  Use("conformer_rel", "global");
  const CheckpointContents original = Contents();
  for (const auto& [option, value, expected] : cases) {
    CheckpointContents contents = original;
    contents.options[option] = value;
    if (option == std::string("arch")) contents.options["_name"] = value;
    const absl::Status status = ExportContents(contents);
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(value), HasSubstr(expected)));
  }
  // fairseq itself fails with relative positions in its own attention.
  CheckpointContents contents = original;
  contents.options["attn_type"] = "None";
  contents.options["pos_enc_type"] = "rel_pos";
  EXPECT_THAT(std::string(ExportContents(contents).message()), HasSubstr("only with attn_type"));
}

TEST_F(OfflineSpeechExportTest, InspectSaysWhatItIs) {
  Use("conformer_rel", "global");
  EXPECT_THAT(InspectCheckpoint(options_.checkpoints[0], options_).value(),
              AllOf(HasSubstr("can be exported: yes"), HasSubstr("local agreement (la:2)"),
                    HasSubstr("2 convolutions over time of kernels 5, 5 and 64 channels, gated"),
                    HasSubstr("layers: of a conformer, relative positions"),
                    HasSubstr("read: every 25 states (1000 ms)"),
                    HasSubstr("num_batches_tracked [] int64  (ignored: only training uses it)")));
}

}  // namespace
}  // namespace leapstream
