// Compares the transformer, run a token at a time with its states, with a slow twin that works as
// fairseq's agent: it encodes the whole prefix again at every step, keeps the keys and values of
// the decoder's past by concatenation, and computes every attention quadratically. Weights are
// random. The options are those without goldens, and mixtures.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include "absl/strings/str_cat.h"
#include "model/api/safetensors.h"
#include "model/api/vocabulary.h"
#include "model/engine/attention/cosformer_features.h"
#include "model/engine/attention/elementwise_features.h"
#include "model/engine/model_family.h"
#include "model/engine/transformer.h"
#include "tests/model/engine/clones.h"

namespace leapstream {
namespace {

constexpr int kVocabulary = 40;

class SlowTransformer {
 public:
  SlowTransformer(const ModelConfig& config, std::map<std::string, at::Tensor> weights)
      : config_(config), weights_(std::move(weights)) {}

  // Makes one decoder step after the source read so far, and commits it. Returns an undefined
  // tensor, and commits nothing, if the model wants more source. `due`: the source tokens that the
  // step waits for under wait-k.
  at::Tensor Step(const std::vector<TokenId>& source, TokenId last, int position, bool finished,
                  int due) {
    due_ = due;
    first_query_ = 0;
    const at::Tensor encoded = Encode(source);
    first_query_ = position;
    at::Tensor x = Embed("decoder", config_.decoder, {last}, {position});
    std::vector<int> appended;
    for (int l = 0; l < config_.decoder.layers; ++l) {
      const int own = config_.decoder.LayerOf(l);
      const std::string name = absl::StrCat("decoder.layers.", own, ".");
      const auto norm = [&](const char* which, const at::Tensor& y) {
        return Norm(name + which, y);
      };
      const bool before = config_.decoder.normalize_before;
      const auto residual = [&](const char* which, const std::function<at::Tensor(at::Tensor)>& f) {
        x = before ? x + f(norm(which, x)) : norm(which, x + f(x));
      };
      residual("self_attention_norm", [&](const at::Tensor& h) {
        const std::string block = name + "self_attention";
        Past& past = past_[own];
        const at::Tensor k = Linear(block + ".key", h), v = Linear(block + ".value", h);
        past.keys = past.keys.defined() ? at::cat({past.keys, k}) : k;
        past.values = past.values.defined() ? at::cat({past.values, v}) : v;
        appended.push_back(own);
        const at::Tensor all = at::ones({1, past.keys.size(0)}).to(at::kBool);
        return Linear(
            block + ".output",
            Attend(block, config_.decoder.self_attention, config_.decoder,
                   Linear(block + ".query", h), past.keys, past.values, all));
      });
      bool wants = false;
      residual("cross_attention_norm", [&](const at::Tensor& h) {
        const std::string block = name + "cross_attention";
        return Linear(block + ".output", Cross(block, own, h, encoded, &wants));
      });
      if (wants && !finished) {
        for (const int layer : appended) {
          Past& past = past_[layer];
          past.keys = past.keys.slice(0, 0, past.keys.size(0) - 1);
          past.values = past.values.slice(0, 0, past.values.size(0) - 1);
        }
        return at::Tensor();
      }
      residual("ffn_norm", [&](const at::Tensor& h) { return FeedForward(name + "ffn", h); });
    }
    if (config_.decoder.final_norm) x = Norm("decoder.norm", x);
    if (weights_.count("decoder.project_out") > 0)
      x = x.matmul(weights_["decoder.project_out"].t());
    const char* output = config_.share_all_embeddings               ? "encoder.embedding"
                         : config_.share_decoder_input_output_embed ? "decoder.embedding"
                                                                    : "decoder.output";
    x = x.matmul(weights_[output].t());
    if (config_.output_bias) x = x + weights_.at("decoder.output_bias");
    return x.log_softmax(-1)[0];
  }

 private:
  struct Past {
    at::Tensor keys, values;  // [T, E]
  };

  at::Tensor Linear(const std::string& name, const at::Tensor& x) {
    return x.matmul(weights_.at(name + ".weight").t()) + weights_.at(name + ".bias");
  }
  at::Tensor Norm(const std::string& name, const at::Tensor& x) {
    return at::layer_norm(x, {x.size(-1)}, weights_.at(name + ".weight"),
                          weights_.at(name + ".bias"));
  }
  at::Tensor FeedForward(const std::string& name, const at::Tensor& x) {
    const at::Tensor h = Linear(name + ".hidden", x);
    const std::string& f = config_.activation_fn;
    return Linear(name + ".out", f == "relu"                                ? h.relu()
                                 : f == "gelu"                              ? at::gelu(h)
                                 : f == "tanh"                              ? h.tanh()
                                 : f == "swish"                             ? h * h.sigmoid()
                                 : f == "gelu_fast" || f == "gelu_accurate" ? at::gelu(h, "tanh")
                                                                            : h);
  }

