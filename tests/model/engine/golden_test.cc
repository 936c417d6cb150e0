// Compares the all-LeaP text models with their goldens: the results of the reference implementation
// for checkpoints that it wrote itself (tests/golden/reference/README.md has commits, commands and
// runtime).
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "model/api/model_directory.h"
#include "model/engine/model_family.h"
#include "model/api/safetensors.h"
#include "model/engine/load_model.h"
#include "model/engine/transformer.h"
#include "streaming/scheduler.h"
#include "tests/testing/collecting_sink.h"
#include "tests/testing/test_device.h"

namespace leapstream {
namespace {

using nlohmann::json;

// Two log-probabilities that are each this close to the reference's cannot change places if they
// are kNearTie apart in the reference. They are float32 sums of some hundred terms of magnitude up
// to 10, in another order, through four layers: errors are about 100 * 2^-24 * 10 = 6e-5.
constexpr double kLogProbTolerance = 5e-5;
constexpr double kNearTie = 1e-4;

std::string Reference(const std::string& path) {
  return absl::StrCat(LEAPSTREAM_SOURCE_DIR, "/tests/golden/reference/", path);
}

// Exports a reference checkpoint with the real program, once per process.
std::string ExportedModel(const std::string& name) {
  static std::map<std::string, std::string>* done = new std::map<std::string, std::string>();
  std::string& directory = (*done)[name];
  if (!directory.empty()) return directory;
  directory = absl::StrCat(::testing::TempDir(), "/leapstream-golden-", name);
  const bool separate = name == "learned_gelu_sepdict";
  const std::string data = Reference(separate ? "data/sep" : "data/joint");
  const std::string command =
      absl::StrCat(LEAPSTREAM_BINARY_DIR, "/bin/leapstream-export --checkpoint ",
                   Reference(absl::StrCat("checkpoints/", name, ".pt")), " --source-dict ", data,
                   "/dict.en.txt --target-dict ", data, "/dict.de.txt --source-spm ", data,
                   separate ? "/spm.en.model" : "/spm.model", " --target-spm ", data,
                   separate ? "/spm.de.model" : "/spm.model",
                   " --source-lang en --target-lang de --output ", directory, " > /dev/null");
  EXPECT_EQ(0, std::system(command.c_str())) << command;
  return directory;
}

// Writes down the order in which a session reads and decides.
class Recorder : public Translator {
 public:
  explicit Recorder(std::shared_ptr<const Model> model) : model_(std::move(model)) {}
  absl::StatusOr<std::unique_ptr<SessionState>> NewState() const override {
    return model_->translator->NewState();
  }
  absl::Status Read(absl::Span<const SourceRows> rows,
                    BetweenLayers between_layers) const override {
    for (const SourceRows& row : rows) actions.append(row.tokens.size(), 'R');
    return model_->translator->Read(rows, between_layers);
  }
  absl::Status Decide(absl::Span<SessionState* const> states, absl::Span<Decision> result,
                      BetweenLayers between_layers) const override {
    absl::Status status = model_->translator->Decide(states, result, between_layers);
    for (const Decision& decision : result) {
      if (decision.wants_source) continue;
      actions.push_back('W');
      decisions.push_back(decision);
    }
    return status;
  }

  mutable std::string actions;
  mutable std::vector<Decision> decisions;

