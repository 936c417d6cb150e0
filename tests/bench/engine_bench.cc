// The step of a model of a usual size with random weights: d 512, 6 + 6 layers, 8 heads, FFN 2,048,
// vocabulary 6,000, LeaP in all blocks. A step is one READ and one WRITE of every session. Per
// compute type and number of sessions: the time, against what the machine could do (weights read
// once or multiplied at peak, whichever takes longer, plus states read and written once, at
// ceilings that the bench measures itself) and against the same step in plain LibTorch operations.
// Usage: engine_bench [LAYERS]. Prints its conditions.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include "absl/strings/str_cat.h"
#include "model/api/safetensors.h"
#include "model/api/vocabulary.h"
#include "model/torch/kernels/simd.h"
#include "model/torch/transformer.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

constexpr int kWidth = 512;
constexpr int kHeads = 8;
constexpr int kVocabulary = 6000;

ModelConfig BenchConfig(int layers) {
  ModelConfig config;
  config.name = "bench";
  config.source_language = config.target_language = "x";
  config.simul_type = "waitk";
  config.waitk_lagging = 3;
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = kWidth;
    side->ffn_embed_dim = 2048;
    side->layers = layers;
    side->attention_heads = kHeads;
    side->vocabulary_size = kVocabulary;
    side->normalize_before = side->final_norm = true;
    side->self_attention = side->cross_attention = "leap";
  }
  config.share_all_embeddings = config.share_decoder_input_output_embed = true;
  return config;
}

std::map<std::string, at::Tensor> RandomWeights(const ModelConfig& config) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::map<std::string, at::Tensor> weights;
  for (const TensorSpec& spec : ExpectedTensors(config)) {
    at::Tensor& w = weights[spec.name] = at::empty(spec.shape);
    const float scale =
        spec.shape.size() == 2 ? std::sqrt(3.0f / static_cast<float>(spec.shape[1])) : 0.1f;
    for (int64_t i = 0; i < w.numel(); ++i) w.data_ptr<float>()[i] = scale * uniform(random);
  }
  return weights;
}

double Median(std::vector<double> times) {
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

template <typename F>
double BestSeconds(int repeats, F&& f) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = ThreadSeconds();
    f();
    best = std::min(best, ThreadSeconds() - start);
  }
  return best;
}

struct Ceilings {
  std::map<ComputeType, double> read;  // Bytes per second, of as many as the weights are.
  double update = 0;                   // Bytes per second read and written, of states.
  std::map<ComputeType, double> ops;   // Multiplications and additions per second.
};

double BytesPerWeight(ComputeType type) {
  return type == ComputeType::kFloat32 ? 4 : type == ComputeType::kBfloat16 ? 2 : 1;
}

Ceilings MeasureCeilings(int64_t weights) {
  Ceilings ceilings;
  HugePageVector<float> memory(64 << 20, 1.0f);  // 256 MB: no cache holds it.
  std::vector<float> ones(4096, 1.0f), out(4096, 0.0f);
  volatile float sink = 0;
  constexpr ComputeType kTypes[] = {ComputeType::kFloat32, ComputeType::kBfloat16,
                                    ComputeType::kInt8};
  for (const ComputeType type : kTypes) {
    const size_t floats = static_cast<size_t>(weights * BytesPerWeight(type) / sizeof(float));
    ceilings.read[type] = 4.0 * static_cast<double>(floats) / BestSeconds(9, [&] {
                            float sums[64] = {};  // Enough chains to wait for memory only.
                            for (size_t i = 0; i + 64 <= floats; i += 64) {
                              for (int k = 0; k < 64; ++k) sums[k] += memory[i + k];
                            }
                            for (const float sum : sums) sink = sink + sum;
                          });
  }
  LinearStep step;
  step.query = ones.data();
  step.past_key = ones.data();
  step.past_value = ones.data();
  const int64_t state = 128 * 64 + 128;
  const int64_t states = static_cast<int64_t>(memory.size()) / state;
  ceilings.update = 2 * 4.0 * static_cast<double>(state * states) / BestSeconds(5, [&] {
                      for (int64_t s = 0; s < states; ++s) {
                        Simd().linear_attend(memory.data() + s * state, 128, 64, step, out.data());
                      }
                    });
  // Weights that stay in the caches.
  Workspace scratch;
  for (const ComputeType type : kTypes) {
    for (const int64_t outputs : {32, 128, 512}) {
      const int64_t in = 512, rows = 64;
      std::vector<float> w(outputs * in, 0.5f), x(rows * in, 0.25f), y(rows * outputs);
      const PackedLinear linear(w.data(), nullptr, outputs, in, type);
      const int64_t times = 16384 / outputs;
      const double ops =
          2.0 * static_cast<double>(outputs * in * rows * times) / BestSeconds(5, [&] {
            for (int64_t i = 0; i < times; ++i) linear.Apply(x.data(), rows, y.data(), scratch);
          });
      ceilings.ops[type] = std::max(ceilings.ops[type], ops);
    }
  }
  return ceilings;
}