  at::Tensor Embed(const std::string& side_name, const SideConfig& side,
                   const std::vector<TokenId>& tokens, const std::vector<int>& positions) {
    const std::string table =
        config_.share_all_embeddings ? "encoder.embedding" : side_name + ".embedding";
    at::Tensor x = weights_.at(table).index_select(
        0, at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end())));
    if (config_.scale_embedding) x = x * std::sqrt(static_cast<double>(side.embed_dim));
    if (side.input_dim != side.embed_dim) x = x.matmul(weights_.at(side_name + ".project_in").t());
    const at::Tensor rows =
        at::tensor(std::vector<int64_t>(positions.begin(), positions.end())) + 2;
    if (side.positions == PositionKind::kLearned) {
      x = x + weights_.at(side_name + ".positions").index_select(0, rows);
    } else if (side.positions == PositionKind::kSinusoidal) {
      const int64_t half = side.embed_dim / 2;
      const at::Tensor w =
          at::exp(at::arange(half, at::kFloat) * (-std::log(10000.0) / (half - 1)));
      const at::Tensor angle = rows.to(at::kFloat).unsqueeze(1) * w.unsqueeze(0);
      x = x + at::cat({angle.sin(), angle.cos()}, 1);
    }
    return side.layernorm_embedding ? Norm(side_name + ".embedding_norm", x) : x;
  }

  at::Tensor Encode(const std::vector<TokenId>& source) {
    const SideConfig& side = config_.encoder;
    const int64_t S = static_cast<int64_t>(source.size());
    std::vector<int> positions;
    for (int i = 0; i < S; ++i) positions.push_back(i);
    at::Tensor x = Embed("encoder", side, source, positions);
    at::Tensor mask = at::ones({S, S}).to(at::kBool);
    if (config_.causal_encoder) mask = mask.tril();
    for (int l = 0; l < side.layers; ++l) {
      const std::string name = absl::StrCat("encoder.layers.", side.LayerOf(l), ".");
      const auto self = [&](const at::Tensor& h) {
        const std::string block = name + "self_attention";
        return Linear(block + ".output",
                      Attend(block, side.self_attention, side, Linear(block + ".query", h),
                             Linear(block + ".key", h), Linear(block + ".value", h), mask));
      };
      const auto ffn = [&](const at::Tensor& h) { return FeedForward(name + "ffn", h); };
      if (side.normalize_before) {
        x = x + self(Norm(name + "self_attention_norm", x));
        x = x + ffn(Norm(name + "ffn_norm", x));
      } else {
        x = Norm(name + "self_attention_norm", x + self(x));
        x = Norm(name + "ffn_norm", x + ffn(x));
      }
    }
    return side.final_norm ? Norm("encoder.norm", x) : x;
  }

  at::Tensor Heads(const SideConfig& side, const at::Tensor& x) {  // [T, E] -> [H, T, d]
    const int64_t d = side.embed_dim / side.attention_heads;
    return x.view({x.size(0), side.attention_heads, d}).transpose(0, 1);
  }
  // Returns energies [H, T, S], before any mask.
  at::Tensor Energies(const std::string& block, const std::string& kind, const SideConfig& side,
                      const at::Tensor& q, const at::Tensor& k) {
    const double d = side.embed_dim / side.attention_heads;
    const at::Tensor query = Heads(side, q) / std::sqrt(d), key = Heads(side, k);
    if (kind == "softmax") return query.matmul(key.transpose(1, 2));
    const at::Tensor plain = Heads(side, q);
    if (kind == "linear_relu") return plain.relu().matmul(key.relu().transpose(1, 2));
    if (kind == "linear_elu") {
      return (at::elu(plain) + 1).matmul((at::elu(key) + 1).transpose(1, 2));
    }
    if (kind == "cosformer") {
      const at::Tensor i = at::arange(q.size(0), at::kFloat) + first_query_;
      const at::Tensor j = at::arange(k.size(0), at::kFloat);
      const at::Tensor angle =
          (i.unsqueeze(-1) - j.unsqueeze(-2)) * (M_PI / 2 / config_.cosformer_max_length);
      return plain.relu().matmul(key.relu().transpose(1, 2)) * angle.cos();
    }
    const auto proportion = [&](const std::string& net, const at::Tensor& x) {
      return Linear(block + net + ".out", Linear(block + net + ".hidden", x).relu()).sigmoid();
    };
    const at::Tensor fq = query.relu(), fk = key.relu();
    const at::Tensor angle =
        proportion(".query_proportion", fq) - proportion(".key_proportion", fk).transpose(1, 2);
    return fq.matmul(fk.transpose(1, 2)) * (angle * (M_PI / 2)).cos();
  }
  // kind: a name in model.json, or "leap_softmax". mask: [T, S] or [H, T, S]. Returns [T, E].
  at::Tensor Attend(const std::string& block, const std::string& kind, const SideConfig& side,
                    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const at::Tensor& mask) {
    const at::Tensor energy = Energies(block, kind == "leap_softmax" ? "leap" : kind, side, q, k);
    return Weigh(kind, side, energy, v, mask);
  }
  at::Tensor Weigh(const std::string& kind, const SideConfig& side, const at::Tensor& energy,
                   const at::Tensor& v, const at::Tensor& mask) {
    at::Tensor weights;
    if (kind != "softmax" && kind != "leap_softmax") {
      weights = energy.masked_fill(mask.logical_not(), 0);
      weights = weights / weights.sum(-1, true).clamp_min(kind == "leap" ? 0.1 : 1e-6);
    } else {
      weights = energy.masked_fill(mask.logical_not(), -1e8).softmax(-1);
    }
    return weights.matmul(Heads(side, v)).transpose(0, 1).reshape({energy.size(1), side.embed_dim});
  }

