#include "model/fairseq/read_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/model/fairseq/checkpoint_writer.h"

namespace leapstream {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

ConfigReading Read(const std::string& bytes) {
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return ReadConfig(*checkpoint);
}
ConfigReading Read(const CheckpointContents& contents) { return Read(WriteCheckpoint(contents)); }

CheckpointContents Golden(const std::string& name) {
  return ReadContents(GoldenPath("checkpoints/" + name + ".pt"));
}

std::string Message(const ConfigReading& reading) { return std::string(reading.status.message()); }

struct GoldenModel {
  const char* name;
  const char* architecture;
  bool causal;
  const char* simul_type;
  int k;
  const char* encoder;
  const char* decoder;
  const char* cross;
  bool encoder_norm;
  bool decoder_norm;
};
constexpr GoldenModel kGoldens[] = {
    {"base", "transformer_monotonic", true, "waitk", 3, "leap", "leap", "leap", true, true},
    {"fp16", "transformer_monotonic", true, "waitk", 3, "leap", "leap", "leap", true, true},
    {"asym", "transformer_monotonic", true, "waitk", 2, "leap", "leap", "leap", true, true},
    {"learned_gelu_sepdict", "transformer_monotonic", true, "waitk", 3, "leap", "leap", "leap",
     true, true},
    {"softmax_postnorm", "transformer_monotonic", true, "waitk", 5, "softmax", "softmax", "softmax",
     false, false},
    {"leap_enc", "transformer_monotonic", true, "waitk", 3, "leap", "softmax", "softmax", true,
     true},
    {"leap_sa", "transformer_monotonic", true, "waitk", 3, "softmax", "leap", "softmax", true,
     true},
    {"mma_il", "transformer_monotonic", true, "infinite_lookback", 0, "softmax", "softmax",
     "softmax", true, true},
    {"mma_hard", "transformer_monotonic", true, "hard_aligned", 0, "softmax", "softmax", "softmax",
     true, true},
    {"nomass_nopos", "transformer_monotonic", true, "waitk", 2, "leap", "softmax", "softmax", true,
     false},
    {"unidirectional", "transformer_unidirectional_iwslt_de_en", true, "none", 0, "leap", "leap",
     "leap", true, true},
    {"offline", "transformer", false, "none", 0, "leap", "leap", "leap", true, true}};

TEST(ReadConfigTest, ReadsTheModelsOfTheOfficialTrainer) {
  for (const GoldenModel& model : kGoldens) {
    SCOPED_TRACE(model.name);
    const ConfigReading reading =
        Read(ReadAll(GoldenPath(absl::StrCat("checkpoints/", model.name, ".pt"))));
    ASSERT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_TRUE(reading.known_architecture);
    const ModelConfig& config = reading.config;
    EXPECT_EQ(config.source_language, "en");
    EXPECT_EQ(config.target_language, "de");
    EXPECT_EQ(config.architecture, model.architecture);
    EXPECT_EQ(config.causal_encoder, model.causal);
    EXPECT_EQ(config.simul_type, model.simul_type);
    EXPECT_EQ(config.waitk_lagging, model.k);
    EXPECT_EQ(config.encoder.self_attention, model.encoder);
    EXPECT_EQ(config.decoder.self_attention, model.decoder);
    EXPECT_EQ(config.decoder.cross_attention, model.cross);
    EXPECT_EQ(config.encoder.final_norm, model.encoder_norm);
    EXPECT_EQ(config.decoder.final_norm, model.decoder_norm);
    const std::string name = model.name;
    EXPECT_EQ(config.energy_bias, name == "mma_il");
    EXPECT_EQ(config.mass_preservation, name != "nomass_nopos");
    EXPECT_EQ(config.encoder.layernorm_embedding, name == "unidirectional");
    EXPECT_EQ(config.decoder.layernorm_embedding, name == "unidirectional");
    EXPECT_EQ(config.scale_embedding, name != "unidirectional");
    EXPECT_EQ(config.activation_fn, name == "learned_gelu_sepdict" ? "gelu" : "relu");
    EXPECT_EQ(config.leap_factor, name == "asym" ? 2 : 4);
    EXPECT_EQ(config.share_all_embeddings, name != "asym" && name != "learned_gelu_sepdict");
    EXPECT_EQ(config.share_decoder_input_output_embed, name != "learned_gelu_sepdict");
    EXPECT_EQ(config.encoder.embed_dim, name == "asym" ? 48 : 64);
    EXPECT_EQ(config.encoder.layers, name == "asym" ? 3 : 2);
    EXPECT_EQ(config.decoder.attention_heads, name == "asym" ? 8 : 4);
    EXPECT_EQ(config.decoder.ffn_embed_dim, name == "asym" ? 160 : 128);
    EXPECT_EQ(config.encoder.normalize_before, name != "softmax_postnorm");
    EXPECT_EQ(config.encoder.input_dim, config.encoder.embed_dim);
    EXPECT_EQ(config.decoder.output_dim, 64);
    EXPECT_TRUE(config.decoder.shared_layers.empty());
    const bool learned = name == "learned_gelu_sepdict";
    EXPECT_EQ(config.encoder.positions, learned                  ? PositionKind::kLearned
                                        : name == "nomass_nopos" ? PositionKind::kNone
                                                                 : PositionKind::kSinusoidal);
    EXPECT_EQ(config.encoder.max_positions, learned ? 640 : 0);
    EXPECT_EQ(config.max_source_positions, learned ? 640 : 1024);
    EXPECT_EQ(config.max_target_positions, learned ? 320 : 1024);
    EXPECT_EQ(config.encoder.vocabulary_size, learned ? 528 : 656);
    EXPECT_EQ(config.decoder.vocabulary_size, learned ? 776 : 656);
  }
}

TEST(ReadConfigTest, KnowsFamiliesByArchitecture) {
  CheckpointContents contents = Golden("offline");
  for (const char* arch : {"transformer_tiny", "transformer_iwslt_de_en", "transformer_wmt_en_de",
                           "transformer_vaswani_wmt_en_de_big", "transformer_vaswani_wmt_en_fr_big",
                           "transformer_wmt_en_de_big", "transformer_wmt_en_de_big_t2t"}) {
    contents.options["arch"] = arch;
    const ConfigReading reading = Read(contents);
    EXPECT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_FALSE(reading.config.causal_encoder) << arch;
  }
  for (const char* arch :
       {"transformer_pointer_generator", "transformer_alignment", "transformer_monotonicity", "lstm", "bert_large",
        "transformer_from_pretrained_xlm", "legacy_waitk_transformer"}) {
    contents.options["arch"] = arch;
    const ConfigReading reading = Read(contents);
    EXPECT_TRUE(absl::IsUnimplemented(reading.status)) << reading.status;
    EXPECT_FALSE(reading.known_architecture);
    EXPECT_THAT(Message(reading), HasSubstr(absl::StrCat("architecture \"", arch, "\"")));
    EXPECT_THAT(Message(reading), Not(HasSubstr("speech")));
  }
  contents = Golden("base");
  for (const char* arch :
       {"transformer_monotonic_iwslt_de_en", "transformer_monotonic_vaswani_wmt_en_de_big",
        "transformer_monotonic_vaswani_wmt_en_fr_big", "transformer_monotonic_tiny"}) {
    contents.options["arch"] = arch;
    const ConfigReading reading = Read(contents);
    EXPECT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_EQ(reading.config.simul_type, "waitk") << arch;
  }
}

TEST(ReadConfigTest, SaysWhichSpeechIsNotServed) {
  for (const auto& [option, value] : {std::pair("arch", "convtransformer_augmented_memory"),
                                      {"arch", "wav2vec_seq2seq"},
                                      {"task", "simul_speech_to_text"},
                                      {"task", "speech_to_text"},
                                      {"simul_type", "waitk_fixed_pre_decision"}}) {
    CheckpointContents contents = Golden("base");
    contents.options[option] = value;
    const ConfigReading reading = Read(contents);
    EXPECT_TRUE(absl::IsUnimplemented(reading.status)) << reading.status;
    EXPECT_THAT(Message(reading), AllOf(HasSubstr(value), HasSubstr("speech")));
  }
}

TEST(ReadConfigTest, RefusesOptionsByNameAndValueAllAtOnce) {
  const std::pair<const char*, const char*> options[] = {
      {"adaptive_input", "True"},
      {"adaptive_softmax_cutoff", "[1000, 2000]"},
      {"tie_adaptive_weights", "True"},
      {"tie_adaptive_proj", "True"},
      {"cross_self_attention", "True"},
      {"no_cross_attention", "True"},
      {"char_inputs", "True"},
      {"base_layers", "1"},
      {"encoder_layers_to_keep", "0,2"},
      {"decoder_layers_to_keep", "1"},
      {"merge_src_tgt_embed", "True"},
      {"quant_noise_scalar", "0.05"},
      {"scale_attn", "True"},
      {"scale_heads", "True"},
      {"scale_fc", "True"},
      {"scale_resids", "True"},
      {"cosformer_attn_enable", "True"},
      {"activation_fn", "relu_squared"},
      {"policy_criterion", "all"},
      {"task", "translation_multi_simple_epoch"},
      {"simul_type", "test_time_magic"},
      {"leap_factor", "3"}};
  CheckpointContents all = Golden("base");
  for (const auto& [option, value] : options) {
    CheckpointContents contents = Golden("base");
    contents.options[option] = all.options[option] = value;
    const ConfigReading reading = Read(contents);
    EXPECT_TRUE(absl::IsUnimplemented(reading.status)) << option << reading.status;
    EXPECT_THAT(Message(reading), AllOf(HasSubstr("f.pt: this model is not served"),
                                        HasSubstr(absl::StrCat(option, " is \"", value, "\""))));
  }
  const std::string message = Message(Read(all));
  for (const auto& [option, value] : options) {
    EXPECT_THAT(message, HasSubstr(absl::StrCat("option ", option, " is \"", value, "\"")));
  }
}

TEST(ReadConfigTest, AnOptionThatNobodyHasClassifiedIsRefused) {
  CheckpointContents contents = Golden("base");
  contents.options["sliding_window"] = "16";
  contents.options["rotary_base"] = "0";  // The option is off, so that it asks for nothing.
  contents.options["quite_new"] = "False";
  ConfigReading reading = Read(contents);
  EXPECT_TRUE(absl::IsUnimplemented(reading.status)) << reading.status;
  EXPECT_THAT(Message(reading),
              AllOf(HasSubstr("option sliding_window is \"16\"; leapstream does not "
                              "know it"),
                    HasSubstr("--ignore-option sliding_window"), Not(HasSubstr("rotary_base")),
                    Not(HasSubstr("quite_new"))));
  const std::string bytes = WriteCheckpoint(contents);
  const auto checkpoint = FairseqCheckpoint::Parse(bytes, "f.pt");
  EXPECT_TRUE(ReadConfig(*checkpoint, {"sliding_window"}).status.ok());
  EXPECT_THAT(Message(ReadConfig(*checkpoint, {"sliding_window", "waitk_lagging"})),
              HasSubstr("option waitk_lagging is one that leapstream knows"));
  // An option of one kind of model is unknown for another kind.
  contents = Golden("offline");
  contents.options["waitk"] = "3";
  EXPECT_THAT(Message(Read(contents)),
              HasSubstr("option waitk is \"3\"; leapstream does not know it"));
  contents.options.erase("waitk");
  contents.options["conv_channels"] = "1";
  EXPECT_THAT(Message(Read(contents)), HasSubstr("option conv_channels is \"1\""));
}

// With linearized_train the fork drops the mask of the encoder's LeaP attention, also in inference.
TEST(ReadConfigTest, LinearizedTrainingMakesALeapEncoderBidirectional) {
  for (const auto& [name, causal] : {std::pair("base", false),
                                     {"leap_enc", false},
                                     {"unidirectional", false},
                                     {"leap_sa", true},
                                     {"softmax_postnorm", true},
                                     {"offline", false}}) {
    CheckpointContents contents = Golden(name);
    contents.options["linearized_train"] = "True";
    contents.options["share_encoder_ffn_attn_layer"] = "[1, 2]";  // Only `offline` reads this.
    const ConfigReading reading = Read(contents);
    ASSERT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_EQ(reading.config.causal_encoder, causal) << name;
    EXPECT_EQ(reading.config.encoder.shared_layers.empty(), std::string(name) != "offline");
    contents.options["linearized_train"] = "False";
    EXPECT_EQ(Read(contents).config.causal_encoder, std::string(name) != "offline");
  }
}

TEST(ReadConfigTest, TheFirstLayerAloneIsNoOptionThatIsOff) {
  CheckpointContents contents = Golden("base");
  contents.options["encoder_layers_to_keep"] = "0";
  EXPECT_THAT(Message(Read(contents)), HasSubstr("option encoder_layers_to_keep is \"0\""));
}

TEST(ReadConfigTest, OptionsThatAreOffDoNothing) {
  CheckpointContents contents = Golden("base");
  for (const char* option : {"adaptive_input", "char_inputs", "scale_attn"}) {
    contents.options[option] = "False";
  }
  for (const char* option : {"adaptive_softmax_cutoff", "encoder_layers_to_keep"}) {
    contents.options[option] = "None";
  }
  contents.options["base_layers"] = "0";
  contents.options["quant_noise_pq"] = "0.0";
  contents.options["decoder_layers_to_keep"] = "";
  contents.options["policy_criterion"] = "any";
  const ConfigReading reading = Read(contents);
  EXPECT_TRUE(reading.status.ok()) << reading.status;
}

TEST(ReadConfigTest, NamesOptionsThatAreMissingOrWrong) {
  CheckpointContents contents = Golden("base");
  contents.options.erase("decoder_layers");
  contents.options["encoder_attention_heads"] = "four";
  contents.options["waitk_lagging"] = "0";
  contents.options["share_decoder_ffn_attn_layer"] = "[one]";
  const ConfigReading reading = Read(contents);
  EXPECT_TRUE(absl::IsInvalidArgument(reading.status));
  EXPECT_THAT(Message(reading),
              AllOf(HasSubstr("f.pt"), HasSubstr("decoder_layers is missing"),
                    HasSubstr("encoder_attention_heads needs an integer, got \"four\""),
                    HasSubstr("waitk_lagging needs to be at least 1, got 0"),
                    HasSubstr("share_decoder_ffn_attn_layer needs numbers of layers")));
}

TEST(ReadConfigTest, LeapIsWhereItsNetsAre) {
  CheckpointContents contents = Golden("leap_enc");
  contents.options["enc_leapformer_enable"] = "False";
  ConfigReading reading = Read(contents);
  EXPECT_TRUE(absl::IsInvalidArgument(reading.status));
  EXPECT_THAT(Message(reading), HasSubstr("option enc_leapformer_enable is \"False\", but "
                                          "encoder.layers.*.self_attn has proportion nets"));

  // The option's name in an older version stands beside the default of another.
  contents.options["encoder_leapformer_enable"] = "True";
  EXPECT_TRUE(Read(contents).status.ok());

  contents.options["decoder_ca_leapformer_enable"] = "True";
  reading = Read(contents);
  EXPECT_THAT(Message(reading), HasSubstr("decoder_ca_leapformer_enable is \"True\", but "
                                          "decoder.layers.*.encoder_attn has no proportion nets"));

  contents = Golden("leap_enc");
  for (const char* option : {"enc_leapformer_enable", "dec_sa_leapformer_enable"}) {
    contents.options.erase(option);
  }
  EXPECT_EQ(Read(contents).config.encoder.self_attention, "leap");

  contents.Rename("encoder.layers.1.self_attn.q_LeaP.0.weight", "x");
  reading = Read(contents);
  EXPECT_TRUE(absl::IsInvalidArgument(reading.status));
  EXPECT_THAT(Message(reading), HasSubstr("encoder layers 0 and 1 differ in self_attn"));
}

TEST(ReadConfigTest, WaitKHasNoEnergyBias) {
  CheckpointContents contents = Golden("base");
  contents.options["energy_bias"] = "True";
  const ConfigReading reading = Read(contents);
  ASSERT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_FALSE(reading.config.energy_bias);
}

TEST(ReadConfigTest, ChunkwiseIsAnInfiniteLookback) {
  CheckpointContents contents = Golden("mma_il");
  contents.options["simul_type"] = "chunkwise";
  contents.options["mocha_chunk_size"] = "8";
  const ConfigReading reading = Read(contents);
  ASSERT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_TRUE(reading.config.SoftLookback());
}

TEST(ReadConfigTest, SimultaneousDecodersHaveNoNormAfterTheEmbedding) {
  CheckpointContents contents = Golden("base");
  contents.options["layernorm_embedding"] = "True";
  const ConfigReading reading = Read(contents);
  EXPECT_TRUE(reading.config.encoder.layernorm_embedding);
  EXPECT_FALSE(reading.config.decoder.layernorm_embedding);
}

TEST(ReadConfigTest, EarlyVersionsHaveNoFinalNorm) {
  const auto norms = [](const CheckpointContents& contents) {
    const ConfigReading reading = Read(contents);
    return std::pair(reading.config.encoder.final_norm, reading.config.decoder.final_norm);
  };
  CheckpointContents contents = Golden("base");
  EXPECT_EQ(norms(contents), std::pair(true, true));
  contents.parameters["encoder.version"].values = {2};
  contents.parameters["decoder.version"].values = {2};
  EXPECT_EQ(norms(contents), std::pair(true, false));
  contents.parameters["encoder.version"].values = {1};
  EXPECT_EQ(norms(contents), std::pair(false, false));
  contents.parameters.erase("encoder.version");
  contents.parameters["decoder.version"].values = {3};
  EXPECT_EQ(norms(contents), std::pair(false, true));
}

// Models of attn2d's examples/waitk are soft-max models with a causal encoder, and a mask in place
// of a simul_type.
TEST(ReadConfigTest, MaskedWaitKOfOnePathOrMany) {
  CheckpointContents contents = Golden("softmax_postnorm");
  for (const char* option :
       {"simul_type", "waitk_lagging", "activation_fn", "mass_preservation", "attention_eps",
        "noise_mean", "noise_type", "noise_var", "energy_bias_init", "energy_bias"}) {
    contents.options.erase(option);
  }
  contents.parameters.erase("encoder.version");
  contents.parameters.erase("decoder.version");
  contents.options["arch"] = "waitk_transformer_small";
  contents.options["task"] = "waitk_translation";
  contents.options["gelu"] = "True";
  contents.options["encoder_normalize_before"] = "True";
  contents.options["decoder_normalize_before"] = "True";
  contents.options["waitk"] = "7";
  ConfigReading reading = Read(contents);
  ASSERT_TRUE(reading.status.ok()) << reading.status;
  EXPECT_TRUE(reading.config.causal_encoder);
  EXPECT_EQ(reading.config.simul_type, "none");
  EXPECT_EQ(reading.config.waitk_lagging, 7);
  EXPECT_EQ(reading.config.activation_fn, "gelu");
  EXPECT_TRUE(reading.config.encoder.final_norm);
  EXPECT_TRUE(reading.config.decoder.final_norm);

  contents.options["waitk"] = "1024";  // The default, which means the whole source first.
  EXPECT_EQ(Read(contents).config.waitk_lagging, 0);
  contents.options["multi_waitk"] = "True";
  EXPECT_EQ(Read(contents).config.waitk_lagging, 5);
  contents.options["max_waitk"] = "3";
  EXPECT_EQ(Read(contents).config.waitk_lagging, 3);
  contents.options["min_waitk"] = "0";
  EXPECT_THAT(Message(Read(contents)), HasSubstr("min_waitk needs to be at least 1, got 0"));
  contents.options["min_waitk"] = "1";
  contents.options["encoder_decoder_attention_heads"] = "2";
  reading = Read(contents);
  EXPECT_TRUE(absl::IsUnimplemented(reading.status)) << reading.status;
  EXPECT_THAT(Message(reading), HasSubstr("encoder_decoder_attention_heads is \"2\"; served: the "
                                          "decoder_attention_heads, 4"));
}

TEST(ReadConfigTest, SharedLayersWhereTheForkSharesThem) {
  for (const auto& [name, encoder_shares] :
       {std::pair("offline", true), {"base", false}, {"unidirectional", false}}) {
    CheckpointContents contents = Golden(name);
    contents.options["share_encoder_ffn_attn_layer"] = "[1, 2]";
    contents.options["share_decoder_ffn_attn_layer"] = "[2, 7]";  // There is no layer 7.
    const ConfigReading reading = Read(contents);
    ASSERT_TRUE(reading.status.ok()) << reading.status;
    EXPECT_EQ(reading.config.encoder.shared_layers,
              encoder_shares ? std::vector<int>({1, 2}) : std::vector<int>());
    EXPECT_THAT(reading.config.decoder.shared_layers, ElementsAre(2));
  }
}

TEST(ReadConfigTest, OldCheckpointsHaveOneLimitOfPositionsOrNone) {
  CheckpointContents contents = Golden("offline");
  contents.options.erase("max_source_positions");
  contents.options.erase("max_target_positions");
  EXPECT_EQ(Read(contents).config.max_source_positions, 1024);
  contents.options["max_positions"] = "512";
  EXPECT_EQ(Read(contents).config.max_target_positions, 512);
}

TEST(ReadConfigTest, KeepsNoPathsOfTheTrainingMachine) {
  CheckpointContents contents = Golden("base");
  contents.options["data"] = "databin";
  contents.options["tensorboard_logdir"] = "runs";
  contents.options["bpe_codes"] = "/home/somebody/codes";
  const ConfigReading reading = Read(contents);
  EXPECT_EQ(reading.config.fairseq_options.at("waitk_lagging"), "3");
  for (const char* option :
       {"data", "tensorboard_logdir", "bpe_codes", "save_dir", "restore_file", "plasma_path"}) {
    EXPECT_EQ(reading.config.fairseq_options.count(option), 0u) << option;
  }
}

}  // namespace
}  // namespace leapstream
