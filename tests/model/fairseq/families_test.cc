// Holds the export of the families that people have to what the official code had in memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "model/api/model_directory.h"
#include "model/engine/model_family.h"
#include "model/fairseq/export.h"
#include "model/fairseq/inspect.h"
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_config.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string FamilyPath(const std::string& name) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR "/tests/golden/families/", name);
}
std::string CheckpointPath(const std::string& name) {
  return FamilyPath(absl::StrCat("checkpoints/", name, ".pt"));
}

const json& ReferenceTensors() {
  static const auto* const tensors = new json(json::parse(ReadAll(FamilyPath("tensors.json"))));
  return *tensors;
}

std::string Sha256(const std::vector<float>& values) {
  return Sha256OfBytes(absl::string_view(reinterpret_cast<const char*>(values.data()),
                                         values.size() * sizeof(float)));
}

ConfigReading ReadContentsConfig(const CheckpointContents& contents) {
  const std::string bytes = WriteCheckpoint(contents, {});
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return ReadConfig(*checkpoint);
}

TEST(FamilyTensorsTest, EveryFormatGivesTheReferencesValues) {
  const std::pair<const char*, const char*> files[] = {
      {"bpe_offline", "bpe_offline"}, {"legacy_views", "bpe_offline"},
      {"legacy_half_args", "legacy_half_args"}, {"m2m", "m2m"}, {"nllb", "nllb"},
      {"mbart50", "mbart50"}, {"mbart25", "mbart25"}};
  for (const auto& [name, reference] : files) {
    const std::string bytes = ReadAll(CheckpointPath(name));
    const auto checkpoint = FairseqCheckpoint::Parse(bytes, name);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    size_t found = 0;
    for (const auto& [parameter, tensor] : checkpoint->parameters()) {
      if (absl::EndsWith(parameter, "_float_tensor")) continue;
      const json& expected = ReferenceTensors()[reference][parameter];
      EXPECT_EQ(tensor.shape, expected["shape"].get<std::vector<int64_t>>()) << parameter;
      const auto values = checkpoint->ReadFloats(parameter);
      ASSERT_TRUE(values.ok()) << values.status();
      EXPECT_EQ(Sha256(*values), expected["sha256"].get<std::string>()) << name << " " << parameter;
      ++found;
    }
    EXPECT_EQ(found, ReferenceTensors()[reference].size());
    const ConfigReading reading = ReadConfig(*checkpoint);
    ASSERT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_TRUE(MapParameters(*checkpoint, reading.config).ok());
  }
}

TEST(FamilyTensorsTest, ArgsOf2018HaveFairseqsDefaults) {
  const std::string bytes = ReadAll(CheckpointPath("legacy_half_args"));
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  for (const char* missing : {"activation_fn", "layernorm_embedding", "no_scale_embedding",
                              "decoder_output_dim"}) {
    EXPECT_EQ(checkpoint->options().count(missing), 0u) << missing;
  }
  const ConfigReading reading = ReadConfig(*checkpoint);
  ASSERT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_EQ(reading.config.activation_fn, "relu");
  EXPECT_FALSE(reading.config.encoder.layernorm_embedding);
  EXPECT_TRUE(reading.config.scale_embedding);
  EXPECT_EQ(reading.config.decoder.output_dim, 64);
}

class FamilyExportTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::path(testing::TempDir()) /
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
    options_.output = (root_ / "model").string();
    options_.source_sentencepiece = options_.target_sentencepiece =
        GoldenPath("data/joint/spm.model");
  }
  void TearDown() override { fs::remove_all(root_); }

  // The dictionary without the symbols that the task appended to it.
  std::string Ungrown(const std::string& text) {
    std::string result;
    for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      if (absl::StartsWith(line, "__") || absl::StartsWith(line, "[") ||
          absl::StartsWith(line, "<")) {
        continue;
      }
      absl::StrAppend(&result, line, "\n");
    }
    return result;
  }
  void UseDictionary(const std::string& text) {
    options_.source_dictionary = options_.target_dictionary = (root_ / "dict.txt").string();
    WriteAll(options_.source_dictionary, text);
  }
  // Exports and checks tensors and dictionaries.
  ModelConfig Export(const std::string& name, const std::string& dictionary) {
    options_.checkpoints = {CheckpointPath(name)};
    notes_.clear();
    const absl::Status status = ExportModel(options_, &notes_);
    EXPECT_TRUE(status.ok()) << status;
    const auto config = ReadModelDirectory(options_.output);
    EXPECT_TRUE(config.ok()) << config.status();
    if (!config.ok()) return {};
    for (const char* side : {kSourceDictionaryFile, kTargetDictionaryFile}) {
      EXPECT_EQ(ReadAll(absl::StrCat(options_.output, "/", side)), dictionary) << name;
    }
    const std::string bytes = ReadAll(options_.checkpoints[0]);
    const auto checkpoint = FairseqCheckpoint::Parse(bytes, name);
    const auto map = MapParameters(*checkpoint, *config);
    EXPECT_TRUE(map.ok()) << map.status();
    const auto file = MappedFile::Open(absl::StrCat(options_.output, "/", kWeightsFile));
    const auto tensors = ParseSafetensors((*file)->bytes(), kWeightsFile);
    for (const TensorSpec& spec : ListTensors(*config)) {
      EXPECT_EQ(Sha256OfBytes(tensors->at(spec.name).bytes),
                ReferenceTensors()[name][map->sources.at(spec.name).parameter]["sha256"]
                    .get<std::string>())
          << name << " " << spec.name;
    }
    return *config;
  }

  fs::path root_;
  ExportOptions options_;
  std::vector<std::string> notes_;
};

TEST_F(FamilyExportTest, DictionariesAreGrownInFairseqsOrder) {
  for (const auto& [name, dictionary] : {std::pair("m2m", "m2m"), {"nllb", "nllb"},
                                         {"mbart50", "mbart"}, {"mbart25", "mbart"}}) {
    const std::string grown =
        ReadAll(FamilyPath(absl::StrCat("dictionaries/", dictionary, ".txt")));
    // A dictionary that has the symbols already stays as it is.
    for (const std::string& text : {Ungrown(grown), grown}) {
      UseDictionary(text);
      Export(name, grown);
    }
  }
}

TEST_F(FamilyExportTest, M2M100HasItsLanguagesInFrontAndForced) {
  const std::string grown = ReadAll(FamilyPath("dictionaries/m2m.txt"));
  UseDictionary(Ungrown(grown));
  const ModelConfig config = Export("m2m", grown);
  EXPECT_EQ(config.name, "model");  // There is no pair of its own.
  EXPECT_EQ(config.source_language, "");
  EXPECT_THAT(config.frame.source_lead, ElementsAre("{source}"));
  EXPECT_THAT(config.frame.source_tail, ElementsAre("</s>"));
  EXPECT_EQ(config.frame.start, "</s>");
  EXPECT_THAT(config.frame.forced, ElementsAre("{target}"));
  EXPECT_EQ(config.frame.end, "</s>");
  ASSERT_EQ(config.languages.size(), 3u);
  EXPECT_EQ(config.languages[2], (LanguageConfig{"fr", "__fr__", "__fr__"}));
  EXPECT_THAT(notes_, IsEmpty());
  EXPECT_EQ(config.license, "");
}