  at::Tensor Cross(const std::string& block, int layer, const at::Tensor& h,
                   const at::Tensor& encoded, bool* wants) {
    const SideConfig& side = config_.decoder;
    const int64_t S = encoded.size(0);
    const at::Tensor q = Linear(block + ".query", h), k = Linear(block + ".key", encoded);
    const at::Tensor v = Linear(block + ".value", encoded);
    std::string kind = side.cross_attention;
    if (!config_.LearnedPolicy()) {
      if (kind == "leap" && config_.cross_normaliser == "softmax") kind = "leap_softmax";
      // At inference a step stands on position due - 1, or on the last position if there is no such
      // one. The last position is S - 1 with mass preservation, S without. A step that stands on
      // the first position reads nothing. Training puts steps that wait for more source than there
      // is on the last position with mass preservation, and nowhere without.
      const int64_t last = config_.mass_preservation ? S - 1 : S;
      const bool nothing = config_.cross_normaliser == "softmax"
                               ? !config_.mass_preservation && due_ > S
                               : S == 1 && std::min(due_ - 1, last) == 0;
      if (config_.simul_type == "waitk" && nothing) return at::zeros_like(q);
      return Attend(block, kind, side, q, k, v, at::ones({1, S}).to(at::kBool));
    }
    at::Tensor energy = Energies(block, kind, side, q, k);  // [H, 1, S]
    if (config_.energy_bias) energy = energy + weights_.at(block + ".energy_bias");
    const at::Tensor p = energy.sigmoid();
    std::vector<int64_t>& step = step_[layer];
    step.resize(side.attention_heads, 0);
    const int64_t ceiling = config_.mass_preservation ? S - 1 : S;
    bool at_ceiling = false;
    for (const int64_t s : step) at_ceiling = at_ceiling || s >= ceiling;
    at::Tensor mask = at::zeros({side.attention_heads, 1, S}).to(at::kBool);
    at::Tensor keep = at::ones({side.attention_heads, 1, 1});
    for (int64_t head = 0; head < side.attention_heads; ++head) {
      const auto low = [&](int64_t s) {
        return p[head][0][std::min(s, S - 1)].item<float>() < 0.5f;
      };
      if (at_ceiling) step[head] = ceiling;
      while (step[head] < ceiling && low(step[head])) ++step[head];
      *wants = *wants || (step[head] == ceiling && low(step[head]));
      if (config_.SoftLookback()) {
        mask[head][0].slice(0, 0, std::min(step[head] + 1, S)).fill_(true);
        if (step[head] == 0) keep[head].zero_();
      } else {
        mask[head][0][std::min(step[head], S - 1)] = true;
        if (step[head] == S) keep[head].zero_();
      }
    }
    if (!config_.SoftLookback()) {
      const at::Tensor hard = mask.to(at::kFloat) * keep;
      return hard.matmul(Heads(side, v)).transpose(0, 1).reshape({1, side.embed_dim});
    }
    const at::Tensor soft = Energies(block, kind, side, Linear(block + ".query_soft", h),
                                     Linear(block + ".key_soft", encoded));
    const at::Tensor read = Heads(side, Weigh(kind, side, soft, v, mask)) * keep;
    return read.transpose(0, 1).reshape({1, side.embed_dim});
  }

  const ModelConfig config_;
  std::map<std::string, at::Tensor> weights_;
  std::map<int, Past> past_;
  std::map<int, std::vector<int64_t>> step_;
  int64_t due_ = 0;
  int first_query_ = 0;  // The position of the first row that attends.
};

ModelConfig SmallConfig() {
  ModelConfig config;
  config.name = "x";
  config.source_language = config.target_language = "x";
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = 16;
    side->ffn_embed_dim = 24;
    side->layers = 2;
    side->attention_heads = 2;
    side->vocabulary_size = kVocabulary;
  }
  return config;
}