// The same step in LibTorch operations, its states already batched.
class PlainTwin {
 public:
  PlainTwin(const ModelConfig& config, std::map<std::string, at::Tensor> weights, int64_t sessions)
      : config_(config), weights_(std::move(weights)) {
    const int64_t d = kWidth / kHeads;
    for (int i = 0; i < 3 * config.encoder.layers; ++i) {
      sums_.push_back(at::zeros({sessions, kHeads, 2 * d, d}));
      keys_.push_back(at::zeros({sessions, kHeads, 2 * d, 1}));
    }
  }

  void Step(int64_t sessions) {
    const at::Tensor ids = at::full({sessions}, 100, at::kLong);
    at::Tensor x = weights_["encoder.embedding"].index_select(0, ids) * std::sqrt(512.0);
    for (int l = 0; l < config_.encoder.layers; ++l) {
      const std::string name = absl::StrCat("encoder.layers.", l, ".");
      const at::Tensor h = Norm(name + "self_attention_norm", x);
      x = x + Attend(name + "self_attention", l, h, h, true);
      x = x + FeedForward(name + "ffn", Norm(name + "ffn_norm", x));
    }
    const at::Tensor encoded = Norm("encoder.norm", x);
    x = weights_["encoder.embedding"].index_select(0, ids) * std::sqrt(512.0);
    for (int l = 0; l < config_.decoder.layers; ++l) {
      const std::string name = absl::StrCat("decoder.layers.", l, ".");
      const at::Tensor h = Norm(name + "self_attention_norm", x);
      x = x + Attend(name + "self_attention", config_.encoder.layers + 2 * l, h, h, true);
      x = x + Attend(name + "cross_attention", config_.encoder.layers + 2 * l + 1,
                     Norm(name + "cross_attention_norm", x), encoded, true);
      x = x + FeedForward(name + "ffn", Norm(name + "ffn_norm", x));
    }
    const at::Tensor logits =
        at::linear(Norm("decoder.norm", x), weights_["encoder.embedding"]).log_softmax(-1);
    best_ = logits.argmax(-1);
  }

 private:
  at::Tensor Linear(const std::string& name, const at::Tensor& x) {
    return at::linear(x, weights_[name + ".weight"], weights_[name + ".bias"]);
  }
  at::Tensor Norm(const std::string& name, const at::Tensor& x) {
    return at::layer_norm(x, {x.size(-1)}, weights_[name + ".weight"], weights_[name + ".bias"]);
  }
  at::Tensor FeedForward(const std::string& name, const at::Tensor& x) {
    return Linear(name + ".out", Linear(name + ".hidden", x).relu_());
  }
  at::Tensor Features(const std::string& net, const at::Tensor& projected, double scale) {
    const at::Tensor f = projected.view({projected.size(0), kHeads, -1}).mul(scale).relu_();
    const at::Tensor p =
        Linear(net + ".out", Linear(net + ".hidden", f).relu_()).sigmoid_().mul_(M_PI / 2);
    return at::cat({f * p.sin(), f * p.cos()}, -1);  // [B, H, 2 d]
  }
  at::Tensor Attend(const std::string& name, int state, const at::Tensor& x,
                    const at::Tensor& source, bool append) {
    const double scale = 1 / std::sqrt(static_cast<double>(kWidth / kHeads));
    const at::Tensor q =
        Features(name + ".query_proportion", Linear(name + ".query", x), scale).unsqueeze(-2);
    if (append) {
      const at::Tensor k =
          Features(name + ".key_proportion", Linear(name + ".key", source), 1).unsqueeze(-1);
      const at::Tensor v = Linear(name + ".value", source).view({x.size(0), kHeads, 1, -1});
      sums_[state].add_(k * v);
      keys_[state].add_(k);
    }
    const at::Tensor out = q.matmul(sums_[state]) / q.matmul(keys_[state]).clamp_min(0.1);
    return Linear(name + ".output", out.reshape({x.size(0), kWidth}));
  }

  const ModelConfig config_;
  std::map<std::string, at::Tensor> weights_;
  std::vector<at::Tensor> sums_, keys_;
  at::Tensor best_;
};