TEST_F(FamilyExportTest, NllbKeepsItsLanguagesOrderAndItsLicence) {
  const std::string grown = ReadAll(FamilyPath("dictionaries/nllb.txt"));
  UseDictionary(Ungrown(grown));
  options_.source_language = "eng_Latn";
  options_.target_language = "pes_Arab";
  const ModelConfig config = Export("nllb", grown);
  EXPECT_EQ(config.name, "eng_Latn-pes_Arab");
  ASSERT_EQ(config.languages.size(), 131u);
  EXPECT_EQ(config.languages[39].code, "pes_Arab");  // The list is not sorted.
  EXPECT_EQ(config.languages[39].target_token, "__pes_Arab__");
  EXPECT_THAT(config.frame.source_lead, ElementsAre("{source}"));
  EXPECT_THAT(config.frame.forced, ElementsAre("{target}"));
  EXPECT_EQ(config.license, "CC-BY-NC-4.0");
  ASSERT_EQ(notes_.size(), 1u);
  EXPECT_THAT(notes_[0], HasSubstr("not for commercial use"));
  // The option is longer than what model.json shows of it, and says so.
  EXPECT_THAT(config.fairseq_options.at("langs"), HasSubstr("bytes)"));
  EXPECT_LT(config.fairseq_options.at("langs").size(), 1100u);
}

TEST_F(FamilyExportTest, MBart50AndMBart25HaveTheirFrames) {
  const std::string grown = ReadAll(FamilyPath("dictionaries/mbart.txt"));
  UseDictionary(Ungrown(grown));
  const ModelConfig many = Export("mbart50", grown);
  EXPECT_THAT(many.frame.source_lead, ElementsAre("{source}"));
  EXPECT_THAT(many.frame.forced, ElementsAre("{target}"));
  EXPECT_EQ(many.languages[0], (LanguageConfig{"en_XX", "[en_XX]", "[en_XX]"}));
  EXPECT_EQ(many.activation_fn, "gelu");
  EXPECT_EQ(many.encoder.positions, PositionKind::kLearned);
  EXPECT_EQ(many.encoder.max_positions, 300);
  EXPECT_TRUE(many.decoder.layernorm_embedding);

  const ModelConfig one = Export("mbart25", grown);
  EXPECT_EQ(one.name, "en_XX-de_DE");
  EXPECT_THAT(one.frame.source_lead, IsEmpty());
  EXPECT_THAT(one.frame.source_tail, ElementsAre("</s>", "{source}"));
  EXPECT_EQ(one.frame.start, "{target}");
  EXPECT_THAT(one.frame.forced, IsEmpty());
  EXPECT_EQ(one.frame.end, "{target}");
  EXPECT_THAT(one.languages, ElementsAre(LanguageConfig{"en_XX", "[en_XX]", ""},
                                         LanguageConfig{"de_DE", "", "[de_DE]"}));
}

TEST_F(FamilyExportTest, FlagsReplaceWhatTheCheckpointLacks) {
  const std::string grown = ReadAll(FamilyPath("dictionaries/m2m.txt"));
  UseDictionary(Ungrown(grown));
  options_.fairseq_options = {{"lang_tok_replacing_bos_eos", "True"}};
  ModelConfig config = Export("m2m", grown);
  EXPECT_THAT(config.frame.source_lead, IsEmpty());
  EXPECT_THAT(config.frame.source_tail, ElementsAre("{source}"));
  EXPECT_EQ(config.frame.start, "{target}");
  EXPECT_THAT(config.frame.forced, IsEmpty());
  options_.fairseq_options = {{"encoder_langtok", "tgt"}, {"decoder_langtok", "False"}};
  config = Export("m2m", grown);
  EXPECT_THAT(config.frame.source_lead, ElementsAre("{target}"));
  EXPECT_THAT(config.frame.forced, IsEmpty());
  // --lang-dict is a file.
  WriteAll((root_ / "langs.txt").string(), "en\nde\r\nfr\n");
  options_.fairseq_options = {{"lang_dict", (root_ / "langs.txt").string()}};
  EXPECT_EQ(Export("m2m", grown).languages.size(), 3u);
}

