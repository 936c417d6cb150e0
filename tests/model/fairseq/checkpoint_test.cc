#include "model/fairseq/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "model/api/half.h"
#include "model/fairseq/parameter_names.h"
#include "model/fairseq/read_config.h"
#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(CheckpointTest, ReadsOptionsOfModelAndTask) {
  const std::string bytes = ReadAll(GoldenPath("checkpoints/base.pt"));
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "base.pt");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->name(), "base.pt");
  EXPECT_EQ(checkpoint->architecture(), "transformer_monotonic");
  const std::map<std::string, std::string>& options = checkpoint->options();
  EXPECT_EQ(options.at("task"), "simul_text_to_text");
  EXPECT_EQ(options.at("waitk_lagging"), "3");
  EXPECT_EQ(options.at("share_all_embeddings"), "True");
  EXPECT_EQ(options.at("lr"), "[0.004]");
  EXPECT_EQ(options.at("checkpoint_suffix"), "");
  EXPECT_EQ(options.count("share_decoder_ffn_attn_layer"), 0u);  // This option is None.
}

std::string Print(const ModelConfig& config) {
  const auto side = [](const SideConfig& s) {
    return absl::StrCat(s.embed_dim, " ", s.ffn_embed_dim, " ", s.layers, " ", s.attention_heads,
                        " ", s.input_dim, " ", s.output_dim, " ", s.normalize_before, s.final_norm,
                        s.layernorm_embedding, " ", static_cast<int>(s.positions), " ",
                        s.max_positions, " ", s.vocabulary_size, " ", s.self_attention, " ",
                        s.cross_attention, " [", absl::StrJoin(s.shared_layers, ","), "]");
  };
  return absl::StrCat(config.source_language, " ", config.target_language, " ", config.architecture,
                      " ", config.causal_encoder, " ", config.simul_type, " {",
                      side(config.encoder), "} {", side(config.decoder), "} ", config.activation_fn,
                      " ", config.scale_embedding, " ", config.leap_factor, " ",
                      config.mass_preservation, config.energy_bias, config.share_all_embeddings,
                      config.share_decoder_input_output_embed, " ", config.waitk_lagging, " ",
                      config.max_source_positions, " ", config.max_target_positions);
}

// Options read the same in each form in which fairseq has ever kept them, and in each pickle
// protocol that torch.save() takes.
TEST(CheckpointTest, ReadsEveryFormOfTheOptions) {
  for (const std::string name : {"asym", "mma_il", "unidirectional"}) {
    CheckpointContents contents = ReadContents(GoldenPath("checkpoints/" + name + ".pt"));
    contents.options["share_decoder_ffn_attn_layer"] = "[1]";
    contents.options["adaptive_softmax_cutoff"] = "None";
    const std::string plain = WriteCheckpoint(contents);
    const auto expected = FairseqCheckpoint::Parse(plain, name);
    ASSERT_TRUE(expected.ok()) << expected.status();
    const ConfigReading config = ReadConfig(*expected);
    ASSERT_TRUE(config.status.ok()) << config.status;
    EXPECT_EQ(config.config.decoder.shared_layers, std::vector<int>{1});
    for (const OptionsForm options :
         {OptionsForm::kArgs, OptionsForm::kNamespace, OptionsForm::kNested,
          OptionsForm::kDictConfig, OptionsForm::kDictConfigNamespace}) {
      for (int protocol = 2; protocol <= 5; ++protocol) {
        SCOPED_TRACE(absl::StrCat(name, " ", static_cast<int>(options), " ", protocol));
        CheckpointForm form;
        form.options = options;
        form.protocol = protocol;
        const std::string bytes = WriteCheckpoint(contents, form);
        const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
        ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
        const ConfigReading found = ReadConfig(*checkpoint);
        ASSERT_TRUE(found.status.ok()) << found.status;
        EXPECT_EQ(Print(found.config), Print(config.config));
        EXPECT_TRUE(MapParameters(*checkpoint, found.config).ok());
      }
    }
  }
}

std::string Form(const std::string& name) {
  return ReadAll(GoldenPath(absl::StrCat("../forms/", name, ".pt")));
}