struct Case {
  const char* name;
  void (*change)(ModelConfig&);
};

void WaitKLeap(ModelConfig& c) {
  c.simul_type = "waitk";
  c.encoder.self_attention = c.decoder.self_attention = c.decoder.cross_attention = "leap";
}
void Monotonic(ModelConfig& c) {
  c.simul_type = "infinite_lookback";
  c.energy_bias = true;
}

// A kind that no checkpoint has, and that model.json may name.
template <const AttentionEntry& kind>
void WaitKOf(ModelConfig& c) {
  c.simul_type = "waitk";
  c.cosformer_max_length = 60;
  c.encoder.self_attention = c.decoder.self_attention = c.decoder.cross_attention = kind.name;
}

const Case kCases[] = {
    {"cosformer", WaitKOf<kCosformerKind>},
    {"linear_relu", WaitKOf<kLinearReluKind>},
    {"linear_elu", WaitKOf<kLinearEluKind>},
    {"cosformer_of_a_bidirectional_encoder",
     [](ModelConfig& c) {
       WaitKOf<kCosformerKind>(c);
       c.causal_encoder = false;
     }},
    {"linear_relu_of_a_learned_policy",
     [](ModelConfig& c) {
       Monotonic(c);
       c.encoder.self_attention = c.decoder.cross_attention = kLinearReluKind.name;
     }},
    {"leap", WaitKLeap},
    {"leap_softmax_normaliser",
     [](ModelConfig& c) {
       WaitKLeap(c);
       c.cross_normaliser = "softmax";
     }},
    {"leap_softmax_normaliser_without_mass_preservation",
     [](ModelConfig& c) {
       WaitKLeap(c);
       c.cross_normaliser = "softmax";
       c.mass_preservation = false;
     }},
    {"wait_k_without_mass_preservation",
     [](ModelConfig& c) {
       c.simul_type = "waitk";
       c.mass_preservation = false;
     }},
    {"wait_k_of_a_bidirectional_encoder",
     [](ModelConfig& c) {
       WaitKLeap(c);
       c.causal_encoder = false;
     }},
    {"leap_cross_only",
     [](ModelConfig& c) {
       c.simul_type = "waitk";
       c.decoder.cross_attention = "leap";
     }},
    {"shared_layers",
     [](ModelConfig& c) {
       WaitKLeap(c);
       c.decoder.layers = 4;
       c.decoder.shared_layers = {1, 3};
     }},
    {"shared_layers_softmax_bidirectional",
     [](ModelConfig& c) {
       c.causal_encoder = false;
       c.encoder.layers = 3;
       c.encoder.shared_layers = {2, 3};
       c.decoder.shared_layers = {1, 2};
     }},
    {"shared_layers_monotonic",
     [](ModelConfig& c) {
       Monotonic(c);
       c.decoder.shared_layers = {1, 2};
     }},
    {"project_in_and_out",
     [](ModelConfig& c) {
       c.simul_type = "waitk";
       c.decoder.input_dim = 12;
       c.decoder.output_dim = 20;
       c.decoder.normalize_before = c.decoder.final_norm = true;
       c.activation_fn = "gelu_fast";
     }},
    {"project_in_shared_output",
     [](ModelConfig& c) {
       c.simul_type = "waitk";
       c.decoder.input_dim = c.decoder.output_dim = 12;
       c.share_decoder_input_output_embed = true;
       c.activation_fn = "swish";
     }},
    {"widths_differ",
     [](ModelConfig& c) {
       c.simul_type = "waitk";
       c.encoder.embed_dim = c.encoder.input_dim = c.encoder.output_dim = 12;
       c.encoder.attention_heads = 3;
       c.encoder.layers = 3;
       c.decoder.layers = 1;
       c.decoder.cross_attention = "leap";
       c.activation_fn = "tanh";
     }},
    {"everything_normalised_learned_positions",
     [](ModelConfig& c) {
       c.encoder.layernorm_embedding = c.decoder.layernorm_embedding = true;
       c.encoder.normalize_before = c.encoder.final_norm = true;
       c.decoder.positions = c.encoder.positions = PositionKind::kLearned;
       c.decoder.max_positions = c.encoder.max_positions = 40;
       c.scale_embedding = false;
       c.activation_fn = "linear";
     }},
    {"bidirectional_leap",
     [](ModelConfig& c) {
       c.causal_encoder = false;
       c.encoder.self_attention = c.decoder.cross_attention = "leap";
       c.share_all_embeddings = c.share_decoder_input_output_embed = true;
     }},
    {"bias_of_the_logits",
     [](ModelConfig& c) {
       WaitKLeap(c);
       c.output_bias = true;
     }},
    {"bias_of_shared_logits_bidirectional",
     [](ModelConfig& c) {
       c.causal_encoder = false;
       c.output_bias = true;
       c.share_all_embeddings = c.share_decoder_input_output_embed = true;
     }},
    {"monotonic_leap",
     [](ModelConfig& c) {
       Monotonic(c);
       c.encoder.self_attention = c.decoder.self_attention = c.decoder.cross_attention = "leap";
     }},
    {"monotonic_leap_of_a_bidirectional_encoder",
     [](ModelConfig& c) {
       Monotonic(c);
       c.causal_encoder = false;
       c.encoder.self_attention = "leap";
     }},
    {"hard_of_a_bidirectional_encoder",
     [](ModelConfig& c) {
       c.simul_type = "hard_aligned";
       c.causal_encoder = false;
       c.encoder.self_attention = c.decoder.cross_attention = "leap";
       c.energy_bias = true;
     }},
    {"monotonic_without_mass_preservation",
     [](ModelConfig& c) {
       Monotonic(c);
       c.mass_preservation = false;
     }},
    {"chunkwise",
     [](ModelConfig& c) {
       Monotonic(c);
       c.simul_type = "chunkwise";
     }},
    {"hard_without_mass_preservation",
     [](ModelConfig& c) {
       c.simul_type = "hard_aligned";
       c.mass_preservation = false;
     }},
    {"hard_leap",
     [](ModelConfig& c) {
       c.simul_type = "hard_aligned";
       c.energy_bias = true;
       c.decoder.cross_attention = "leap";
     }},
};