TEST_F(FamilyExportTest, AWrongOrderOrNumberOfLanguagesDoesNotFitTheRows) {
  const std::string grown = ReadAll(FamilyPath("dictionaries/m2m.txt"));
  UseDictionary(Ungrown(grown));
  options_.checkpoints = {CheckpointPath("m2m")};
  options_.fairseq_options = {{"langs", "en,de"}};
  EXPECT_THAT(std::string(ExportModel(options_).message()),
              AllOf(HasSubstr("658 symbols"), HasSubstr("659 rows")));
  options_.fairseq_options.clear();
  options_.source_language = "sv";
  EXPECT_THAT(std::string(ExportModel(options_).message()),
              AllOf(HasSubstr("source_lang is \"sv\""), HasSubstr("3 languages")));
  options_.source_language = "";
  options_.fairseq_options = {{"lang_dict", (root_ / "none").string()}};
  EXPECT_TRUE(absl::IsNotFound(ExportModel(options_)));
}

TEST_F(FamilyExportTest, InspectSaysWhatIsServedAndWhatItCosts) {
  EXPECT_THAT(*InspectCheckpoint(CheckpointPath("m2m")),
              AllOf(HasSubstr("can be exported: yes"),
                    HasSubstr("served as: text translated from any of 3 languages to any of 3"),
                    HasSubstr("policy: offline (whole segments), as it was trained; wait-k works at "
                              "test time, encodes what was read again"),
                    // 2 layers of 6 * 64 * 64 + 2 * 64 * 128, and 659 * 64 for the output.
                    HasSubstr("a source token, 0.124 M a target token"),
                    HasSubstr("parameters, whose memory is about")));
  EXPECT_THAT(*InspectCheckpoint(CheckpointPath("nllb")),
              HasSubstr("any of 131 languages to any of 131"));
  EXPECT_THAT(*InspectCheckpoint(CheckpointPath("mbart25")),
              HasSubstr("served as: text translated from en_XX to de_DE"));
  EXPECT_THAT(*InspectCheckpoint(CheckpointPath("legacy_half_args")),
              HasSubstr("served as: text translated from de to en"));
  EXPECT_THAT(*InspectCheckpoint(GoldenPath("checkpoints/base.pt")),
              HasSubstr("policy: wait-k, which it was trained for; k "));
  EXPECT_THAT(*InspectCheckpoint(GoldenPath("checkpoints/mma_il.pt")),
              HasSubstr("policy: its own"));
}

TEST_F(FamilyExportTest, ARowMoreThanTheDictionaryWithoutMaskIsCut) {
  CheckpointContents contents = ReadContents(CheckpointPath("mbart50"));
  contents.options["task"] = "translation";
  contents.options["source_lang"] = "en";
  contents.options["target_lang"] = "de";
  contents.parameters["classification_heads.x.dense.weight"] = {{1}, {1}};
  options_.checkpoints = {(root_ / "bart.pt").string()};
  WriteAll(options_.checkpoints[0], WriteCheckpoint(contents, {}));
  const std::string grown = ReadAll(FamilyPath("dictionaries/mbart.txt"));
  std::string without = grown.substr(0, grown.rfind("<mask>"));
  UseDictionary(without);
  ASSERT_TRUE(ExportModel(options_).ok()) << ExportModel(options_);
  const auto config = ReadModelDirectory(options_.output);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->encoder.vocabulary_size, 659);
  const auto file = MappedFile::Open(absl::StrCat(options_.output, "/", kWeightsFile));
  const auto tensors = ParseSafetensors((*file)->bytes(), kWeightsFile);
  const std::vector<float>& all = contents.parameters["encoder.embed_tokens.weight"].values;
  EXPECT_EQ(tensors->at("encoder.embedding").bytes,
            absl::string_view(reinterpret_cast<const char*>(all.data()), 659 * 64 * 4));
  // Another architecture's rows are not cut.
  contents.options["arch"] = "transformer";
  contents.parameters.erase("classification_heads.x.dense.weight");
  WriteAll(options_.checkpoints[0], WriteCheckpoint(contents, {}));
  EXPECT_THAT(std::string(ExportModel(options_).message()), HasSubstr("660 rows"));
}