 private:
  std::shared_ptr<const Model> model_;
};

std::vector<json> Traces(const std::string& file) {
  std::ifstream in(Reference("traces/" + file));
  EXPECT_TRUE(in.good()) << "missing golden " << file;
  std::vector<json> rows;
  for (std::string line; std::getline(in, line);) rows.push_back(json::parse(line));
  return rows;
}

// The options under which the reference agent made a trace.
SessionOptions AgentOptions(const json& trace, const ModelInfo& model) {
  SessionOptions options;
  options.policy =
      trace["k"].is_null() ? DefaultPolicy(model) : Policy(WaitK{trace["k"].get<int>()});
  options.early_end = EarlyEnd::kStop;
  // The agent counts the words that it sends, and does not count a lone U+2581; leapstream counts
  // tokens.
  options.max_target_tokens =
      trace["end"] == "eos" ? 1000 : static_cast<int>(trace["target_ids"].size()) - 1;
  return options;
}

class TraceTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TraceTest, SameActionsIdsAndText) {
  const std::string file = GetParam();
  const std::string name = file.substr(0, file.find('.'));
  const std::string directory = ExportedModel(name);
  auto loaded = LoadModel(directory, OnTestDevice());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  int near_ties = 0, compared = 0;
  double worst = 0;
  const std::vector<json> traces = Traces(file);
  ASSERT_EQ(12u, traces.size());
  for (const json& trace : traces) {
    SCOPED_TRACE(absl::StrCat(file, " ", trace["id"].get<std::string>()));
    auto model = std::make_shared<Model>();
    model->info = (*loaded)->info;
    auto recorder = std::make_unique<Recorder>(*loaded);
    const Recorder* recorded = recorder.get();
    model->translator = std::move(recorder);
    model->source_vocabulary = (*loaded)->source_vocabulary;
    model->target_vocabulary = (*loaded)->target_vocabulary;
    model->source_tokenizer = *Tokenizer::Load(directory + "/" + kSourceSentencePieceFile);
    model->target_tokenizer = *Tokenizer::Load(directory + "/" + kTargetSentencePieceFile);
    CollectingSink sink;
    {
      Scheduler scheduler(model);
      auto session = scheduler.Open(AgentOptions(trace, model->info), &sink);
      ASSERT_TRUE(session.ok()) << session.status();
      (*session)->Push(trace["text"].get<std::string>());
      (*session)->EndSource();
      sink.Wait();
    }
    ASSERT_TRUE(sink.status.ok()) << sink.status;
    ASSERT_EQ(1u, sink.segments.size());
    const std::vector<int> ids = trace["target_ids"];
    const std::vector<double> log_probs = trace["logprobs"], margins = trace["margins"];
    bool tied = false;
    for (size_t t = 0; t < ids.size() && !tied; ++t) {
      ASSERT_LT(t, recorded->decisions.size());
      const ScoredToken& best = recorded->decisions[t].best;
      if (best.id != ids[t] && margins[t] < kNearTie) {
        tied = true;
        ++near_ties;
        break;
      }
      ASSERT_EQ(ids[t], best.id) << "step " << t << " margin " << margins[t];
      ASSERT_NEAR(log_probs[t], best.log_prob, kLogProbTolerance) << "step " << t;
      worst = std::max(worst, std::abs(log_probs[t] - best.log_prob));
      ++compared;
    }
    if (tied) continue;
    EXPECT_EQ(ids.size(), recorded->decisions.size());
    EXPECT_EQ(trace["actions"].get<std::string>(), recorded->actions);
    const std::string text = trace["text_out"];
    // The reference keeps the last unit of an offline or cut translation; a segment's limit does
    // not.
    const bool cut = trace["end"] == "cut" || trace.count("segments") == 0;
    EXPECT_EQ(trace["end"] == "eos" || !cut ? text : text.substr(0, sink.segments[0].text.size()),
              sink.segments[0].text);
    EXPECT_EQ(sink.segments[0].text, sink.appended[0]);
  }
  std::printf("%s: %d steps compared, largest log-probability difference %.1e, %d near ties\n",
              file.c_str(), compared, worst, near_ties);
}
INSTANTIATE_TEST_SUITE_P(
    AllFamilies, TraceTest,
    ::testing::Values(
        "base.k1.jsonl", "base.k3.jsonl", "base.k5.jsonl", "base.k9.jsonl", "base.k3.max20.jsonl",
        "fp16.k3.jsonl", "fp16.k6.jsonl", "asym.k2.jsonl", "asym.k4.jsonl",
        "learned_gelu_sepdict.k3.jsonl", "softmax_postnorm.k1.jsonl", "softmax_postnorm.k5.jsonl",
        "leap_enc.k3.jsonl", "leap_sa.k3.jsonl", "nomass_nopos.k1.jsonl", "nomass_nopos.k2.jsonl",
        "mma_il.jsonl", "mma_hard.jsonl", "unidirectional.jsonl", "offline.jsonl"),
    [](const auto& info) {
      return absl::StrReplaceAll(absl::StripSuffix(info.param, ".jsonl"), {{".", "_"}});
    });

struct Output {
  std::string text;
  std::vector<TokenId> ids;
  std::vector<int> source_read;
  std::vector<float> log_probs;
  bool operator==(const Output& o) const {
    return text == o.text && ids == o.ids && source_read == o.source_read &&
           log_probs == o.log_probs;
  }
};

Output Collect(const CollectingSink& sink) {
  Output output;
  for (const SegmentCompleted& segment : sink.segments) output.text += segment.text + "\n";
  for (const TargetToken& token : sink.tokens) {
    output.ids.push_back(token.id);
    output.source_read.push_back(token.source_tokens_read);
    output.log_probs.push_back(token.log_prob);
  }
  return output;
}

struct Family {
  const char* model;
  EarlyEnd early_end;
};

class InvariantTest : public ::testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    auto loaded = LoadModel(ExportedModel(GetParam().model));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    model_ = *loaded;
    options_.early_end = GetParam().early_end;
    // Models that were trained offline run under test-time wait-k.
    options_.policy = model_->info.default_k == 0 && !model_->info.learned_policy
                          ? Policy(WaitK{3})
                          : DefaultPolicy(model_->info);
    for (const json& trace : Traces("base.k3.jsonl")) texts_.push_back(trace["text"]);
  }
  // Sends all texts at once, a byte at a time.
  void ExpectSideBySide(Scheduler& scheduler, const std::vector<Output>& alone) {
    std::vector<std::unique_ptr<CollectingSink>> sinks;
    std::vector<std::shared_ptr<Session>> sessions;
    for (size_t i = 0; i < texts_.size(); ++i) {
      sinks.push_back(std::make_unique<CollectingSink>());
      sessions.push_back(*scheduler.Open(options_, sinks.back().get()));
    }
    bool more = true;
    for (size_t byte = 0; more; ++byte) {
      more = false;
      for (size_t i = 0; i < texts_.size(); ++i) {
        if (byte < texts_[i].size()) {
          sessions[i]->Push(texts_[i].substr(byte, 1));
          more = true;
        } else if (byte == texts_[i].size()) {
          sessions[i]->EndSource();
        }
      }
    }
    for (size_t i = 0; i < texts_.size(); ++i) {
      sinks[i]->Wait();
      EXPECT_TRUE(Collect(*sinks[i]) == alone[i]) << "sentence " << i;
    }
  }

  std::shared_ptr<const Model> model_;
  SessionOptions options_;
  std::vector<std::string> texts_;
};