// The files were written by torch.save() (tests/golden/forms/generate.py). Their options are
// NumPy's values, tensors, paths and enumerations; beside the model they have values that nobody
// needs; they have no CRC.
TEST(CheckpointTest, ReadsOddOptionsAndPassesOverOddValues) {
  const std::string plain_bytes = Form("plain");
  const auto plain = FairseqCheckpoint::Parse(plain_bytes, "plain.pt");
  ASSERT_TRUE(plain.ok()) << plain.status();
  const ConfigReading expected = ReadConfig(*plain);
  ASSERT_TRUE(expected.status.ok()) << expected.status;
  for (const char* name :
       {"numpy_options.2", "numpy_options.4", "odd_options.2", "odd_options.4", "odd_values.2",
        "odd_values.4", "state_dict_class", "ignored_complex", "no_crc"}) {
    SCOPED_TRACE(name);
    const std::string bytes = Form(name);
    const auto checkpoint = FairseqCheckpoint::Parse(bytes, name);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    const ConfigReading found = ReadConfig(*checkpoint);
    ASSERT_TRUE(found.status.ok()) << found.status;
    EXPECT_EQ(Print(found.config), Print(expected.config));
    EXPECT_TRUE(MapParameters(*checkpoint, found.config).ok());
    for (const auto& [parameter, tensor] : plain->parameters()) {
      EXPECT_EQ(*checkpoint->ReadFloats(parameter), *plain->ReadFloats(parameter)) << parameter;
    }
    const auto& options = checkpoint->options();
    if (absl::StartsWith(name, "numpy")) {
      EXPECT_EQ(options.at("waitk_lagging"), "3");
      EXPECT_EQ(options.at("mass_preservation"), "True");
      EXPECT_EQ(options.at("activation_fn"), "relu");
      EXPECT_EQ(options.at("dropout"), "0.25");
      EXPECT_EQ(options.at("attention_dropout"), "0.5");
      EXPECT_EQ(options.at("lr"), "[0.5, 0.25]");
      EXPECT_EQ(options.at("seed"), "7");
    } else if (absl::StartsWith(name, "odd_options")) {
      EXPECT_EQ(options.at("user_dir"), "/home/somebody/code");
      EXPECT_EQ(options.at("seed"), "<int>");
      EXPECT_EQ(options.at("lr"), "[0.5, {a: {1}}]");
    }
  }
}

TEST(CheckpointTest, NamesWeightsOfTypesThatCannotBeRead) {
  for (const auto& [name, type] :
       {std::pair("complex_weight", "complex64"), {"float8_weight", "float8_e5m2"}}) {
    const std::string bytes = Form(name);
    const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_THAT(std::string(checkpoint->ReadFloats("encoder.layer_norm.bias").status().message()),
                HasSubstr(absl::StrCat("f.pt: parameter encoder.layer_norm.bias: needs "
                                       "floating-point numbers, has ",
                                       type)));
  }
}

// Checks the values of a checkpoint that is written from `contents`.
void ExpectSameValues(const CheckpointContents& contents, const CheckpointForm& form,
                      float tolerance) {
  const std::string bytes = WriteCheckpoint(contents, form);
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  ASSERT_EQ(checkpoint->parameters().size(), contents.parameters.size());
  for (const auto& [name, parameter] : contents.parameters) {
    EXPECT_EQ(checkpoint->parameters().at(name).shape, parameter.shape);
    const auto values = checkpoint->ReadFloats(name);
    ASSERT_TRUE(values.ok()) << values.status();
    ASSERT_EQ(values->size(), parameter.values.size());
    for (size_t i = 0; i < values->size(); ++i) {
      ASSERT_LE(std::fabs((*values)[i] - parameter.values[i]),
                tolerance * std::fabs(parameter.values[i]) + tolerance * 1e-4f)
          << name << " at " << i << ": " << (*values)[i] << ", want " << parameter.values[i];
    }
  }
}

TEST(CheckpointTest, ReadsEveryFloatingType) {
  const CheckpointContents contents = ReadContents(GoldenPath("checkpoints/asym.pt"));
  // The tolerance is half of the last bit that the type keeps, but all of it for bfloat16, which
  // the writer cuts.
  for (const auto& [type, tolerance] : {std::pair(StorageType::kFloat32, 0.0f),
                                        {StorageType::kFloat64, 0.0f},
                                        {StorageType::kFloat16, 1.0f / 2048},
                                        {StorageType::kBFloat16, 1.0f / 128}}) {
    CheckpointForm form;
    form.type = type;
    ExpectSameValues(contents, form, tolerance);
  }
}