CheckpointContents TwoPairs() {
  CheckpointContents contents = ReadContents(CheckpointPath("bpe_offline"));
  contents.options["arch"] = "multilingual_transformer_iwslt_de_en";
  contents.options["task"] = "multilingual_translation";
  contents.options["lang_pairs"] = "[de-en, fr-en]";
  contents.options["share_decoders"] = "True";
  contents.options.erase("source_lang");
  contents.options.erase("target_lang");
  std::map<std::string, CheckpointContents::Parameter> parameters;
  for (auto& [name, parameter] : contents.parameters) {
    parameters["models.de-en." + name] = parameter;
    if (absl::StartsWith(name, "encoder.layers")) parameter.values[0] += 1;
    parameters["models.fr-en." + name] = parameter;
  }
  contents.parameters = std::move(parameters);
  return contents;
}

TEST_F(FamilyExportTest, OfAModelOfPairsOneIsChosen) {
  CheckpointContents contents = TwoPairs();
  contents.options["encoder_langtok"] = "tgt";
  contents.options["decoder_langtok"] = "True";
  for (auto& entry : contents.parameters) {  // Both dictionaries grow by __de__, __en__, __fr__.
    if (!absl::EndsWith(entry.first, "embed_tokens.weight") &&
        !absl::EndsWith(entry.first, "output_projection.weight")) {
      continue;
    }
    entry.second.shape[0] += 3;
    entry.second.values.resize(entry.second.values.size() + 3 * 64);
  }
  options_.checkpoints = {(root_ / "pairs.pt").string()};
  WriteAll(options_.checkpoints[0], WriteCheckpoint(contents, {}));
  const std::string source = ReadAll(FamilyPath("dictionaries/bpe.de.txt"));
  options_.source_dictionary = FamilyPath("dictionaries/bpe.de.txt");
  options_.target_dictionary = FamilyPath("dictionaries/bpe.en.txt");
  EXPECT_THAT(std::string(ExportModel(options_).message()),
              AllOf(HasSubstr("de-en, fr-en"), HasSubstr("--source-lang")));
  options_.source_language = "en";
  options_.target_language = "de";
  EXPECT_THAT(std::string(ExportModel(options_).message()), HasSubstr("de-en, fr-en"));

  const std::string bytes = ReadAll(options_.checkpoints[0]);
  auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  checkpoint->SetOption("source_lang", "fr");
  checkpoint->SetOption("target_lang", "en");
  checkpoint->KeepModel("models.fr-en.");
  const ConfigReading reading = ReadConfig(*checkpoint);
  ASSERT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_THAT(reading.config.frame.source_tail, ElementsAre("__en__"));
  EXPECT_EQ(reading.config.frame.start, "__en__");
  EXPECT_EQ(reading.config.frame.end, "</s>");
  EXPECT_THAT(reading.config.languages, IsEmpty());
  EXPECT_THAT(reading.languages.appended, ElementsAre("__de__", "__en__", "__fr__"));
  const auto map = MapParameters(*checkpoint, reading.config);
  ASSERT_TRUE(map.ok()) << map.status();
  const auto values = checkpoint->ReadRows(map->sources.at("encoder.layers.0.ffn.hidden.weight"));
  EXPECT_EQ(*values,
            contents.parameters["models.fr-en.encoder.layers.0.fc1.weight"].values);
}

