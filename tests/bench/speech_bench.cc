// The cost of a segment of speech with a model of the size of fairseq's espnet architecture: 12
// encoder layers, d 256, 4 heads, FFN 2,048, 6 decoder layers, 256 convolution channels, 280 ms
// READs, wait-3; on one thread, in its CPU time. speech/attention:A/seconds:S/compute:T is a
// segment of S seconds from its start, without the end of the source. In place of A, s2t, s2t_m
// and conformer are models that were trained offline, with soft-max: s2t_transformer_s and _m (d
// 512, 8 heads), and a conformer of s2t's sizes with relative positions, 1 s READs, four tokens a
// READ, utterance CMVN. Counters:
//   ms_per_second   CPU time for each second of its audio;
//   sessions        the number that can run in real time;
//   ms_front        features, per READ, once for each sample;
//   ms_last_read    the last READ's encoder, which runs again over all, and decoder step;
//   GFLOP/s         operations of the products alone, over all the time;
//   of_peak         that, over the rate at which the processor multiplies and adds in registers,
//                   which is measured first.
// again/attention:A/seconds:S/compute:T is one READ at the end of S seconds alone: the encoder over
// all of it, and a decoder step.
// Usage: speech_bench [--weights FOLDER] [Google Benchmark's flags]. Without a file
// FOLDER/speech-bench-A.safetensors, random weights are written to it.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/standard_descriptors.h"
#include "model/engine/kernels/simd.h"
#include "model/engine/transformer.h"
#include "tests/bench/bench_model.h"
#include "tests/bench/benchmarks.h"
#include "tests/bench/ceilings.h"
#include "tests/bench/thread_time.h"

namespace leapstream {
namespace {

// The READs before the first decision, and the tokens that are written after each READ from then
// on.
struct Pace {
  int lag;
  int tokens;
};
Pace PaceOf(const ModelConfig& config) {
  return config.simul_type == "none" ? Pace{1, 4} : Pace{3, 1};
}

ModelConfig SpeechConfigOf(const std::string& attention) {
  ModelConfig config;
  config.name = "bench";
  config.source_language = config.target_language = "x";
  config.causal_encoder = false;
  config.simul_type = "waitk";
  config.waitk_lagging = 3;
  for (SideConfig* side : {&config.encoder, &config.decoder}) {
    side->embed_dim = side->input_dim = side->output_dim = attention == "s2t_m" ? 512 : 256;
    side->ffn_embed_dim = 2048;
    side->attention_heads = attention == "s2t_m" ? 8 : 4;
    side->normalize_before = true;
    side->self_attention = side->cross_attention = attention == "leap" ? "leap" : "softmax";
  }
  config.encoder.layers = 12;
  config.decoder.layers = 6;
  config.decoder.vocabulary_size = 10000;
  config.decoder.final_norm = true;
  config.share_decoder_input_output_embed = true;
  SpeechConfig& speech = config.speech.emplace();
  speech.conv_channels = 256;
  speech.cmvn_mean.assign(speech.mel_bins, 12.0f);
  speech.cmvn_std.assign(speech.mel_bins, 4.0f);
  if (attention == "leap" || attention == "softmax") return config;
  config.simul_type = "none";
  config.waitk_lagging = 0;
  speech.front_end = "conv1d";
  speech.conv_channels = 1024;
  speech.conv_kernels = {5, 5};
  speech.cmvn = "utterance";
  speech.cmvn_mean.clear();
  speech.cmvn_std.clear();
  speech.input.pre_decision_ratio = 25;
  if (attention == "conformer") {
    speech.conformer.emplace().positions = "relative";
    config.encoder.positions = PositionKind::kNone;
  } else {
    config.encoder.final_norm = true;
  }
  return config;
}

// Has one model at a time.
class Bench {
 public:
  explicit Bench(std::string folder) : folder_(std::move(folder)) {}