int Run(int layers) {
  at::InferenceMode guard;
  at::set_num_threads(1);
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string cpu;
  while (std::getline(cpuinfo, cpu) && cpu.rfind("model name", 0) != 0) {
  }
  const ModelConfig config = BenchConfig(layers);
  const std::map<std::string, at::Tensor> weights = RandomWeights(config);
  int64_t parameters = 0;
  int64_t multiplied = 0;  // Weights that a step multiplies; the embedding only as the output.
  std::map<std::string, TensorView> views;
  for (const auto& [name, w] : weights) {
    parameters += w.numel();
    if (w.dim() == 2) multiplied += w.numel();
    views[name] = {TensorType::kFloat32, w.sizes().vec(),
                   absl::string_view(static_cast<const char*>(w.data_ptr()), w.nbytes())};
  }
  const char* folder = std::getenv("TMPDIR");
  const std::string path =
      absl::StrCat(folder != nullptr ? folder : "/tmp", "/leapstream-engine-bench.safetensors");
  if (!WriteSafetensors(path, views).ok()) return 1;
  std::printf("%.1f M parameters, 1 thread, its CPU time, kernels %s, %s\n", parameters / 1e6,
              Simd().name, cpu.c_str());
  const Ceilings ceilings = MeasureCeilings(multiplied);
  std::printf("ceilings: update states %.1f GB/s\n", ceilings.update / 1e9);
  std::printf("%-9s %8s %8s %9s %9s %9s %9s %9s\n", "type", "sessions", "position", "ms/step",
              "us/token", "tokens/s", "of floor", "x LibTorch");
  std::map<int, double> plain;
  for (const int sessions : {1, 8, 32}) {
    PlainTwin twin(config, weights, sessions);
    std::vector<double> times;
    for (int i = 0; i < 4; ++i) {
      const double start = ThreadSeconds();
      twin.Step(sessions);
      times.push_back(1e3 * (ThreadSeconds() - start));
    }
    plain[sessions] = Median(times);
    std::printf("%-9s %8d %8s %9.2f %9.0f %9.0f\n", "LibTorch", sessions, "any", plain[sessions],
                plain[sessions] * 1e3 / sessions, sessions * 1e3 / plain[sessions]);
  }
  const std::pair<ComputeType, const char*> types[] = {{ComputeType::kFloat32, "float32"},
                                                       {ComputeType::kBfloat16, "bfloat16"},
                                                       {ComputeType::kInt8, "int8"}};
  for (const auto& [type, type_name] : types) {
    auto loaded = Weights::Load(path, config, type);
    if (!loaded.ok()) return 1;
    auto transformer = Transformer::Create(config, *std::move(loaded));
    if (!transformer.ok()) return 1;
    const double bytes = BytesPerWeight(type);
    std::printf("ceilings of %s: read weights %.1f GB/s, products %.0f GOP/s\n", type_name,
                ceilings.read.at(type) / 1e9, ceilings.ops.at(type) / 1e9);
    for (const int sessions : {1, 8, 32}) {
      std::vector<std::unique_ptr<SessionState>> states;
      std::vector<SessionState*> pointers;
      std::vector<SourceRows> rows;
      const TokenId token = 100;
      for (int i = 0; i < sessions; ++i) {
        states.push_back((*transformer)->NewState());
        pointers.push_back(states.back().get());
        rows.push_back({pointers.back(), absl::MakeConstSpan(&token, 1)});
      }
      std::vector<Decision> decisions(sessions);
      const double state_bytes = static_cast<double>(Transformer::StateBytes(*pointers[0]));
      int position = 0;
      for (const int until : {32, 100, 500, 5000}) {
        if (sessions > 1 && until > 500) continue;  // Shown once that it does not matter.
        std::vector<double> times;
        for (; position < until; ++position) {
          const double start = ThreadSeconds();
          absl::Status status = (*transformer)->Read(rows);
          if (status.ok()) status = (*transformer)->Decide(pointers, absl::MakeSpan(decisions));
          times.push_back(1e3 * (ThreadSeconds() - start));
          if (!status.ok()) return 1;
          for (SessionState* state : pointers) state->Commit(token);
        }
        times.erase(times.begin(), times.end() - std::min<size_t>(times.size(), 60));
        const double ms = Median(times);
        const double products = 2.0 * static_cast<double>(multiplied) * sessions;
        const double floor =
            std::max(static_cast<double>(multiplied) * bytes / ceilings.read.at(type),
                     products / ceilings.ops.at(type)) +
            2 * state_bytes * sessions / ceilings.update;
        std::printf("%-9s %8d %8d %9.2f %9.0f %9.0f %9.2f %9.1f\n", type_name, sessions, until, ms,
                    ms * 1e3 / sessions, sessions * 1e3 / ms, floor * 1e3 / ms,
                    plain[sessions] / ms);
        std::fflush(stdout);
      }
    }
  }
  std::remove(path.c_str());
  return 0;
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) { return leapstream::Run(argc > 1 ? std::atoi(argv[1]) : 6); }