// Makes a model with random weights, which are also put into `weights`.
std::unique_ptr<Transformer> RandomTransformer(const ModelConfig& config, const char* name,
                                               std::mt19937& random,
                                               std::map<std::string, at::Tensor>& weights) {
  std::normal_distribution<float> normal;
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ListTensors(config)) {
    at::Tensor& w = weights[spec.name] = at::empty(spec.shape);
    const float scale = spec.shape.size() == 2 ? 1 / std::sqrt(float(spec.shape[1])) : 0.3f;
    for (int64_t i = 0; i < w.numel(); ++i) w.data_ptr<float>()[i] = scale * normal(random);
    // The bias is negative, so that heads of LeaP, whose energies are never negative, move at all.
    if (spec.name.find("energy_bias") != std::string::npos) w.fill_(-0.3);
    views[spec.name] = {TensorType::kFloat32, spec.shape,
                        absl::string_view(static_cast<const char*>(w.data_ptr()), w.nbytes())};
  }
  const std::string path = absl::StrCat(::testing::TempDir(), "/", name, ".safetensors");
  EXPECT_TRUE(WriteSafetensors(path, views).ok());
  auto loaded = Weights::Load(path);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  auto transformer = Transformer::Create(config, *std::move(loaded));
  EXPECT_TRUE(transformer.ok()) << transformer.status();
  return *std::move(transformer);
}

class TransformerTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    GetParam().change(config_);
    ASSERT_TRUE(ValidateModelConfig(config_).ok()) << ValidateModelConfig(config_);
  }
  // Makes a model with random weights, which are also put into `weights`.
  std::unique_ptr<Transformer> MakeTransformer(std::mt19937& random,
                                               std::map<std::string, at::Tensor>& weights) {
    return RandomTransformer(config_, GetParam().name, random, weights);
  }

  ModelConfig config_ = SmallConfig();
};