  absl::Status Prepare() {
    benchmark::AddCustomContext("kernels", Simd().name);
    peak_ = MeasureCeilings().ops;
    for (const auto& [type, name] : kTypes) {
      benchmark::AddCustomContext(absl::StrCat("peak_", name),
                                  absl::StrFormat("%.0f GOP/s", peak_[type] / 1e9));
    }
    return absl::OkStatus();
  }

  // The time of the last READ of a segment.
  void RunLast(benchmark::State& state, const std::string& attention, int seconds,
               ComputeType type) {
    const ModelConfig config = SpeechConfigOf(attention);
    const int per_read = config.speech->input.SamplesPerRead();
    const int reads = (seconds * kSpeechSampleRate + per_read - 1) / per_read;
    absl::Status status = Use(attention, type);
    for (auto _ : state) {
      Times times;
      if (status.ok()) status = Segment(reads, per_read, Pace{reads, 1}, &times);
      if (!status.ok()) {
        state.SkipWithError(std::string(status.message()).c_str());
        return;
      }
      state.SetIterationTime(times.last);
    }
  }

  void Run(benchmark::State& state, const std::string& attention, int seconds, ComputeType type) {
    const ModelConfig config = SpeechConfigOf(attention);
    const int per_read = config.speech->input.SamplesPerRead();
    const int reads = (seconds * kSpeechSampleRate + per_read - 1) / per_read;
    absl::Status status = Use(attention, type);
    for (auto _ : state) {
      Times times;
      if (status.ok()) status = Segment(reads, per_read, PaceOf(config), &times);
      if (!status.ok()) {
        state.SkipWithError(std::string(status.message()).c_str());
        return;
      }
      const double all = times.front + times.rest;
      const double per_second = all / (reads * per_read) * kSpeechSampleRate;
      const double products = 2.0 * Multiplications(config, reads);
      state.SetIterationTime(all);
      state.counters["ms_per_second"] = 1e3 * per_second;
      state.counters["sessions"] = 1 / per_second;
      state.counters["ms_front"] = 1e3 * times.front / reads;
      state.counters["ms_last_read"] = 1e3 * times.last;
      state.counters["GFLOP/s"] = products / all / 1e9;
      state.counters["of_peak"] = products / all / peak_[type];
    }
  }

 private:
  struct Times {
    double front = 0;
    double rest = 0;  // Encoder and decoder.
    double last = 0;  // Encoder and decoder in the last READ.
  };

  // Weights times rows: each state counts once for the convolutions; all states after each READ for
  // the encoder, and for the keys and values of cross-attention; each step for the decoder.
  static double Multiplications(const ModelConfig& config, int reads) {
    double front = 0, again = 0, step = 0;
    const bool conv1d = config.speech->front_end == "conv1d";
    for (const TensorSpec& spec : ListTensors(config)) {
      if (spec.shape.size() < 2) continue;
      double count = 1;
      for (const int64_t size : spec.shape) count *= static_cast<double>(size);
      const auto has = [&](const char* part) { return spec.name.find(part) != std::string::npos; };
      if (conv1d && has("encoder.conv.0")) {
        again += count * 2;  // A state needs two rows; utterance CMVN changes all of them.
      } else if (conv1d && has("encoder.conv.1")) {
        again += count;
      } else if (has("encoder.conv.0")) {
        front += count * 2 * 40;  // A state needs two rows of 40 bins.
      } else if (has("encoder.conv.1")) {
        front += count * 20;  // A state needs one row of 20.
      } else if (has("encoder.conv.out")) {
        front += count;
      } else if (has("proportion")) {
        continue;  // These are small, and differ by head.
      } else if (has("encoder.") || has("cross_attention.key") || has("cross_attention.value")) {
        again += count;
      } else {
        step += count;
      }
    }
    const double states = config.speech->input.pre_decision_ratio;  // States of a READ.
    double products = front * states * reads;
    const Pace pace = PaceOf(config);
    for (int n = pace.lag; n <= reads; ++n) products += again * states * n + pace.tokens * step;
    return products;
  }