TEST(FamilyOptionsTest, FramesAreThoseOfTheTable) {
  using Options = std::map<std::string, std::string>;
  const Options multi = {{"task", "translation_multi_simple_epoch"}, {"langs", "[en, de]"}};
  const auto setup = [&multi](Options more) {
    more.insert(multi.begin(), multi.end());
    return ReadLanguageSetup(more);
  };
  EXPECT_EQ(setup({}).frame, FrameConfig());
  EXPECT_EQ(setup({}).languages[0].target_token, "__en__");
  EXPECT_THAT(setup({{"decoder_langtok", "True"}}).frame.forced, ElementsAre("{target}"));
  // langtoks wins over the other two, in each form that it may have.
  for (const char* langtoks :
       {"{main: [src, tgt]}", "{'main': ('src', 'tgt')}", "{\"main\":(\"src\",\"tgt\")}",
        "{mono_dae: [src.dae, tgt], main: [src, tgt]}"}) {
    const LanguageSetup both = setup({{"langtoks", langtoks}, {"encoder_langtok", "tgt"}});
    EXPECT_THAT(both.frame.source_lead, ElementsAre("{source}")) << langtoks;
    EXPECT_THAT(both.frame.forced, ElementsAre("{target}")) << langtoks;
  }
  EXPECT_THAT(setup({{"langtoks", "{main: [tgt, None]}"}}).frame.source_lead,
              ElementsAre("{target}"));
  EXPECT_THAT(setup({{"langtoks", "{main: [tgt, None]}"}}).frame.forced, IsEmpty());
  EXPECT_EQ(setup({{"langtoks", "{main: [src, tgt.mined]}"}}).languages[1],
            (LanguageConfig{"de", "__de__", "__de_mined__"}));
  EXPECT_THAT(setup({{"langtoks", "{main: [tgt, tgt.mined]}"}}).errors,
              ElementsAre(HasSubstr("two tokens")));
  EXPECT_THAT(setup({{"langtoks", "{main: [other, tgt]}"}}).errors,
              ElementsAre(HasSubstr("\"other\"")));
  EXPECT_THAT(setup({{"lang_tok_style", "bert"}}).errors, ElementsAre(HasSubstr("\"bert\"")));
  // The order of the symbols.
  EXPECT_THAT(setup({{"langtoks_specs", "[main, mono_dae]"}, {"extra_data", "{'mono_dae': 'x'}"}})
                  .appended,
              ElementsAre("__en__", "__de__", "__en_dae__", "__de_dae__", "<mask>"));
  EXPECT_THAT(setup({{"lang_tok_style", "mbart"}}).appended, ElementsAre("[en]", "[de]", "<mask>"));
  EXPECT_THAT(ReadLanguageSetup({{"task", "translation_multi_simple_epoch"},
                                 {"lang_pairs", "en-fr,de-en"}})
                  .appended,
              ElementsAre("__de__", "__en__", "__fr__"));
  EXPECT_THAT(ReadLanguageSetup({{"task", "translation_multi_simple_epoch"},
                                 {"lang_dict", "/data/langs.txt"}})
                  .errors,
              testing::Contains(HasSubstr("--lang-dict")));
}