TEST_P(TransformerTest, EqualsItsSlowTwin) {
  at::InferenceMode guard;
  int reads_wanted = 0;
  for (int seed = 1; seed <= 5; ++seed) {
    std::mt19937 random(seed);
    std::map<std::string, at::Tensor> weights;
    const std::unique_ptr<Transformer> transformer = MakeTransformer(random, weights);
    SlowTransformer slow(config_, weights);
    auto state = *transformer->NewState();
    SessionState* one = state.get();
    const int k = 1 + seed % 3, write_stride = 1 + seed / 4;
    one->SetWaitK(k, write_stride);
    std::vector<TokenId> source = {kEndOfSentence};
    for (int i = 0; i < 17; ++i) source.insert(source.begin(), 4 + random() % (kVocabulary - 4));
    TokenId last = kEndOfSentence;
    std::vector<TokenId> read;
    // There are one or two READs before each step, one before each of the first two, and some steps
    // after the source's end.
    for (int t = 0; t < 28;) {
      std::vector<TokenId> more;
      int n = 1 + random() % 2;
      if (t < 2 && !config_.LearnedPolicy()) n = 1 - t;
      for (; n > 0 && read.size() < source.size(); --n) {
        more.push_back(source[read.size()]);
        read.push_back(more.back());
      }
      const SourceRows rows{one, more};
      ASSERT_TRUE(transformer->Read({rows}).ok());
      const bool finished = read.size() == source.size();
      Decision decision;
      ASSERT_TRUE(transformer->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
      const at::Tensor expected = slow.Step(read, last, t, finished, k + t / write_stride);
      ASSERT_EQ(decision.wants_source, !expected.defined()) << "seed " << seed << " step " << t;
      if (decision.wants_source) {
        ++reads_wanted;
        continue;
      }
      const float best = expected.max().item<float>();
      // The tolerance is that of the golden tests, for two layers of float32 sums in another order.
      ASSERT_NEAR(best, decision.best.log_prob, 5e-5) << "seed " << seed << " step " << t;
      ASSERT_NEAR(expected[decision.best.id].item<float>(), best, 5e-5) << "step " << t;
      last = decision.best.id == kEndOfSentence ? 4 : decision.best.id;
      one->Commit(last);
      ++t;
    }
  }
  EXPECT_EQ(reads_wanted > 0, config_.LearnedPolicy()) << reads_wanted;
}

// Sessions that act together, each with a source of its own.
class Group {
 public:
  Group(const Transformer& transformer, const std::vector<int>& seeds) : transformer_(transformer) {
    for (const int seed : seeds) {
      members_.push_back({std::mt19937(seed), *transformer.NewState(), {}, {}});
      for (int i = 0; i < 15; ++i) {
        members_.back().source.push_back(4 + members_.back().random() % (kVocabulary - 4));
      }
      members_.back().source.push_back(kEndOfSentence);
    }
  }
  // Makes one to three READs of each session, or as many as are left, and a step.
  void Act(BetweenLayers between_layers) {
    std::vector<SourceRows> rows;
    std::vector<SessionState*> states;
    for (Member& member : members_) {
      const auto first = static_cast<size_t>(member.state->source_read());
      const size_t count = std::min(1 + member.random() % 3, member.source.size() - first);
      if (count > 0) {
        rows.push_back({member.state.get(), absl::MakeSpan(member.source).subspan(first, count)});
      }
      states.push_back(member.state.get());
    }
    std::vector<Decision> decisions(states.size());
    ASSERT_TRUE(transformer_.Read(rows, between_layers).ok());
    ASSERT_TRUE(transformer_.Decide(states, absl::MakeSpan(decisions), between_layers).ok());
    for (size_t m = 0; m < members_.size(); ++m) {
      const Decision& decision = decisions[m];
      members_[m].decided.push_back(
          {decision.wants_source ? -1 : decision.best.id, decision.best.log_prob});
      if (decision.wants_source) continue;
      states[m]->Commit(decision.best.id == kEndOfSentence ? 4 : decision.best.id);
    }
    ++acted_;
  }
  int acted() const { return acted_; }
  using Decided = std::vector<std::pair<TokenId, float>>;
  const Decided& decided(size_t member) const { return members_[member].decided; }

 private:
  struct Member {
    std::mt19937 random;
    std::unique_ptr<SessionState> state;
    std::vector<TokenId> source;
    Decided decided;
  };
  const Transformer& transformer_;
  std::vector<Member> members_;
  int acted_ = 0;
};

TEST_P(TransformerTest, CallsBetweenTheLayersOfACallChangeNothing) {
  constexpr int kActs = 24;
  std::mt19937 random(1);
  std::map<std::string, at::Tensor> weights;
  const std::unique_ptr<Transformer> transformer = MakeTransformer(random, weights);
  const std::vector<int> outer_seeds = {1, 2, 3}, inner_seeds = {4, 5};
  Group outer(*transformer, outer_seeds), inner(*transformer, inner_seeds);
  int calls = 0;
  while (outer.acted() < kActs) {
    outer.Act([&] {
      if (++calls % 3 == 0 && inner.acted() < kActs) inner.Act([] {});
    });
  }
  EXPECT_EQ(inner.acted(), kActs);
  for (const auto& [group, seeds] : {std::pair(&outer, outer_seeds), {&inner, inner_seeds}}) {
    for (size_t m = 0; m < seeds.size(); ++m) {
      Group alone(*transformer, {seeds[m]});
      while (alone.acted() < kActs) alone.Act([] {});
      EXPECT_EQ(group->decided(m), alone.decided(0)) << "to the bit; session " << seeds[m];
    }
  }
}
// Replaying a segment that was read and written by turns gives the same state, in any parts and
// beside any other sessions: later decisions are the same to the bit.
TEST_P(TransformerTest, ReplayingEqualsReadingAndWritingByTurns) {
  std::mt19937 random(1);
  std::map<std::string, at::Tensor> weights;
  const std::unique_ptr<Transformer> transformer = MakeTransformer(random, weights);
  EXPECT_EQ(transformer->can_replay(), config_.causal_encoder && !config_.LearnedPolicy() &&
                                           config_.decoder.shared_layers.empty());
  constexpr int kSessions = 3;
  std::vector<std::unique_ptr<SessionState>> by_turns, replayed;
  std::vector<std::vector<TokenId>> source(kSessions), target(kSessions);
  std::vector<std::vector<int>> source_read(kSessions);
  for (int s = 0; s < kSessions; ++s) {
    by_turns.push_back(*transformer->NewState());
    replayed.push_back(*transformer->NewState());
    for (int i = 0; i < 15; ++i) source[s].push_back(4 + random() % (kVocabulary - 4));
    source[s].push_back(kEndOfSentence);
  }
  if (!transformer->can_replay()) {
    const ReplayRows rows{replayed[0].get(), source[0], {}, {}};
    EXPECT_EQ(absl::StatusCode::kUnimplemented, transformer->Replay({rows}, [] {}).code());
    EXPECT_EQ(0, replayed[0]->source_read());
    return;
  }
  const auto decide = [&](SessionState* state) {
    Decision decision;
    EXPECT_TRUE(transformer->Decide({state}, absl::MakeSpan(&decision, 1)).ok());
    return std::pair(decision.best.id, decision.best.log_prob);
  };
  // Each step has zero to two READs before it; now and then a step is decided and undone.
  for (int t = 0; t < 24; ++t) {
    for (int s = 0; s < kSessions; ++s) {
      SessionState* state = by_turns[s].get();
      const auto first = static_cast<size_t>(state->source_read());
      const size_t count = std::min<size_t>(random() % 3 + (t == 0), source[s].size() - first);
      const SourceRows rows{state, absl::MakeSpan(source[s]).subspan(first, count)};
      ASSERT_TRUE(transformer->Read({rows}).ok());
      const TokenId decided = decide(state).first;
      if (random() % 4 == 0) continue;
      target[s].push_back(decided == kEndOfSentence ? 4 : decided);
      source_read[s].push_back(state->source_read());
      state->Commit(target[s].back());
    }
    // Now and then the new part of all sessions is replayed as one batch.
    if (t % (1 + t / 4) != 0) continue;
    std::vector<ReplayRows> batch;
    for (int s = 0; s < kSessions; ++s) {
      SessionState* state = replayed[s].get();
      const int read = state->source_read(), written = state->target_written();
      const auto more = by_turns[s]->source_read() - read;
      batch.push_back({state, absl::MakeSpan(source[s]).subspan(read, more),
                       absl::MakeSpan(target[s]).subspan(written),
                       absl::MakeSpan(source_read[s]).subspan(written)});
    }
    ASSERT_TRUE(transformer->Replay(batch, [] {}).ok());
    for (int s = 0; s < kSessions; ++s) {
      EXPECT_EQ(by_turns[s]->source_read(), replayed[s]->source_read());
      EXPECT_EQ(by_turns[s]->target_written(), replayed[s]->target_written());
      EXPECT_EQ(decide(by_turns[s].get()), decide(replayed[s].get())) << "step " << t;
    }
  }
}

TEST_P(TransformerTest, ReplayingWhatCannotBeIsRefusedAndChangesNothing) {
  std::mt19937 random(1);
  std::map<std::string, at::Tensor> weights;
  const std::unique_ptr<Transformer> transformer = MakeTransformer(random, weights);
  if (!transformer->can_replay()) return;  // It refuses any replay: see the test above.
  auto good = *transformer->NewState(), bad = *transformer->NewState();
  const std::vector<TokenId> source = {4, 5, 6}, wrong_source = {4, kVocabulary, 6};
  const std::vector<TokenId> target = {7, 8}, wrong_target = {7, -1};
  const std::vector<int> source_read = {1, 3};
  const std::vector<std::vector<int>> wrong_reads = {{1}, {0, 3}, {2, 1}, {1, 4}};
  std::vector<ReplayRows> wrong = {{bad.get(), wrong_source, target, source_read},
                                   {bad.get(), source, wrong_target, source_read}};
  for (const auto& read : wrong_reads) wrong.push_back({bad.get(), source, target, read});
  for (const ReplayRows& rows : wrong) {
    const ReplayRows beside{good.get(), source, target, source_read};
    const absl::Status status = transformer->Replay({beside, rows}, [] {});
    EXPECT_EQ(absl::StatusCode::kInvalidArgument, status.code()) << status;
    EXPECT_EQ(0, good->source_read());
    EXPECT_EQ(0, good->target_written());
  }
}
TEST_P(TransformerTest, ClonesGoOnByThemselves) {
  std::mt19937 random(1);
  std::map<std::string, at::Tensor> weights;
  const std::unique_ptr<Transformer> transformer = MakeTransformer(random, weights);
  ExpectClonesGoOnByThemselves(*transformer, {kVocabulary, 0, kVocabulary});
}

INSTANTIATE_TEST_SUITE_P(Options, TransformerTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(SpeechStateTest, ClonesGoOnByThemselves) {
  for (const char* kind : {"softmax", "leap"}) {
    ModelConfig config = SmallConfig();
    config.simul_type = "waitk";
    config.causal_encoder = false;
    config.encoder.vocabulary_size = 0;
    config.encoder.self_attention = config.decoder.self_attention = kind;
    SpeechConfig& speech = config.speech.emplace();
    speech.conv_channels = 4;
    speech.mel_bins = 40;
    speech.input.frame_samples = 320;
    speech.cmvn_mean.assign(speech.mel_bins, 10);
    speech.cmvn_std.assign(speech.mel_bins, 3);
    ASSERT_TRUE(ValidateModelConfig(config).ok()) << ValidateModelConfig(config);
    std::mt19937 random(1);
    std::map<std::string, at::Tensor> weights;
    const auto transformer = RandomTransformer(config, "speech_clones", random, weights);
    // A READ is no whole number of rows, so that some samples wait for later ones.
    ExpectClonesGoOnByThemselves(*transformer, {0, 1500, kVocabulary});
  }
}

// Loads weights of a configuration that are zeros, changed by a function before they are written.
absl::Status LoadChanged(const ModelConfig& config,
                         const std::function<void(std::map<std::string, TensorView>&)>& change) {
  const std::string zeros(1 << 16, '\0');
  std::map<std::string, TensorView> views;
  for (const TensorSpec& spec : ListTensors(config)) {
    size_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    views[spec.name] = {TensorType::kFloat32, spec.shape,
                        absl::string_view(zeros).substr(0, count * sizeof(float))};
  }
  change(views);
  const std::string path = absl::StrCat(::testing::TempDir(), "/changed.safetensors");
  EXPECT_TRUE(WriteSafetensors(path, views).ok());
  auto weights = Weights::Load(path);
  EXPECT_TRUE(weights.ok()) << weights.status();
  return Transformer::Create(config, *std::move(weights)).status();
}

TEST(WeightsTest, ExactlyTheTensorsThatLayersTakeAreWanted) {
  ModelConfig config = SmallConfig();
  WaitKLeap(config);
  EXPECT_TRUE(LoadChanged(config, [](auto&) {}).ok());
  const char* name = "decoder.layers.1.cross_attention.key_proportion.hidden.weight";
  absl::Status status = LoadChanged(config, [&](auto& views) { views.erase(name); });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr(absl::StrCat("tensor ", name, " of shape [2, 8] is missing")));
  status = LoadChanged(config, [&](auto& views) { views[name].shape = {8, 2}; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("should be floating and of shape [2, 8], found [8, 2]"));
  status = LoadChanged(config, [&](auto& views) { views["decoder.more"] = views[name]; });
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr("tensor decoder.more is not part of this architecture"));
}

TEST(WeightsTest, NumbersThatAreNotFiniteAreRefused) {
  const ModelConfig config = SmallConfig();
  const std::string path = absl::StrCat(::testing::TempDir(), "/not_finite.safetensors");
  const uint16_t kHalfInfinity = 0x7c00, kHalfNaN = 0xfe00;
  const uint32_t kInfinity = 0xff800000, kNaN = 0x7fc00000;
  for (const absl::string_view bits :
       {absl::string_view(reinterpret_cast<const char*>(&kHalfInfinity), 2),
        absl::string_view(reinterpret_cast<const char*>(&kHalfNaN), 2),
        absl::string_view(reinterpret_cast<const char*>(&kInfinity), 4),
        absl::string_view(reinterpret_cast<const char*>(&kNaN), 4)}) {
    std::map<std::string, std::string> bytes;
    std::map<std::string, TensorView> views;
    const std::vector<TensorSpec> specs = ListTensors(config);
    for (const TensorSpec& spec : specs) {
      size_t count = 1;
      for (const int64_t size : spec.shape) count *= size;
      bytes[spec.name] = std::string(count * bits.size(), '\0');
      if (spec.name == specs.back().name) {
        bytes[spec.name].replace((count - 1) * bits.size(), bits.size(), bits.data(), bits.size());
      }
      views[spec.name] = {bits.size() == 2 ? TensorType::kFloat16 : TensorType::kFloat32,
                          spec.shape, bytes[spec.name]};
    }
    ASSERT_TRUE(WriteSafetensors(path, views).ok());
    auto weights = Weights::Load(path);
    ASSERT_TRUE(weights.ok()) << weights.status();
    const absl::Status status = Transformer::Create(config, *std::move(weights)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find(specs.back().name + " should have finite numbers only"),
              absl::string_view::npos)
        << status;
  }
}

}  // namespace
}  // namespace leapstream