// Bytes one at a time give the output of the whole text. Sessions side by side give the output of
// each alone, to the bit of the log-probabilities, on any number of threads.
TEST_P(InvariantTest, AnyChunkingGivesTheSameOutputAndABatchGivesWhatItsMembersGiveAlone) {
  Scheduler scheduler(model_);
  std::vector<Output> alone;
  for (const std::string& text : texts_) {
    CollectingSink sink;
    auto session = scheduler.Open(options_, &sink);
    ASSERT_TRUE(session.ok());
    (*session)->Push(text);
    (*session)->EndSource();
    sink.Wait();
    alone.push_back(Collect(sink));
  }
  ExpectSideBySide(scheduler, alone);

  LoadOptions load;
  load.intra_op_threads = 3;
  auto loaded = LoadModel(ExportedModel(GetParam().model), load);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  Scheduler on_threads(*loaded);
  ExpectSideBySide(on_threads, alone);
}
// A session goes on elsewhere after some of its tokens, which are decided again or, if the model
// can do that, taken at once.
TEST_P(InvariantTest, ResumedEqualsUninterrupted) {
  Scheduler scheduler(model_);
  const auto run = [&](const std::string& text, ResumeFrom from) {
    CollectingSink sink;
    auto session = scheduler.Open(options_, &sink, std::move(from));
    EXPECT_TRUE(session.ok()) << session.status();
    (*session)->Push(text);
    (*session)->EndSource();
    sink.Wait();
    EXPECT_TRUE(sink.status.ok()) << sink.status;
    return Collect(sink);
  };
  for (size_t i = 0; i < texts_.size(); i += 4) {
    const std::string& text = texts_[i];
    const Output whole = run(text, {});
    for (size_t cut = 1; cut < whole.ids.size(); cut += 1 + whole.ids.size() / 4) {
      for (const bool says_source_read : {false, true}) {
        ResumeFrom from;
        from.committed.assign(whole.ids.begin(), whole.ids.begin() + cut);
        if (says_source_read) {
          from.source_read.assign(whole.source_read.begin(), whole.source_read.begin() + cut);
        }
        Output resumed = run(text, std::move(from));
        resumed.ids.insert(resumed.ids.begin(), whole.ids.begin(), whole.ids.begin() + cut);
        resumed.source_read.insert(resumed.source_read.begin(), whole.source_read.begin(),
                                   whole.source_read.begin() + cut);
        resumed.log_probs.insert(resumed.log_probs.begin(), whole.log_probs.begin(),
                                 whole.log_probs.begin() + cut);
        EXPECT_TRUE(resumed == whole) << text << " after " << cut << " tokens";
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(
    Families, InvariantTest,
    ::testing::Values(Family{"base", EarlyEnd::kStop}, Family{"base", EarlyEnd::kSuppress},
                      Family{"base", EarlyEnd::kReadOn}, Family{"asym", EarlyEnd::kReadOn},
                      Family{"softmax_postnorm", EarlyEnd::kReadOn},
                      Family{"leap_sa", EarlyEnd::kReadOn}, Family{"mma_il", EarlyEnd::kStop},
                      Family{"mma_il", EarlyEnd::kReadOn}, Family{"mma_hard", EarlyEnd::kReadOn},
                      Family{"unidirectional", EarlyEnd::kReadOn},
                      Family{"offline", EarlyEnd::kSuppress}, Family{"offline", EarlyEnd::kReadOn}),
    [](const auto& info) {
      return absl::StrCat(info.param.model, "_", static_cast<int>(info.param.early_end));
    });

// A step that is decided, undone and decided again leaves no trace in any state.
class ReadOnTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ReadOnTest, AnUndoneStepLeavesNoTrace) {
  auto model = LoadModel(ExportedModel(GetParam()), OnTestDevice());
  ASSERT_TRUE(model.ok()) << model.status();
  const Translator& translator = *(*model)->translator;
  auto undone = *translator.NewState(), plain = *translator.NewState();
  const std::vector<TokenId> source = {83, 12, 250, 265, 17, 9, 30, 41, 55, kEndOfSentence};
  const auto read = [&](SessionState* state, size_t i) {
    const SourceRows rows{state, absl::MakeConstSpan(&source[i], 1)};
    ASSERT_TRUE(translator.Read({rows}).ok());
  };
  for (size_t i = 0; i + 1 < source.size(); ++i) {
    Decision first, again, other;
    SessionState* u = undone.get();
    SessionState* p = plain.get();
    read(u, i);
    read(p, i);
    if (i == 0) continue;
    if (i % 2 == 0) {
      ASSERT_TRUE(translator.Decide({u}, absl::MakeSpan(&first, 1)).ok());
      ASSERT_TRUE(translator.Decide({u}, absl::MakeSpan(&first, 1)).ok());
      read(u, i + 1);
      read(p, i + 1);
      ++i;
    }
    ASSERT_TRUE(translator.Decide({u}, absl::MakeSpan(&again, 1)).ok());
    ASSERT_TRUE(translator.Decide({p}, absl::MakeSpan(&other, 1)).ok());
    EXPECT_EQ(again.best.id, other.best.id);
    EXPECT_EQ(again.best.log_prob, other.best.log_prob) << "to the bit, step " << i;
    u->Commit(again.best.id);
    p->Commit(other.best.id);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, ReadOnTest,
                         ::testing::Values("base", "leap_sa", "softmax_postnorm", "offline"));

// Compares intermediate rows and recurrent states, as far as the reference recorded them.
class TensorTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TensorTest, IntermediateTensorsAndRecurrentStates) {
  const std::string name = GetParam();
  const std::string directory = ExportedModel(name);
  auto config = ReadModelDirectory(directory);
  ASSERT_TRUE(config.ok()) << config.status();
  auto weights = Weights::Load(directory + "/" + kWeightsFile);
  ASSERT_TRUE(weights.ok()) << weights.status();
  auto transformer = Transformer::Create(*config, std::move(*weights));
  ASSERT_TRUE(transformer.ok()) << transformer.status();
  auto file = MappedFile::Open(Reference("tensors/" + name + ".safetensors"));
  ASSERT_TRUE(file.ok());
  auto golden = ParseSafetensors((*file)->bytes(), name);
  ASSERT_TRUE(golden.ok()) << golden.status();
  std::map<std::string, std::vector<float>> seen;
  (*transformer)->ObserveForTest([&seen](absl::string_view what, const Tensor& rows) {
    std::vector<float>& all = seen[std::string(what)];
    all.insert(all.end(), rows.data(), rows.data() + rows.count());
  });
  int compared = 0;
  double worst = 0;
  for (const std::string id : {"short-1", "mid-1", "unknown"}) {
    SCOPED_TRACE(id);
    const auto ids_of = [&](const std::string& key) {
      const TensorView& view = golden->at(id + "/" + key);
      const int64_t* values = reinterpret_cast<const int64_t*>(view.bytes.data());
      return std::vector<TokenId>(values, values + view.bytes.size() / sizeof(int64_t));
    };
    const std::vector<TokenId> source = ids_of("source_ids"), target = ids_of("target_ids");
    seen.clear();
    auto state = *(*transformer)->NewState();
    ModelInfo info;
    info.learned_policy = config->LearnedPolicy();
    info.default_k = config->waitk_lagging;
    const Policy policy = DefaultPolicy(info);
    for (const TokenId token : target) {
      Decision decision;
      int wanted = 0;
      do {
        const int read = state->source_read();
        const bool finished = read == static_cast<int>(source.size());
        if (Decide(policy, {read, state->target_written(), finished, 0, wanted}) == Action::kRead) {
          const SourceRows rows{state.get(), absl::MakeConstSpan(&source[read], 1)};
          ASSERT_TRUE((*transformer)->Read({rows}).ok());
          decision.wants_source = true;
          continue;
        }
        SessionState* one = state.get();
        ASSERT_TRUE((*transformer)->Decide({one}, absl::MakeSpan(&decision, 1)).ok());
        wanted = read + 1;
      } while (decision.wants_source);
      for (int l = 0; config->decoder.self_attention == "leap" && l < config->decoder.layers; ++l) {
        const Tensor folded = (*transformer)->DecoderSelfAttentionSumsForTest(*state, l);
        const int64_t d = config->decoder.embed_dim / config->decoder.attention_heads;
        const auto part = [&](const char* key, int64_t begin, int64_t size) {
          std::vector<float>& all = seen[absl::StrCat("recurrent.", l, ".", key)];
          for (int64_t h = 0; h < folded.size(0); ++h) {
            const float* head = folded.data() + h * folded.size(1) + begin;
            all.insert(all.end(), head, head + size);
          }
        };
        part("kTv_sin", 0, d * d);
        part("kTv_cos", d * d, d * d);
        part("norm_sin", 2 * d * d, d);
        part("norm_cos", 2 * d * d + d, d);
      }
      ASSERT_EQ(token, decision.best.id);
      state->Commit(token);
    }
    for (const auto& [key, view] : *golden) {
      if (key.rfind(id + "/", 0) != 0 || view.type != TensorType::kFloat32) continue;
      const std::string what = key.substr(id.size() + 1);
      ASSERT_EQ(1u, seen.count(what)) << what;
      std::vector<float> got = seen[what];
      const size_t count = view.bytes.size() / sizeof(float);
      ASSERT_GE(got.size(), count) << what;
      // If only the last step was recorded, or the encoder was run several times, the last rows are
      // compared.
      got.erase(got.begin(), got.end() - static_cast<std::ptrdiff_t>(count));
      if (what.find("_LeaP") != std::string::npos) {  // The golden has [H, S], `got` has [S, H].
        const at::Tensor rows = at::from_blob(got.data(), {view.shape[1], view.shape[0]}).clone();
        const at::Tensor heads = rows.t().contiguous();
        std::copy_n(heads.data_ptr<float>(), got.size(), got.begin());
      }
      const float* want = reinterpret_cast<const float*>(view.bytes.data());
      for (size_t i = 0; i < count; ++i) {
        // The tolerance is relative to the magnitude, since sums grow with the number of tokens.
        const double tolerance = kLogProbTolerance * std::max(1.0f, std::abs(want[i]));
        ASSERT_NEAR(want[i], got[i], tolerance) << what << " element " << i;
        worst = std::max<double>(worst, std::abs(want[i] - got[i]));
      }
      compared += static_cast<int>(count);
    }
  }
  std::printf("%s: %d numbers compared, largest difference %.1e\n", name.c_str(), compared, worst);
  EXPECT_GT(compared, 0);
}
INSTANTIATE_TEST_SUITE_P(AllFamilies, TensorTest,
                         ::testing::Values("base", "fp16", "asym", "learned_gelu_sepdict",
                                           "softmax_postnorm", "leap_enc", "leap_sa",
                                           "nomass_nopos", "mma_il", "mma_hard", "unidirectional",
                                           "offline"));

}  // namespace
}  // namespace leapstream