TEST(FamilyOptionsTest, OptionsOfAnyLengthArrive) {
  const std::string bytes = ReadAll(CheckpointPath("nllb"));
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  EXPECT_THAT(checkpoint->options().at("langs"),
              AllOf(HasSubstr("[ace_Arab, "), HasSubstr(", zho_Hans]")));
  EXPECT_EQ(checkpoint->options().at("langtoks"), "{main: [src, tgt]}");
  CheckpointContents contents = ReadContents(CheckpointPath("m2m"));
  std::vector<std::string> pairs;
  for (int i = 0; i < 40'000; ++i) pairs.push_back(absl::StrCat("lang", i % 200, "-lang", i / 200));
  contents.options["lang_pairs"] = absl::StrJoin(pairs, ",");
  const std::string many = WriteCheckpoint(contents, {});
  EXPECT_EQ(FairseqCheckpoint::Parse(many, "f.pt")->options().at("lang_pairs"),
            contents.options["lang_pairs"]);
  contents.options["lang_pairs"] = std::string(5'000'000, 'a');
  const std::string endless = WriteCheckpoint(contents, {});
  EXPECT_TRUE(absl::IsResourceExhausted(FairseqCheckpoint::Parse(endless, "f.pt").status()));
}

TEST(FamilyOptionsTest, PresetsSayNothing) {
  CheckpointContents contents = ReadContents(CheckpointPath("bpe_offline"));
  for (const char* arch :
       {"transformer_align", "transformer_wmt_en_de_big_align", "transformer_wmt_en_de_big",
        "transformer_vaswani_wmt_en_fr_big", "transformer_12_12", "transformer_24_24_big",
        "transformer", "bart_base", "mbart_base_wmt20"}) {
    contents.options["arch"] = arch;
    contents.options["alignment_layer"] = "1";
    contents.options["alignment_heads"] = "1";
    contents.options["full_context_alignment"] = "True";
    const ConfigReading reading = ReadContentsConfig(contents);
    EXPECT_TRUE(reading.status.ok()) << reading.status;
  }
  // One decoder layer, as the deep encoders with shallow decoders have.
  contents.options["decoder_layers"] = "1";
  for (auto it = contents.parameters.begin(); it != contents.parameters.end();) {
    it = absl::StartsWith(it->first, "decoder.layers.1.") ? contents.parameters.erase(it)
                                                          : std::next(it);
  }
  EXPECT_TRUE(ReadContentsConfig(contents).status.ok()) << ReadContentsConfig(contents).status;
}

TEST(FamilyOptionsTest, OtherNetworksAreRefusedByName) {
  const CheckpointContents good = ReadContents(CheckpointPath("bpe_offline"));
  const std::pair<const char*, const char*> architectures[] = {
      {"fconv_iwslt_de_en", "convolutional"}, {"lightconv_wmt_en_de", "convolutions"},
      {"dynamicconv", "convolutions"}, {"levenshtein_transformer", "edits"},
      {"cmlm_transformer", "at once"}, {"nonautoregressive_transformer", "at once"},
      {"transformer_itst", "ITST"}, {"roberta_base", "without decoder"},
      {"pipeline_parallel_transformer_wmt_en_de", "pipeline"}, {"transformer_odd", "--arch"}};
  for (const auto& [arch, why] : architectures) {
    CheckpointContents contents = good;
    contents.options["arch"] = arch;
    const absl::Status status = ReadContentsConfig(contents).status;
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(arch), HasSubstr(why)));
  }
  const std::pair<const char*, const char*> parameters[] = {
      {"encoder._fsdp_wrapped_module.flat_param_0", "FSDP"},
      {"encoder.layers.0.moe_layer.experts.0.fc1.weight", "mixture of experts"},
      {"encoder.layers.0.self_attn.q_proj.lora_A", "LoRA"},
      {"decoder.layers.0.adapter.down.weight", "adapters"},
      {"encoder.layers.0.fc1._packed_params._packed_params", "int8"},
      {"encoder.layers.0.fc1.centroids", "iPQ"},
      {"decoder.transition_proj.weight", "HMT"},
      {"model.partitions.0.0.weight", "pipeline"}};
  for (const auto& [name, what] : parameters) {
    CheckpointContents contents = good;
    contents.parameters[name] = {{1}, {1}};
    const absl::Status status = ReadContentsConfig(contents).status;
    EXPECT_TRUE(absl::IsUnimplemented(status)) << status;
    EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr(name), HasSubstr(what)));
  }
  for (const auto& [option, value] : {std::pair("first_read", "1"), {"cands_per_token", "4"},
                                      {"moe_freq", "2"}, {"prepend_bos", "True"}}) {
    CheckpointContents contents = good;
    contents.options[option] = value;
    EXPECT_THAT(std::string(ReadContentsConfig(contents).status.message()), HasSubstr(option));
  }
  CheckpointContents noisy = good;  // Noise of the training is none at inference.
  noisy.options["quant_noise_pq"] = "0.1";
  EXPECT_TRUE(ReadContentsConfig(noisy).status.ok());
}

}  // namespace
}  // namespace leapstream