  absl::Status Use(const std::string& attention, ComputeType type) {
    const std::string name = absl::StrCat(attention, static_cast<int>(type));
    if (name == name_) return absl::OkStatus();
    model_.reset();
    name_.clear();
    const ModelConfig config = SpeechConfigOf(attention);
    const std::string path = absl::StrCat(folder_, "/speech-bench-", attention, ".safetensors");
    if (absl::Status status = WriteRandomWeights(config, path); !status.ok()) return status;
    auto weights = Weights::Load(path, type);
    if (!weights.ok()) return weights.status();
    auto model = Transformer::Create(config, *std::move(weights));
    if (!model.ok()) return model.status();
    model_ = *std::move(model);
    name_ = name;
    return absl::OkStatus();
  }

  absl::Status Segment(int reads, int per_read, Pace pace, Times* times) const {
    auto state = model_->NewState();
    if (!state.ok()) return state.status();
    SessionState* const one = state->get();
    std::mt19937 random(2);
    std::normal_distribution<float> normal(0, 1000);  // As loud as speech.
    std::vector<float> samples(per_read);
    for (int n = 1; n <= reads; ++n) {
      for (float& sample : samples) sample = normal(random);
      double start = ThreadSeconds();
      absl::Status status = model_->Read({SourceRows{one, {}, samples}});
      times->front += ThreadSeconds() - start;
      start = ThreadSeconds();
      for (int token = 0; token < pace.tokens && status.ok() && n >= pace.lag; ++token) {
        Decision decision;
        status = model_->Decide({one}, absl::MakeSpan(&decision, 1));
        one->Commit(decision.best.id);
      }
      times->last = ThreadSeconds() - start;
      times->rest += times->last;
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  const std::string folder_;
  std::map<ComputeType, double> peak_;
  std::string name_;
  std::unique_ptr<Transformer> model_;
};

int Main(int argc, char** argv) {
  const char* temporary = std::getenv("TMPDIR");
  std::string folder = temporary != nullptr ? temporary : "/tmp";
  std::vector<char*> others = {argv[0]};
  for (int i = 1; i < argc; ++i) {
    if (i + 1 < argc && std::strcmp(argv[i], "--weights") == 0) {
      folder = argv[++i];
    } else {
      others.push_back(argv[i]);
    }
  }
  Bench bench(folder);
  typedef void (Bench::*Measure)(benchmark::State&, const std::string&, int, ComputeType);
  const auto add = [&bench](const char* what, Measure measure, int times,
                            const std::string& attention, int seconds, ComputeType type,
                            const char* type_name) {
    const std::string name =
        absl::StrCat(what, "/attention:", attention, "/seconds:", seconds, "/compute:", type_name);
    benchmark::RegisterBenchmark(name.c_str(),
                                 [&bench, measure, attention, seconds, type](benchmark::State& s) {
                                   (bench.*measure)(s, attention, seconds, type);
                                 })
        ->Unit(benchmark::kMillisecond)
        ->UseManualTime()
        ->Iterations(times);
  };
  return RunBenchmarks(others, [&] {
    for (const char* attention : {"leap", "softmax", "s2t", "s2t_m", "conformer"}) {
      for (const auto& [type, type_name] : kTypes) {
        for (const int seconds : {5, 10, 20}) {
          add("speech", &Bench::Run, 1, attention, seconds, type, type_name);
        }
      }
    }
    for (const auto& [type, type_name] : kTypes) {
      for (const int seconds : {5, 10, 20, 30, 60}) {
        for (const char* attention : {"leap", "softmax"}) {
          add("again", &Bench::RunLast, 3, attention, seconds, type, type_name);
        }
      }
    }
    return bench.Prepare();
  });
}

}  // namespace
}  // namespace leapstream

int main(int argc, char** argv) {
  return leapstream::OpenStandardDescriptors() ? leapstream::Main(argc, argv) : 1;
}