TEST(CheckpointTest, ReadsTensorsThatAreNotContiguous) {
  const CheckpointContents contents = ReadContents(GoldenPath("checkpoints/asym.pt"));
  for (const bool transposed : {false, true}) {
    CheckpointForm form;
    form.transposed = transposed;
    form.padded = true;
    ExpectSameValues(contents, form, 0);
  }
}

TEST(CheckpointTest, ReadsSomeRows) {
  CheckpointContents contents = ReadContents(GoldenPath("checkpoints/asym.pt"));
  contents.parameters = {{"a", {{3, 2}, {1, 2, 3, 4, 5, 6}}}, {"b", {{4}, {1, 2, 3, 4}}}};
  for (const int number : {0, 1, 2, 3}) {
    CheckpointForm form;
    form.transposed = number % 2 == 1;
    form.old = number / 2 == 1;
    const std::string bytes = WriteCheckpoint(contents, form);
    const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(*checkpoint->ReadRows({"a", 1, 2}), (std::vector<float>{3, 4, 5, 6}));
    EXPECT_EQ(*checkpoint->ReadRows({"b", 2, 1}), std::vector<float>{3});
    for (const ParameterRows& bad :
         {ParameterRows{"a", 2, 2}, {"a", -1, 1}, {"a", 0, 0}, {"a", 4, 1}, {"c", 0, 1}}) {
      EXPECT_TRUE(absl::IsInvalidArgument(checkpoint->ReadRows(bad).status()));
    }
  }
}

TEST(CheckpointTest, RefusesNumbersThatAreNotFinite) {
  std::string bytes = ReadAll(GoldenPath("checkpoints/base.pt"));
  const auto clean = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(clean.ok());
  const std::string key = clean->parameters().at("encoder.layer_norm.bias").storage.key;
  const auto archive = ZipArchive::Parse(bytes, "f.pt");
  const std::string entry = absl::StrCat("archive/data/", key);
  const absl::string_view data = *archive->Read(entry);
  const size_t begin = data.data() - bytes.data(), size = data.size();
  PutNumber(0x7fc00000, 4, begin + 8, &bytes);
  EXPECT_THAT(std::string(clean->ReadFloats("encoder.layer_norm.bias").status().message()),
              HasSubstr("CRC"));
  size_t at = bytes.rfind("PK\1\2");  // The name may be the start of another name.
  for (; at != std::string::npos; at = bytes.rfind("PK\1\2", at - 1)) {
    if (size_t(uint8_t(bytes[at + 28])) == entry.size() &&
        bytes.compare(at + 46, entry.size(), entry) == 0)
      break;
  }
  PutNumber(Crc(absl::string_view(bytes).substr(begin, size)), 4, at + 16, &bytes);
  const auto damaged = FairseqCheckpoint::Parse(bytes, "f.pt");
  ASSERT_TRUE(damaged.ok());
  EXPECT_THAT(std::string(damaged->ReadFloats("encoder.layer_norm.bias").status().message()),
              AllOf(HasSubstr("encoder.layer_norm.bias"), HasSubstr("not finite")));
}

TEST(HalfTest, RoundTripsEveryNumber) {
  for (int half = 0; half < 1 << 16; ++half) {
    const float value = HalfToFloat(half);
    if (std::isnan(value)) continue;
    ASSERT_EQ(FloatToHalf(value), half);
  }
}

TEST(HalfTest, RoundsToNearestEven) {
  EXPECT_EQ(FloatToHalf(1.0f + 1.0f / 2048), 0x3c00);  // Halfway: to even.
  EXPECT_EQ(FloatToHalf(1.0f + 3.0f / 2048), 0x3c02);  // Halfway: to even.
  EXPECT_EQ(FloatToHalf(std::nextafter(1.0f + 1.0f / 2048, 2.0f)), 0x3c01);
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(std::ldexp(1.0f, -25)), 0);
  EXPECT_EQ(FloatToHalf(-std::ldexp(1.5f, -25)), 0x8001);
  EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(std::numeric_limits<float>::quiet_NaN()))));
}

}  // namespace
}  // namespace leapstream
